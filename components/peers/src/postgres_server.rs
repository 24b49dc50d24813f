//! A real PostgreSQL on a free port, in a folder of its own, for the time of one test.
//!
//! One idea: what PostgreSQL needs of [`OwnedServer`]: a cluster made beforehand, and another user than root. Must never
//! skip when there is none, nor listen beyond 127.0.0.1.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::owned_server::{OwnedServer, is_root};

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct PostgresServer(OwnedServer<1>);

const PASSWORD: &str = "conformance-only";

impl PostgresServer {
    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.ports[0]
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not come up.
    pub async fn start() -> Self {
        let programs = programs();
        let mut server = OwnedServer::start(
            "postgresql",
            Duration::from_secs(60),
            |folder, [port]| {
                let data = folder.path().join("data");
                initialize(&programs, folder.path(), &data);
                let mut command = unprivileged(&programs.join("postgres"));
                command
                    .arg("-D")
                    .arg(&data)
                    .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
                    .args(["-c", "unix_socket_directories=", "-c", "fsync=off"])
                    .args(["-c", "log_min_messages=fatal", "-c", "timezone=Asia/Tokyo"]);
                command
            },
            async |[port]| is_ready(&programs, port),
        )
        .await;
        // Killed, it would leave a segment of shared memory behind.
        server.farewell = Some("QUIT");
        Self(server)
    }

    /// A connection of the operator's.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connection(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.0.ports[0])
            .username("postgres")
            .password(PASSWORD)
            .database("postgres");
        options.connect().await.expect("the server takes a connection")
    }

    /// What the server answers to a statement, as text.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, statement: &str) -> String {
        let asked = Command::new(programs().join("psql"))
            .args(["-X", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres"])
            .args(["-p", &self.0.ports[0].to_string(), "-c", statement])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("psql");
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8_lossy(&asked.stdout).trim().to_owned()
    }

    /// Takes TLS from now on, with a certificate of its own for 127.0.0.1. Returns the certificate's path.
    ///
    /// # Panics
    /// When there is no `openssl`.
    pub fn take_tls(&self) -> PathBuf {
        let folder = self.0.folder();
        let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
        // Not an authority's certificate, which OpenSSL makes by default and rustls takes from no server.
        let about = folder.join("openssl.cnf");
        let text = "[req]\ndistinguished_name = dn\nx509_extensions = ext\n[dn]\n[ext]\n\
                    basicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
        std::fs::write(&about, text).expect("a file in the server's folder");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=127.0.0.1", "-config"])
            .arg(&about)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
        if is_root() {
            let given = Command::new("chown").arg("postgres").arg(&key).status();
            assert!(given.is_ok_and(|status| status.success()));
        }
        for (name, path) in [("ssl_cert_file", &certificate), ("ssl_key_file", &key)] {
            self.ask(&format!("ALTER SYSTEM SET {name} = '{}'", path.display()));
        }
        self.ask("ALTER SYSTEM SET ssl = on");
        self.ask("SELECT pg_reload_conf()");
        certificate
    }

    /// Metadata of a component on this server.
    pub fn metadata(&self) -> [(String, String); 1] {
        let port = self.0.ports[0];
        let connection = format!("host=127.0.0.1 port={port} user=postgres password={PASSWORD} database=postgres");
        [("connectionString".into(), connection)]
    }
}

/// Debian keeps them apart by version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin"));
    let found = found.filter(|programs| programs.join("initdb").exists()).max();
    found.unwrap_or_default()
}

fn initialize(programs: &Path, folder: &Path, data: &Path) {
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).expect("a file in the server's folder");
    if is_root() {
        let given = Command::new("chown").args(["-R", "postgres"]).arg(folder).status();
        assert!(
            given.is_ok_and(|status| status.success()),
            "the folder is given to the user postgres"
        );
    }
    let made = unprivileged(&programs.join("initdb"))
        .arg("-D")
        .arg(data)
        .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--username=postgres"])
        .arg("--auth=scram-sha-256")
        .arg(format!("--pwfile={}", password.display()))
        .stdout(Stdio::null())
        .status();
    let made = made.unwrap_or_else(|error| panic!("`apt-get install postgresql`: {error}"));
    assert!(made.success(), "initdb makes a cluster");
}

/// A program of PostgreSQL's, by its own user where this is root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

fn is_ready(programs: &Path, port: u16) -> bool {
    let asked = Command::new(programs.join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status();
    asked.is_ok_and(|status| status.success())
}
