//! The real servers, and the components over them.
//!
//! One idea: what a component is told about its server is what the suites tell it, but for host and port. Must never change
//! a setting because it would make a fault harmless.

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use palladium_peers::application::Application;
use palladium_peers::daprd::Daprd;
use palladium_peers::etcd_server::EtcdServer;
use palladium_peers::kafka_server::KafkaServer;
use palladium_peers::mosquitto_server::MosquittoServer;
use palladium_peers::mysql_server::MySqlServer;
use palladium_peers::postgres_server::PostgresServer;
use palladium_peers::rabbitmq_server::RabbitServer;
use palladium_peers::redis_server::RedisServer;
use palladium_peers::wire::FaultyWire;
use palladium_tests::system::executable;
use tokio::net::TcpListener;

/// Of a server that is known by name.
pub const NAME: &str = "peer.test";
/// Of any other.
pub const ADDRESS: &str = "127.0.0.1";

/// A component and its server.
pub struct Peer {
    pub type_name: &'static str,
    version: &'static str,
    /// Where the server is, at 127.0.0.1.
    pub port: u16,
    /// A way there that can be put at fault.
    pub wire: FaultyWire,
    metadata: Vec<(String, String)>,
    _server: Box<dyn Any + Send + Sync>,
}

impl Peer {
    async fn new(
        kind: (&'static str, &'static str),
        (server, port): (impl Any + Send + Sync, u16),
        metadata: impl IntoIterator<Item = (String, String)>,
        more: &[(&str, &str)],
    ) -> Self {
        let wire = FaultyWire::to(port).await;
        Self::behind(wire, kind, (server, port), metadata, more)
    }

    /// One whose server was told where its wire begins.
    fn behind(
        wire: FaultyWire,
        (type_name, version): (&'static str, &'static str),
        (server, port): (impl Any + Send + Sync, u16),
        metadata: impl IntoIterator<Item = (String, String)>,
        more: &[(&str, &str)],
    ) -> Self {
        let more = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Self {
            type_name,
            version,
            port,
            wire,
            metadata: metadata.into_iter().chain(more).collect(),
            _server: Box::new(server),
        }
    }

    /// What the component is told when the server is to be found there.
    fn metadata(&self, host: &str, port: u16) -> Vec<(String, String)> {
        let there = |text: &String| {
            let text = text.replace(ADDRESS, host).replace("localhost", host);
            text.replace(&self.port.to_string(), &port.to_string())
        };
        self.metadata
            .iter()
            .map(|(name, value)| (name.clone(), there(value)))
            .collect()
    }

    /// Our Dapr Server with that component, and an application that thinks for so long about each event. With a file of
    /// hosts, which the Dapr Server sees as its own, the server is known as [`NAME`].
    pub async fn serve(&self, hosts: Option<&Path>, port: u16, thinking: Duration) -> (Daprd, Application) {
        let application = Application::start(thinking).await;
        let arguments = [format!("--app-port={}", application.port)];
        let metadata = self.metadata(if hosts.is_some() { NAME } else { ADDRESS }, port);
        let daprd = Daprd::ours(
            &executable("palladium-dapr-server").unwrap(),
            hosts,
            self.type_name,
            self.version,
            &metadata,
            &arguments,
        )
        .await;
        (daprd, application)
    }
}

/// Every broker that keeps what it took. `host`: where a wire begins in the eyes of whoever is told by a broker where to go.
pub async fn brokers(host: &str) -> Vec<Peer> {
    let redis = async {
        let server = RedisServer::start().await;
        let (metadata, port) = (server.metadata(), server.port());
        let often = [("processingTimeout", "2s"), ("redeliverInterval", "500ms")];
        Peer::new(("pubsub.redis", "v1"), (server, port), metadata, &often).await
    };
    let rabbitmq = async {
        let server = RabbitServer::start().await;
        let (metadata, port) = ([("connectionString".into(), server.address(0))], server.port());
        let kept = [
            ("deletedWhenUnused", "false"),
            ("deliveryMode", "2"),
            ("requeueInFailure", "true"),
            // Without it nobody knows whether the broker has a message: neither here nor with Dapr's own driver.
            ("publisherConfirm", "true"),
        ];
        Peer::new(("pubsub.rabbitmq", "v1"), (server, port), metadata, &kept).await
    };
    let mqtt3 = async {
        let server = MosquittoServer::start().await;
        let (metadata, port) = ([("url".into(), server.url())], server.port());
        let kept = [("cleanSession", "false")];
        Peer::new(("pubsub.mqtt3", "v1"), (server, port), metadata, &kept).await
    };
    let kafka = async {
        // It tells its clients where to go, and has to know that before it starts: they would go around any other wire.
        let begin = TcpListener::bind((ADDRESS, 0)).await.unwrap();
        let begin_port = begin.local_addr().unwrap().port();
        let server = KafkaServer::start_behind(&format!("{host}:{begin_port}")).await;
        let wire = FaultyWire::over(begin, server.wired_port());
        let (metadata, port) = (server.metadata(), server.port());
        // What comes before the group exists counts too.
        let all = [("initialOffset", "oldest")];
        Peer::behind(wire, ("pubsub.kafka", "v1"), (server, port), metadata, &all)
    };
    let (redis, rabbitmq, mqtt3, kafka) = tokio::join!(redis, rabbitmq, mqtt3, kafka);
    vec![redis, rabbitmq, mqtt3, kafka]
}

/// Every database that keeps what it took and is not in our process.
pub async fn databases() -> Vec<Peer> {
    let redis = async {
        let server = RedisServer::start().await;
        let (metadata, port) = (server.metadata(), server.port());
        Peer::new(("state.redis", "v1"), (server, port), metadata, &[]).await
    };
    let postgresql = async {
        let server = PostgresServer::start().await;
        let (metadata, port) = (server.metadata(), server.port());
        Peer::new(("state.postgresql", "v2"), (server, port), metadata, &[]).await
    };
    let mysql = async {
        let server = MySqlServer::start().await;
        let (metadata, port) = (server.metadata(), server.port());
        Peer::new(("state.mysql", "v1"), (server, port), metadata, &[]).await
    };
    let etcd = async {
        let server = EtcdServer::start().await;
        let (metadata, port) = (server.metadata(), server.port());
        Peer::new(("state.etcd", "v2"), (server, port), metadata, &[]).await
    };
    let (redis, postgresql, mysql, etcd) = tokio::join!(redis, postgresql, mysql, etcd);
    vec![redis, postgresql, mysql, etcd]
}
