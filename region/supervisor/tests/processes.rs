//! The supervisor over real processes: order, back-off, its own death, strangers, damaged and unwritable disks.
//!
//! Everything is `examples/process.rs`, which cargo builds with the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use palladium_supervisor::{Entry, Ledger, State};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SENTRY: &str = "spiffe://reg-a.palladium.internal/ns/palladium/dapr-sentry";

struct World {
    folder: tempfile::TempDir,
    roles: Vec<Value>,
    supervisor: Option<Child>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("temp folder"),
            roles: Vec::new(),
            supervisor: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A role that does what `does` says.
    fn role(mut self, name: &str, after: &[&str], does: Value) -> Self {
        let config_file = self.child_config(name, does);
        let id = (name != "sentry").then(|| format!("spiffe://reg-a.palladium.internal/ns/palladium/{name}"));
        self.roles.push(json!({
            "name": name, "role": name, "config_file": config_file, "data_folder": self.path(name),
            "spiffe_id": id, "after": after,
        }));
        self
    }

    fn child_config(&self, name: &str, mut does: Value) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("created");
        does["data_folder"] = json!(folder);
        let file = folder.join("config.json");
        fs::write(&file, does.to_string()).expect("written");
        file
    }

    fn config(&self) -> PathBuf {
        let program = std::env::current_exe().expect("known");
        let program = program
            .ancestors()
            .nth(2)
            .expect("target folder")
            .join("examples/process");
        let config = json!({
            "data_folder": self.path("supervisor"), "log_folder": self.path("logs"),
            "kek": { "keyFile": { "path": self.path("kek") } },
            "attestations": [{ "sentry_id": SENTRY, "trust_folder": self.path("trust") }],
            "executable": program, "dapr_server": program, "apps_folder": self.path("apps"), "roles": self.roles,
        });
        let file = self.path("supervisor.json");
        fs::write(&file, config.to_string()).expect("written");
        file
    }

    fn start(mut self) -> Self {
        self.launch();
        self
    }

    fn command(&self) -> Command {
        let config = self.config();
        let program = std::env::current_exe().expect("known");
        let mut command = Command::new(
            program
                .ancestors()
                .nth(2)
                .expect("target folder")
                .join("examples/process"),
        );
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("supervisor.log"))
            .expect("log");
        command
            .args(["run", "supervisor", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log);
        command
    }

    fn launch(&mut self) {
        self.supervisor = Some(self.command().spawn().expect("started"));
    }

    fn kill_supervisor(&mut self) {
        let mut supervisor = self.supervisor.take().expect("running");
        supervisor.kill().expect("killed");
        supervisor.wait().expect("reaped");
    }

    fn stop(&mut self) -> (ExitStatus, Duration) {
        let mut supervisor = self.supervisor.take().expect("running");
        let started = Instant::now();
        signal(supervisor.id(), Signal::TERM);
        (supervisor.wait().expect("reaped"), started.elapsed())
    }

    fn entry(&self, name: &str) -> Option<Entry> {
        let ledger = Ledger::read(&self.path("supervisor/ledger.json")).ok()?;
        ledger.processes.into_iter().find(|entry| entry.name == name)
    }

    fn starts(&self, name: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.path(name).join("starts")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a pid")).collect()
    }

    fn input(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).join("input")).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("supervisor.log")).unwrap_or_default()
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "not in time: {what}\n{}",
                self.log()
            );
            pause(10);
        }
    }

    /// Waits until `names` run, and answers with their pids.
    #[track_caller]
    fn running(&self, names: &[&str]) -> Vec<u32> {
        self.until("roles run", |world| {
            names
                .iter()
                .all(|name| world.starts(name).last().is_some_and(|pid| alive(*pid)))
        });
        names
            .iter()
            .map(|name| self.starts(name).last().copied().expect("started"))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            self.stop();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests are plain threads")]
fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

/// Running and no zombie.
fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

fn stopped_at(world: &World, name: &str) -> u128 {
    fs::read_to_string(world.path(name).join("stopped"))
        .expect("stopped in order")
        .parse()
        .expect("a time")
}

#[test]
fn roles_start_after_those_they_need_and_stop_in_the_opposite_order() {
    let mut world = World::new()
        .role("sentry", &[], json!({}))
        .role("agent", &["sentry"], json!({}))
        .role("gateway", &["sentry"], json!({}))
        .start();
    world.running(&["sentry", "agent", "gateway"]);
    assert_eq!(world.input("sentry"), "", "needs no attestation");
    let envelope: Value = serde_json::from_str(&world.input("gateway")).expect("an envelope");
    assert_eq!(
        envelope["attestation_jwt"].as_str().expect("a JWT").split('.').count(),
        3
    );
    let trust = fs::read_to_string(world.path("trust/supervisor.json")).expect("published");
    assert!(trust.contains("/ns/palladium/*"), "{trust}");
    let entry = world.entry("gateway").expect("in the ledger");
    assert_eq!((entry.state, entry.restarts), (State::Running, 0));
    assert!(
        !fs::read_to_string(world.path("supervisor/ledger.json"))
            .expect("ledger")
            .contains("eyJ"),
        "no JWT on disk"
    );
    let (status, _) = world.stop();
    assert!(status.success());
    let order = ["gateway", "agent", "sentry"].map(|name| stopped_at(&world, name));
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn the_stubborn_are_killed_and_all_is_over_in_ten_seconds() {
    let stubborn = json!({ "stubborn": true });
    let mut world = World::new();
    for name in ["sentry", "store", "agent", "gateway"] {
        world = world.role(name, &[], stubborn.clone());
    }
    let mut world = world.start();
    let pids = world.running(&["sentry", "store", "agent", "gateway"]);
    let (status, took) = world.stop();
    assert!(
        status.success() && took < Duration::from_secs(10),
        "{status} after {took:?}"
    );
    assert!(pids.iter().all(|pid| !alive(*pid)));
}

#[test]
fn a_role_that_fails_is_started_less_and_less_often_and_says_why() {
    let world = World::new().role("gateway", &[], json!({ "exit_code": 69 })).start();
    world.until("three starts", |world| world.starts("gateway").len() == 3);
    pause(150);
    assert!(world.starts("gateway").len() <= 4, "no back-off");
    world.until("backs off", |world| {
        world
            .entry("gateway")
            .is_some_and(|entry| entry.state == State::BackingOff)
    });
    let entry = world.entry("gateway").expect("in the ledger");
    assert_eq!(entry.exit_code, 69);
    assert!(
        entry.reason.contains("a port is taken") && entry.restarts >= 2,
        "{entry:?}"
    );
}

#[test]
fn who_wants_a_fresh_attestation_gets_it_at_once() {
    let world = World::new()
        .role("gateway", &[], json!({ "exit_code": 75, "after_ms": 1100 }))
        .start();
    world.until("first start", |world| world.starts("gateway").len() == 1);
    let first = world.input("gateway");
    let started = Instant::now();
    world.until("five starts", |world| world.starts("gateway").len() == 5);
    // Four lives of 1.1 s; back-off would add 0.1 + 0.2 + 0.4 + 0.8 s at the very least.
    assert!(
        started.elapsed() < Duration::from_millis(5500),
        "{:?}",
        started.elapsed()
    );
    assert_ne!(world.input("gateway"), first, "a JWT is used once");
}

#[test]
fn sec_017_only_the_agent_speaks_on_the_socket_and_a_stranger_is_cut_off() {
    let world = World::new();
    let (socket, app) = (
        world.path("supervisor/supervisor.sock"),
        world.child_config("apps/prj-a/orders", json!({})),
    );
    let mut world = world.role("agent", &[], json!({ "agent": [socket, app] })).start();
    world.running(&["agent", "apps/prj-a/orders"]);
    world.until("the agent saw the table", |world| world.path("agent/table").exists());
    let table = fs::read_to_string(world.path("agent/table")).expect("written");
    let server = world.running(&["apps/prj-a/orders"])[0];
    assert!(table.contains(&format!("prj-a/orders {server}")), "{table}");
    assert_eq!(world.input("apps/prj-a/orders"), "envelope");
    // The agent named no bound; there is one all the same.
    let limits = fs::read_to_string(format!("/proc/{server}/limits")).expect("readable");
    let memory = limits
        .lines()
        .find(|line| line.starts_with("Max data size"))
        .expect("listed");
    assert_eq!(memory.split_ascii_whitespace().nth(4), Some("2147483648"), "{memory}");

    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut stranger = std::os::unix::net::UnixStream::connect(&socket).expect("same user");
    // Closed without a byte: not even HTTP/2 settings are spoken with a stranger.
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stranger, &mut answer).expect("closed");
    assert!(answer.is_empty(), "{answer:?}");

    // A Dapr Server that dies is reported, not restarted.
    signal(server, Signal::KILL);
    world.until("noted", |world| {
        world
            .entry("prj-a/orders")
            .is_some_and(|entry| entry.state == State::Exited)
    });
    assert_eq!(world.entry("prj-a/orders").map(|entry| entry.exit_code), Some(137));
    assert!(world.stop().0.success());
}

#[test]
fn a_killed_supervisor_finds_its_processes_again_and_ends_them_in_order() {
    let world = World::new();
    let (socket, app) = (
        world.path("supervisor/supervisor.sock"),
        world.child_config("apps/prj-a/orders", json!({})),
    );
    let mut world = world
        .role("sentry", &[], json!({}))
        .role("agent", &["sentry"], json!({ "agent": [socket, app] }))
        .start();
    let names = ["sentry", "agent", "apps/prj-a/orders"];
    let before = world.running(&names);
    world.kill_supervisor();
    assert!(before.iter().all(|pid| alive(*pid)));
    // One of them dies while nobody looks.
    signal(before[0], Signal::KILL);
    world.launch();
    world.until("the dead one is back", |world| world.starts("sentry").len() == 2);
    let after = world.running(&names);
    assert_eq!(
        (after[1], after[2]),
        (before[1], before[2]),
        "those that lived are kept"
    );
    assert_ne!(after[0], before[0]);
    let (status, _) = world.stop();
    assert!(status.success());
    assert!(
        after.iter().all(|pid| !alive(*pid)),
        "adopted processes are stopped too"
    );
}

#[test]
fn sec_017_a_reused_pid_in_the_ledger_is_neither_adopted_nor_signalled() {
    let mut world = World::new().role("gateway", &[], json!({})).start();
    let ours = world.running(&["gateway"])[0];
    world.until("in the ledger", |world| {
        world.entry("gateway").is_some_and(|entry| entry.fingerprint.is_some())
    });
    world.kill_supervisor();
    signal(ours, Signal::KILL);
    let mut stranger = Command::new("/bin/sleep").arg("60").spawn().expect("started");
    let file = world.path("supervisor/ledger.json");
    let mut ledger = Ledger::read(&file).expect("readable");
    ledger.processes[0].fingerprint.as_mut().expect("running").pid = stranger.id();
    fs::write(&file, serde_json::to_vec(&ledger).expect("JSON")).expect("written");
    world.launch();
    world.until("started anew", |world| world.starts("gateway").len() == 2);
    assert!(world.stop().0.success());
    assert!(alive(stranger.id()), "a stranger was signalled");
    stranger.kill().expect("killed");
    stranger.wait().expect("reaped");
}

#[test]
fn sec_017_who_only_calls_himself_like_a_role_is_not_signalled() {
    let world = World::new().role("gateway", &[], json!({}));
    let config: Value = serde_json::from_slice(&fs::read(world.config()).expect("there")).expect("JSON");
    let program = config["executable"].as_str().expect("a path");
    // The shell takes the first argument for a script of its own.
    fs::write(world.path("run"), "read line\n").expect("written");
    let mut impostor = Command::new("/bin/sh");
    std::os::unix::process::CommandExt::arg0(&mut impostor, program);
    impostor
        .args(["run", "gateway", "--config"])
        .arg(world.path("gateway/config.json"));
    let mut impostor = impostor
        .current_dir(world.folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    let mut world = world.start();
    world.running(&["gateway"]);
    assert!(alive(impostor.id()), "a stranger was signalled");
    // The real one, in no ledger, is ended.
    let real = world.running(&["gateway"])[0];
    world.kill_supervisor();
    fs::remove_file(world.path("supervisor/ledger.json")).expect("there");
    world.launch();
    world.until("a successor", |world| world.starts("gateway").len() == 2);
    assert!(!alive(real) && alive(impostor.id()), "the wrong one was ended");
    assert!(world.stop().0.success());
    impostor.kill().expect("killed");
    impostor.wait().expect("reaped");
}

#[test]
fn sec_147_a_damaged_ledger_is_set_aside_and_what_it_named_is_replaced_not_doubled() {
    let mut world = World::new().role("gateway", &[], json!({})).start();
    let before = world.running(&["gateway"])[0];
    world.kill_supervisor();
    fs::write(world.path("supervisor/ledger.json"), "{\"boot_id\": \"x").expect("written");
    world.launch();
    world.until("started anew", |world| world.starts("gateway").len() == 2);
    assert!(!alive(before), "two would fight over ports and folders");
    assert!(world.path("supervisor/ledger.damaged").exists());
    assert!(world.log().contains("the ledger is damaged"));
}

#[test]
fn a_second_supervisor_refuses_to_work_in_the_same_folder() {
    let world = World::new().role("gateway", &[], json!({})).start();
    let before = world.running(&["gateway"]);
    let status = world.command().status().expect("ran");
    assert_eq!(status.code(), Some(69));
    assert!(world.log().contains("already runs in this folder"), "{}", world.log());
    assert_eq!(world.running(&["gateway"]), before);
}

#[test]
fn sec_147_a_folder_that_cannot_be_written_is_a_clear_error() {
    let world = World::new();
    // A file in the way of the folder stops root too, unlike permissions.
    fs::write(world.path("supervisor"), "").expect("written");
    let status = world.command().status().expect("ran");
    assert_eq!(status.code(), Some(69));
    let folder = world.path("supervisor");
    assert!(
        world
            .log()
            .contains(&format!("cannot create folder {}", Path::display(&folder))),
        "{}",
        world.log()
    );
}
