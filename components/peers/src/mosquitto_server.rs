//! A real Mosquitto on free ports, in a folder of its own, for the time of one test.
//!
//! One idea: what Mosquitto needs of [`OwnedServer`]. Must never skip when there is none, nor listen beyond 127.0.0.1.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::owned_server::{OwnedServer, is_root};
use crate::web_certificate::WebCertificate;

const PATIENCE: Duration = Duration::from_secs(15);
const USER: &str = "app";
const PASSWORD: &str = "conformance@only";

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct MosquittoServer {
    /// MQTT, and MQTT by TLS.
    server: OwnedServer<2>,
    certificate: WebCertificate,
}

impl MosquittoServer {
    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.ports[0]
    }

    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When there is no Mosquitto, or it does not come up.
    pub async fn start() -> Self {
        let certificate = WebCertificate::new();
        let server = OwnedServer::start("mosquitto", PATIENCE, command(&certificate), serves);
        Self {
            server: server.await,
            certificate,
        }
    }

    /// Ends it, by `TERM` or `KILL`.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(&mut self, signal: &str) {
        self.server.end(signal, PATIENCE).await;
    }

    /// Starts one that was ended, with what it has on disk.
    ///
    /// # Panics
    /// When it does not come up again.
    pub async fn start_again(&mut self) {
        let serve = command(&self.certificate);
        self.server.start_again(PATIENCE, serve, serves).await;
    }

    /// Address for a component.
    pub fn url(&self) -> String {
        format!("tcp://{USER}:conformance%40only@127.0.0.1:{}", self.server.ports[0])
    }

    /// Address by TLS, where a certificate is asked for; and the authority, the client's certificate and its key, as PEM texts.
    pub fn tls(&self) -> (String, String, (String, String)) {
        let url = format!("ssl://{USER}:conformance%40only@localhost:{}", self.server.ports[1]);
        (url, self.certificate.authority(), self.certificate.client())
    }
}

fn command(certificate: &WebCertificate) -> impl Fn(&TempDir, [u16; 2]) -> Command {
    let (certificate, key, authority) = (
        certificate.certificate(),
        certificate.key(),
        certificate.authority_file(),
    );
    move |folder, [port, tls_port]| {
        let at = |name: &str| folder.path().join(name);
        let passwords = at("passwords");
        if !passwords.exists() {
            let made = Command::new("mosquitto_passwd")
                .args(["-c", "-b"])
                .arg(&passwords)
                .args([USER, PASSWORD])
                .output();
            let made = made.unwrap_or_else(|error| panic!("`apt-get install mosquitto`: {error}"));
            assert!(
                made.status.success(),
                "mosquitto_passwd: {}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        let user = if is_root() { "user root\n" } else { "" };
        let configuration = format!(
            "{user}allow_anonymous false\npassword_file {}\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\n\
             listener {port} 127.0.0.1\n\
             listener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}\ncafile {}\nrequire_certificate true\n",
            passwords.display(),
            folder.path().display(),
            certificate.display(),
            key.display(),
            authority.display()
        );
        std::fs::write(at("mosquitto.conf"), configuration).expect("a file in the server's folder");
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(at("mosquitto.conf"));
        command
    }
}

async fn serves([port, _]: [u16; 2]) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}
