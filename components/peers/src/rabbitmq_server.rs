//! A real RabbitMQ on free ports, in a folder of its own, for the time of one test.
//!
//! One idea: what RabbitMQ needs of [`OwnedServer`]: a port mapper of its own, since the one that Erlang starts would outlive
//! it, and virtual hosts made beforehand, so that many cases share one server, which takes seconds to start, without seeing
//! each other. Must never skip when there is none, nor listen beyond 127.0.0.1.

use std::process::Command;
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::owned_server::OwnedServer;
use crate::web_certificate::WebCertificate;

const PATIENCE: Duration = Duration::from_secs(120);
const USER: &str = "app";
/// Of `conformance:@only`: four bytes of salt, and SHA-256 of both, as RabbitMQ keeps passwords.
const PASSWORD_HASH: &str = "c2FsdKkbDpID6bWMsbiJk6sE9j8TTQPtEfkROU2ZacAy3aNY";
/// Virtual hosts beside `/`.
const ROOMS: usize = 24;

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct RabbitServer {
    /// AMQP, AMQP with TLS, Erlang's own.
    server: OwnedServer<3>,
    mapper: OwnedServer<1>,
    certificate: WebCertificate,
}

impl RabbitServer {
    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.ports[0]
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When there is no RabbitMQ, or it does not come up.
    pub async fn start() -> Self {
        let mapper = OwnedServer::start(
            "rabbitmq-server",
            Duration::from_secs(15),
            |_, [port]| {
                let mut command = Command::new("epmd");
                command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
                command
            },
            async |[port]| TcpStream::connect(("127.0.0.1", port)).await.is_ok(),
        );
        let mapper = mapper.await;
        let certificate = WebCertificate::new();
        let serve = command(mapper.ports[0], &certificate);
        let server = OwnedServer::start("rabbitmq-server", PATIENCE, serve, serves);
        Self {
            server: server.await,
            mapper,
            certificate,
        }
    }

    /// Ends it, by `TERM` or `KILL`, and starts it again with what it has on disk.
    ///
    /// # Panics
    /// When it does not come up again.
    pub async fn restart(&mut self, signal: &str) {
        let serve = command(self.mapper.ports[0], &self.certificate);
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
        let serve = command(self.mapper.ports[0], &self.certificate);
        self.server.start_again(PATIENCE, serve, serves).await;
    }

    /// Address of one of its virtual hosts.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn address(&self, room: usize) -> String {
        assert!(room < ROOMS, "more virtual hosts are needed: raise ROOMS");
        format!(
            "amqp://{USER}:conformance%3A%40only@127.0.0.1:{}/room-{room}",
            self.server.ports[0]
        )
    }

    /// Address of the same by TLS, and the authority of its certificate, as PEM text.
    pub fn tls_address(&self, room: usize) -> (String, String) {
        let port = self.server.ports[1];
        let address = format!("amqps://{USER}:conformance%3A%40only@localhost:{port}/room-{room}");
        (address, self.certificate.authority())
    }

    /// A connection of the library's own, to do what a component never does.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn connection(&self, room: usize) -> Connection {
        let connected = Connection::connect(&self.address(room), ConnectionProperties::default()).await;
        connected.expect("the server can be reached")
    }
}

fn command(mapper: u16, certificate: &WebCertificate) -> impl Fn(&TempDir, [u16; 3]) -> Command {
    let (certificate, key) = (certificate.certificate(), certificate.key());
    move |folder, [port, tls_port, own_port]| {
        let here = folder.path();
        let at = |name: &str| here.join(name);
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\n\
             listeners.ssl.1 = 127.0.0.1:{tls_port}\n\
             ssl_options.certfile = {}\nssl_options.cacertfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n\
             distribution.listener.interface = 127.0.0.1\n\
             loopback_users = none\n\
             load_definitions = {}\nlog.console = true\nlog.console.level = info\nlog.file = false\n",
            certificate.display(),
            certificate.display(),
            key.display(),
            at("definitions.json").display()
        );
        let rooms: Vec<_> = (0..ROOMS).map(|room| format!("room-{room}")).collect();
        let definitions = serde_json::json!({
            // Where there are definitions, RabbitMQ makes no user of its own.
            "users": [{
                "name": USER,
                "password_hash": PASSWORD_HASH,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }],
            "vhosts": rooms.iter().map(|room| serde_json::json!({"name": room})).collect::<Vec<_>>(),
            "permissions": rooms
                .iter()
                .map(|room| {
                    serde_json::json!({"user": USER, "vhost": room, "configure": ".*", "write": ".*", "read": ".*"})
                })
                .collect::<Vec<_>>(),
        });
        for (name, text) in [
            ("rabbitmq.conf", configuration),
            ("enabled_plugins", "[].".to_owned()),
            ("definitions.json", definitions.to_string()),
        ] {
            std::fs::write(at(name), text).expect("a file in the server's folder");
        }
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", here)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", mapper.to_string())
            .env("RABBITMQ_NODENAME", "peer@localhost")
            .env("RABBITMQ_DIST_PORT", own_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            // The script then becomes the server, instead of waiting for it.
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .current_dir(here);
        command
    }
}

/// It listens before it can serve, so it is greeted: its answer is a method frame.
async fn serves([port, _, _]: [u16; 3]) -> bool {
    let greet = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"AMQP\0\0\x09\x01").await?;
        let mut first = [0; 1];
        stream.read_exact(&mut first).await?;
        std::io::Result::Ok(first[0])
    };
    matches!(timeout(Duration::from_secs(2), greet).await, Ok(Ok(1)))
}
