//! A real Kafka (one node, KRaft) on free ports, in a folder of its own, for the time of one test.
//!
//! One idea: what Kafka needs of [`OwnedServer`]: a folder that is formatted before the first start, and listeners of every
//! kind, so that many cases share one server, which takes seconds to start: what a case left behind is deleted before the next
//! one. Must never skip when there is none, nor listen beyond 127.0.0.1.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use krafka::admin::{CreateTopicsOptions, DeleteTopicsOptions, DescribeClusterOptions, ListTopicsOptions, NewTopic};
use krafka::{ConsumerRecord, Kafka, Record};
use tempfile::TempDir;

use crate::owned_server::OwnedServer;
use crate::web_certificate::WebCertificate;

const PATIENCE: Duration = Duration::from_secs(120);
const USER: &str = "app";
const PASSWORD: &str = "conformance-only";
/// A cluster's name, as Kafka wants it.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct KafkaServer {
    /// In clear, SASL in clear, TLS, the controller's own, in clear behind a wire.
    server: OwnedServer<5>,
    certificate: WebCertificate,
    /// Where the last one tells its clients to come, as `host:port`, unless it has them come to itself.
    wire: Option<String>,
}

impl KafkaServer {
    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When there is no Kafka, or it does not come up.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// Starts one behind a wire that begins at `host:port` and leads to [`Self::wired_port`]: who comes by it is told to come
    /// there again, instead of going around it.
    ///
    /// # Panics
    /// When there is no Kafka, or it does not come up.
    pub async fn start_behind(wire: &str) -> Self {
        Self::with(Some(wire.to_owned())).await
    }

    async fn with(wire: Option<String>) -> Self {
        let certificate = WebCertificate::new();
        let serve = command(&certificate, wire.as_deref());
        let server = OwnedServer::start("default-jdk-headless", PATIENCE, serve, serves);
        Self {
            server: server.await,
            certificate,
            wire,
        }
    }

    /// Ends it, by `TERM` or `KILL`, and starts it again with what it has on disk.
    ///
    /// # Panics
    /// When it does not come up again.
    pub async fn restart(&mut self, signal: &str) {
        let serve = command(&self.certificate, self.wire.as_deref());
        self.server.restart(signal, PATIENCE, serve, serves).await;
    }

