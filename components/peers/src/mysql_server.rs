//! A real MariaDB on a free port, in a folder of its own, for the time of one test.
//!
//! One idea: what MariaDB needs of [`OwnedServer`]: tables of its own made beforehand. Must never skip when there is none,
//! nor listen beyond 127.0.0.1.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::owned_server::{OwnedServer, is_root};

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct MySqlServer(OwnedServer<1>);

const PASSWORD: &str = "conformance@only";

impl MySqlServer {
    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.ports[0]
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When there is no MariaDB, or it does not come up.
    pub async fn start() -> Self {
        let server = OwnedServer::start(
            "mariadb-server",
            Duration::from_secs(60),
            |folder, [port]| {
                let data = folder.path().join("data");
                initialize(folder.path(), &data);
                let mut command = Command::new("mariadbd");
                command
                    .arg("--no-defaults")
                    .arg(format!("--datadir={}", data.display()))
                    .arg(temporary(folder.path()))
                    .arg(format!("--socket={}", folder.path().join("socket").display()))
                    .arg(format!("--init-file={}", folder.path().join("init.sql").display()))
                    .args(["--bind-address=127.0.0.1", "--port", &port.to_string()])
                    .args(["--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"])
                    .args(["--innodb-buffer-pool-size=32M", "--default-time-zone=+09:00"])
                    .args(user());
                command
            },
            async |[port]| ask(port, "SELECT 1").is_some(),
        );
        Self(server.await)
    }

    /// What the server answers to a statement, as text.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, statement: &str) -> String {
        ask(self.0.ports[0], statement).expect("an answer of MariaDB")
    }

    /// Sends its process a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.0.signal(name);
    }

    /// Metadata of a component on this server.
    pub fn metadata(&self) -> [(String, String); 1] {
        let connection = format!("dapr:{PASSWORD}@tcp(127.0.0.1:{})/", self.0.ports[0]);
        [("connectionString".into(), connection)]
    }
}

fn initialize(folder: &Path, data: &Path) {
    let grant = format!("GRANT ALL ON *.* TO dapr@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n");
    std::fs::write(folder.join("init.sql"), grant).expect("a file in the server's folder");
    let made = Command::new("mariadb-install-db")
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(temporary(folder))
        .args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ])
        .arg("--innodb-log-file-size=8M")
        .args(user())
        .output();
    let made = made.unwrap_or_else(|error| panic!("`apt-get install mariadb-server`: {error}"));
    let said = [made.stdout, made.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(made.status.success(), "mariadb-install-db: {}: {said}", made.status);
}

/// A server that starts removes all temporary tables that it finds: in a folder of its own, or it takes another's.
fn temporary(folder: &Path) -> String {
    format!("--tmpdir={}", folder.display())
}

/// Root is told so, or it refuses.
fn user() -> Option<&'static str> {
    is_root().then_some("--user=root")
}

fn ask(port: u16, statement: &str) -> Option<String> {
    let asked = Command::new("mariadb")
        .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--user=dapr"])
        .args([format!("--password={PASSWORD}"), format!("--port={port}")])
        .args(["--skip-column-names", "--batch", "--execute", statement])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    asked.status.success().then_some(text)
}
