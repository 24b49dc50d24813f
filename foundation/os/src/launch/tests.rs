//! Real children: `/bin/sh` stands in for a program here, as the thing started, never as a way to start one.

use std::time::Duration;

use super::*;
use crate::{Exit, Signal};

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("temp folder"),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn start(&self, script: &str, limits: Limits) -> (Process, Stdin) {
        let arguments = ["-c".into(), script.into()];
        let log = self.folder.path().join("log");
        let launch = Launch {
            program: Path::new("/bin/sh"),
            arguments: &arguments,
            folder: self.folder.path(),
            log: &log,
            limits,
        };
        launch.spawn().expect("started")
    }
}

#[tokio::test]
async fn a_child_gets_its_input_and_little_else() {
    let fixture = Fixture::new();
    let (process, stdin) = fixture.start("read line; echo \"got $line\"; env; pwd; exit 7", Limits::default());
    stdin.feed(b"hello\n").expect("fed");
    assert_eq!(process.ended().await, Exit::Code(7));
    assert!(!process.is_running());
    let log = fixture.log();
    assert!(log.starts_with("got hello\n"), "{log}");
    assert!(!log.contains("HOME=") && !log.contains("CARGO"), "{log}");
    assert!(log.contains(&fixture.folder.path().display().to_string()), "{log}");
}

#[tokio::test]
async fn limits_hold_before_the_child_is_told_anything() {
    let fixture = Fixture::new();
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        open_files: Some(99),
    };
    let (process, stdin) = fixture.start("read line; ulimit -n; ulimit -c; ulimit -d", limits);
    stdin.feed(b"\n").expect("fed");
    assert_eq!(process.ended().await, Exit::Code(0));
    assert_eq!(fixture.log(), "99\n0\n65536\n");
}

#[tokio::test]
async fn a_child_gets_no_more_rights_and_makes_files_for_itself_alone() {
    let fixture = Fixture::new();
    let script = "read line; grep NoNewPrivs /proc/self/status; umask";
    let (process, stdin) = fixture.start(script, Limits::default());
    stdin.feed(b"\n").expect("fed");
    assert_eq!(process.ended().await, Exit::Code(0));
    assert_eq!(fixture.log(), "NoNewPrivs:\t1\n0077\n");
}

#[tokio::test]
async fn a_process_is_known_by_its_program_whatever_it_calls_itself() {
    let mut child = Command::new("/bin/sleep")
        .arg0("/bin/other")
        .arg("60")
        .spawn()
        .expect("started");
    let process = Process::open(child.id()).expect("there");
    assert!(process.runs(Path::new("/bin/sleep")) && !process.runs(Path::new("/bin/sh")));
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert!(!process.runs(Path::new("/bin/sleep")));
}

#[tokio::test]
async fn an_unfed_child_ends_by_itself() {
    let fixture = Fixture::new();
    let (process, stdin) = fixture.start("read line || exit 64", Limits::default());
    drop(stdin);
    assert_eq!(process.ended().await, Exit::Code(64));
}

#[tokio::test]
async fn sec_017_only_the_very_same_process_is_adopted() {
    let fixture = Fixture::new();
    let (process, _stdin) = fixture.start("read line; sleep 60", Limits::default());
    let fingerprint = process.fingerprint().clone();
    let other_start = Fingerprint {
        start_time: fingerprint.start_time - 1,
        ..fingerprint.clone()
    };
    let other_program = Fingerprint {
        executable: "/bin/true".into(),
        ..fingerprint.clone()
    };
    assert!(Process::adopt(&fingerprint).expect("works").is_some());
    assert!(Process::adopt(&other_start).expect("works").is_none());
    assert!(Process::adopt(&other_program).expect("works").is_none());
    process.signal(Signal::Kill).expect("killed");
    assert_eq!(process.ended().await, Exit::Signal(9));
    assert!(Process::adopt(&fingerprint).expect("works").is_none(), "gone");
    process
        .signal(Signal::Kill)
        .expect("signalling what is gone is no error");
}

#[tokio::test]
async fn who_ignores_the_request_to_stop_is_killed_after_the_grace() {
    let fixture = Fixture::new();
    let (process, stdin) = fixture.start(
        "trap '' TERM; echo up; read line; while :; do sleep 0.1; done",
        Limits::default(),
    );
    stdin.feed(b"\n").expect("fed");
    while !fixture.log().contains("up") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        process.stop(Duration::from_millis(100)).await.expect("signalled"),
        Exit::Signal(9)
    );
}

/// Whether it stops when it is asked to, or has to be killed.
#[tokio::test]
async fn what_a_child_started_does_not_outlive_it() {
    for (trap, end) in [("", Exit::Signal(15)), ("trap '' TERM; ", Exit::Signal(9))] {
        let fixture = Fixture::new();
        let script = format!("{trap}read line; sleep 60 & echo $!; wait");
        let (process, stdin) = fixture.start(&script, Limits::default());
        stdin.feed(b"\n").expect("fed");
        while !fixture.log().ends_with('\n') {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let started = Process::open(fixture.log().trim().parse().expect("a pid")).expect("there");
        assert!(started.is_running());
        assert_eq!(process.stop(Duration::from_millis(100)).await.expect("signalled"), end);
        let ended = tokio::time::timeout(Duration::from_secs(10), started.ended()).await;
        assert!(ended.is_ok(), "{end:?}: it lives on");
    }
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let folder = tempfile::tempdir().expect("temp folder");
    let launch = Launch {
        program: Path::new("/does/not/exist"),
        arguments: &[],
        folder: folder.path(),
        log: &folder.path().join("log"),
        limits: Limits::default(),
    };
    let error = launch.spawn().expect_err("missing").to_string();
    assert!(error.contains("/does/not/exist"), "{error}");
}