    /// Ends it by `KILL`.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(&mut self) {
        self.server.end("KILL", PATIENCE).await;
    }

    /// Starts one that was ended.
    ///
    /// # Panics
    /// When it does not come up again.
    pub async fn start_again(&mut self) {
        let serve = command(&self.certificate, self.wire.as_deref());
        self.server.start_again(PATIENCE, serve, serves).await;
    }

    /// Stops it where it is: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.server.signal("STOP");
    }

    /// Lets one that was frozen go on.
    pub fn thaw(&self) {
        self.server.signal("CONT");
    }

    /// Where its listener in clear is, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.ports[0]
    }

    /// Where a wire leads that it is behind, at 127.0.0.1.
    pub fn wired_port(&self) -> u16 {
        self.server.ports[4]
    }

    /// Its listener in clear.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.server.ports[0])
    }

    /// Metadata of a component by that listener.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let pairs = [("brokers", self.brokers()), ("authType", "none".to_owned())];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Metadata of a component by the listener that asks for a password.
    pub fn by_password(&self, mechanism: &str) -> Vec<(String, String)> {
        let brokers = format!("127.0.0.1:{}", self.server.ports[1]);
        let pairs = [
            ("brokers", brokers.as_str()),
            ("authType", "password"),
            ("saslMechanism", mechanism),
            ("saslUsername", USER),
            ("saslPassword", PASSWORD),
            ("disableTls", "true"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Metadata of a component by TLS with a certificate.
    ///
    /// # Panics
    /// When the certificate is gone.
    pub fn by_certificate(&self) -> Vec<(String, String)> {
        let (certificate, key) = self.certificate.client();
        let pairs = [
            ("brokers", format!("localhost:{}", self.server.ports[2])),
            ("authType", "mtls".to_owned()),
            ("caCert", self.certificate.authority()),
            ("clientCert", certificate),
            ("clientKey", key),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The library's own way to it, to do what a component never does.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn library(&self) -> Kafka {
        Kafka::builder(self.brokers()).connect().await.expect("it serves")
    }

    /// Makes a topic.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn create(&self, topic: &str, partitions: i32) {
        let admin = self.library().await.admin();
        let made = admin.create_topics(
            [NewTopic::new(topic, partitions, 1).unwrap()],
            CreateTopicsOptions::default(),
        );
        for (_, made) in made.await.expect("an answer") {
            made.expect("it is made");
        }
        let _ = admin.close().await;
    }

    /// Deletes what cases before left behind.
    ///
    /// # Panics
    /// When it cannot be deleted.
    pub async fn clear(&self) {
        let admin = self.library().await.admin();
        let started = Instant::now();
        loop {
            let topics = admin
                .list_topics(ListTopicsOptions::default())
                .await
                .expect("an answer");
            let own: Vec<_> = topics.into_iter().filter(|topic| !topic.starts_with("__")).collect();
            if own.is_empty() {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{own:?} cannot be deleted");
            let _ = admin.delete_topics(own, DeleteTopicsOptions::default()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let _ = admin.close().await;
    }

    /// Puts a record into a topic.
    ///
    /// # Panics
    /// When it cannot be put there.
    pub async fn put(&self, record: Record) {
        let producer = self.library().await.producer().build().await.expect("a producer");
        let _ = producer.send(record).await.expect("it is there");
        let _ = producer.close().await;
    }

    /// The first so many records of a topic's partition 0, as they are in the log.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn log(&self, topic: &str, count: usize) -> Vec<ConsumerRecord> {
        let consumer = self
            .library()
            .await
            .consumer_without_group()
            .build()
            .await
            .expect("a consumer");
        consumer.assign(topic, vec![0]).await.expect("the partition");
        consumer.seek_to_beginning(topic, 0).await.expect("its begin");
        let (started, mut found) = (Instant::now(), Vec::new());
        while found.len() < count {
            assert!(started.elapsed() < PATIENCE, "only {} records", found.len());
            found.extend(consumer.poll(Duration::from_secs(1)).await.expect("records"));
        }
        let _ = consumer.close().await;
        found
    }

    /// The offset that a group has committed for a topic's partition.
    ///
    /// # Panics
    /// When the server does not say.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer = self.library().await.consumer(group).build().await.expect("a consumer");
        let known = consumer.committed(&[(topic, partition)]).await.expect("an answer");
        let _ = consumer.close().await;
        known
            .get(&(topic.to_owned(), partition))
            .map(|position| position.offset)
    }
}

/// Where `./dev` puts its jars.
fn jars() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache"),
        PathBuf::from,
    );
    let jars = cache.join("palladium/kafka/current/jars");
    assert!(
        jars.is_dir(),
        "Kafka is not in {}: run `./dev test` once",
        jars.display()
    );
    jars
}

fn command(certificate: &WebCertificate, wire: Option<&str>) -> impl Fn(&TempDir, [u16; 5]) -> Command {
    let pem = |path: PathBuf| std::fs::read_to_string(path).expect("the file was made");
    let own = pem(certificate.key()) + &pem(certificate.certificate());
    let authority = certificate.authority();
    let wire = wire.map(str::to_owned);
    move |folder, ports| {
        let here = folder.path();
        for (name, text) in [
            ("server.properties", properties(here, ports, wire.as_deref())),
            ("own.pem", own.clone()),
            ("authority.pem", authority.clone()),
        ] {
            std::fs::write(here.join(name), text).expect("a file in the server's folder");
        }
        // Formats its folder, unless that was done, and then becomes the server.
        let script = format!(
            "java -Xmx128m $OPTIONS -cp \"$JARS/*\" kafka.tools.StorageTool format --ignore-formatted -t {CLUSTER} \
             -c server.properties --add-scram 'SCRAM-SHA-256=[name={USER},password={PASSWORD}]' \
             --add-scram 'SCRAM-SHA-512=[name={USER},password={PASSWORD}]' && \
             exec java -Xms64m -Xmx384m $OPTIONS -cp \"$JARS/*\" kafka.Kafka server.properties"
        );
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script])
            .env("JARS", jars())
            .env("OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
            .current_dir(here);
        command
    }
}

fn properties(here: &Path, [plain, sasl, tls, own, wired]: [u16; 5], wire: Option<&str>) -> String {
    let here = here.display();
    // Clients go on to where the listener by which they came says that it is.
    let begin = wire.map_or_else(|| format!("127.0.0.1:{wired}"), str::to_owned);
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{own}\n\
         listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},\
         WIRED://127.0.0.1:{wired},CONTROLLER://127.0.0.1:{own}\n\
         advertised.listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://localhost:{tls},\
         WIRED://{begin}\n\
         listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,WIRED:PLAINTEXT,\
         CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAIN\n\
         log.dirs={here}/data\n\
         num.partitions=3\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\n\
         group.initial.rebalance.delay.ms=0\n\
         message.max.bytes=8388608\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_{USER}=\"{PASSWORD}\";\n\
         listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
         required;\n\
         listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
         required;\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={here}/own.pem\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={here}/authority.pem\n\
         listener.name.tls.ssl.client.auth=required\n"
    )
}

/// It listens before it serves, so it is asked for its brokers.
async fn serves([port, ..]: [u16; 5]) -> bool {
    let asking = async {
        let kafka = Kafka::builder(format!("127.0.0.1:{port}"))
            .connect_timeout(Duration::from_secs(1))
            .request_timeout(Duration::from_secs(2))
            .connect()
            .await?;
        let admin = kafka.admin().metrics_push(false);
        admin.describe_cluster(DescribeClusterOptions::default()).await
    };
    match tokio::time::timeout(Duration::from_secs(3), asking).await {
        Ok(Ok(cluster)) => !cluster.brokers.is_empty(),
        _ => false,
    }
}
