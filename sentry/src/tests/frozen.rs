//! A process that is frozen past the life of its certificate: it must notice at once, exit 75, and live again when it is
//! started with a fresh attestation.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use palladium_identity::{Attestation, Envelope, Identity, IdentityConfig, Settings};
use palladium_launch::exit;
use palladium_tasks::Shutdown;

use super::zone::{APP, Zone};

const CHILD: &str = "tests::frozen::child";

/// Not a test: the process that is frozen. Started by the test below with an envelope on standard input.
#[tokio::test]
#[ignore = "the child process of another test"]
async fn child() {
    palladium_tls::install_crypto_provider();
    let setting = |name: &str| std::env::var(name).expect("started by the test");
    let mut settings = Settings::platform(&IdentityConfig {
        spiffe_id: setting("ID"),
        sentry_address: setting("SENTRY").parse().unwrap(),
        sentry_id: setting("SENTRY_ID"),
        roots_file: setting("ROOTS").into(),
        edge_address: None,
    })
    .unwrap();
    settings.deadline = Duration::from_secs(20);
    let envelope = Envelope::from_parent().await.unwrap();
    let code = match Identity::obtain(settings, Attestation::Once(envelope.attestation_jwt)).await {
        Ok(identity) => {
            std::fs::write(setting("MARK"), "serving").unwrap();
            match identity.keep_fresh(Shutdown::new()).await {
                Err(error) if error.wants_attestation() => exit::ATTEST_AGAIN,
                _ => 1,
            }
        }
        Err(error) if error.wants_attestation() => exit::ATTEST_AGAIN,
        Err(_) => 2,
    };
    std::process::exit(code.into());
}

struct Child {
    process: std::process::Child,
    mark: std::path::PathBuf,
}

impl Child {
    fn start(zone: &Zone, mark: &str) -> Self {
        let mark = zone.folder.path().join(mark);
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored", "--nocapture", "--test-threads=1"])
            .env("ID", zone.id(APP).as_str())
            .env("SENTRY", zone.config.listen.to_string())
            .env("SENTRY_ID", zone.config.own_id().unwrap().as_str())
            .env("ROOTS", zone.roots_file())
            .env("MARK", &mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        process
            .stdin
            .take()
            .unwrap()
            .write_all(&Envelope::encode(&zone.attestation(APP)))
            .unwrap();
        Self { process, mark }
    }

    async fn serves(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.mark.exists() {
            assert!(Instant::now() < until, "the child serves in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    async fn exit_code(&mut self, within: Duration) -> Option<i32> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_frozen_past_its_svids_life_exits_75_at_once_and_lives_again_by_a_fresh_attestation() {
    let zone = Zone::start(|config| config.leaf_ttl_seconds = 5).await;
    let mut child = Child::start(&zone, "first");
    child.serves().await;
    // Renewal works: alive beyond the first leaf.
    assert_eq!(child.exit_code(Duration::from_secs(7)).await, None);
    child.signal("-STOP");
    tokio::time::sleep(Duration::from_secs(8)).await;
    child.signal("-CONT");
    let woken = Instant::now();
    assert_eq!(child.exit_code(Duration::from_secs(5)).await, Some(75));
    assert!(
        woken.elapsed() < Duration::from_secs(2),
        "noticed by the wall clock: {:?}",
        woken.elapsed()
    );
    let again = Child::start(&zone, "second");
    again.serves().await;
}
