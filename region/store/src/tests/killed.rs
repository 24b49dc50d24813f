//! A store process that is killed in the middle of its work, again and again.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palladium_component::reply::BoxFuture;
use palladium_component::state::{Concurrency, DeleteRequest, Operation, SetRequest, TransactRequest};
use palladium_component::{Duplex, StateStore};
use palladium_spiffe::platform;
use palladium_tasks::Shutdown;
use palladium_tls::{ALPN_H2, Connector, exactly, mtls_client_config};

use super::isolation::value;
use super::world::{World, open};
use super::{component, pki};
use crate::run::Store;

/// Names the folder to the process that is to be killed.
const FOLDER: &str = "PALLADIUM_STORE_TEST_FOLDER";
const DOMAIN: &str = "reg-a.palladium.internal";
const WRITERS: usize = 16;
const ROUNDS: u64 = 6;

/// A store in a process of its own; killed when dropped.
pub(super) struct Process(Child);

impl Process {
    /// Everything that the process needs, below `world`'s folder, which is the argument of [`Process::start`].
    pub(super) fn prepare(world: &World) {
        world.ca.save(platform::STORE, world.folder.path());
        let config = serde_json::to_vec(&world.config()).unwrap();
        std::fs::write(world.folder.path().join("store.json"), config).unwrap();
    }

    pub(super) fn start(folder: &Path) -> (Self, SocketAddr) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::killed::the_process", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.rsplit_once("serves at ")?.1.parse().ok());
        (Process(child), address.expect("the store starts"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process; not a test by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by sec_147_kill_9_loses_no_acknowledged_write"]
async fn the_process() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let (svid, bundles) = pki::load(DOMAIN, folder);
    let config = palladium_config::load(&folder.join("store.json")).unwrap();
    let shutdown = Shutdown::new();
    let store = Store::start(&config, svid, bundles, &shutdown).await.unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "serves at {}", store.address).unwrap();
    out.flush().unwrap();
    store.serve(&shutdown).await.unwrap();
}

/// The way to wherever the store is just now.
#[derive(Clone)]
pub(super) struct Way {
    connector: Connector,
    address: Arc<Mutex<SocketAddr>>,
}

impl Way {
    /// For a Dapr Server with this SPIFFE path.
    pub(super) fn new(world: &World, path: &str, address: SocketAddr) -> Self {
        let (svid, bundles) = (world.ca.svid(path), world.ca.bundles());
        let tls = mtls_client_config(&svid, &bundles, exactly(&world.ca.id(platform::STORE)), ALPN_H2);
        Way {
            connector: Connector::mtls(tls, bundles, Duration::from_secs(5)),
            address: Arc::new(Mutex::new(address)),
        }
    }

    pub(super) fn is_now_at(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Way({:?})", self.address)
    }
}

impl palladium_component::Connector for Way {
    fn connect(&self) -> BoxFuture<'static, std::io::Result<Box<dyn Duplex>>> {
        let (connector, address) = (self.connector.clone(), *self.address.lock().unwrap());
        Box::pin(async move { Ok(Box::new(connector.connect(address).await?) as Box<dyn Duplex>) })
    }
}

/// What one application knows of its writes: the newest number that it was told is written, and every key that must be
/// there or gone.
#[derive(Default)]
struct Known {
    tried: u64,
    written: u64,
    created: HashSet<u64>,
    deleted: HashSet<u64>,
}

/// Over six kills every acknowledged write, creation and deletion is there, and every transaction is whole; the driver
/// finds the store again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_147_kill_9_loses_no_acknowledged_write() {
    let world = World::new();
    world.write_table(&[component("prj-a", "uid-a", "kvstore", &["orders"])], &[]);
    Process::prepare(&world);

    let (mut process, address) = Process::start(world.folder.path());
    let way = Way::new(&world, "/ns/prj-a/orders", address);
    let store = open(way.clone(), "kvstore").await.unwrap();
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = tokio::task::JoinSet::new();
        for (writer, known) in known.drain(..).enumerate() {
            let (store, stop) = (store.clone(), stop.clone());
            writers.spawn(async move { (writer, write(&*store, writer, known, &stop).await) });
        }
        tokio::time::sleep(Duration::from_millis(300 + round * 117)).await;
        drop(process);
        stop.store(true, Ordering::Relaxed);
        let mut ended = writers.join_all().await;
        ended.sort_by_key(|(writer, _)| *writer);
        known = ended.into_iter().map(|(_, known)| known).collect();

        let (next, address) = Process::start(world.folder.path());
        process = next;
        way.is_now_at(address);
        for (writer, known) in known.iter().enumerate() {
            check(&*store, round, writer, known).await;
        }
    }
    let acknowledged: u64 = known.iter().map(|known| known.written).sum();
    assert!(
        acknowledged > 10 * ROUNDS * WRITERS as u64 / 2,
        "only {acknowledged} writes: the test proves nothing"
    );
}

/// Writes until told to stop: a pair in one transaction, a key that is created once, and one that is deleted again.
async fn write(store: &dyn StateStore, writer: usize, mut known: Known, stop: &AtomicBool) -> Known {
    while !stop.load(Ordering::Relaxed) {
        known.tried += 1;
        let number = known.tried;
        let set = |name: &str| SetRequest {
            key: key(writer, name),
            value: number.to_string().into(),
            ..SetRequest::default()
        };
        let pair = TransactRequest {
            operations: vec![Operation::Set(set("a")), Operation::Set(set("b"))],
            ..TransactRequest::default()
        };
        if store.transact(&pair).await.is_err() {
            continue;
        }
        known.written = number;
        let name = format!("once-{number}");
        let first = SetRequest {
            concurrency: Concurrency::FirstWrite,
            ..set(&name)
        };
        if store.set(&first).await.is_err() {
            continue;
        }
        let delete = DeleteRequest {
            key: key(writer, &name),
            ..DeleteRequest::default()
        };
        if number.is_multiple_of(2) {
            known.created.insert(number);
        } else if store.delete(&delete).await.is_ok() {
            known.deleted.insert(number);
        }
    }
    known
}

async fn check(store: &dyn StateStore, round: u64, writer: usize, known: &Known) {
    let read = async |name: &str| value(store, &key(writer, name)).await;
    let (a, b) = (read("a").await, read("b").await);
    assert_eq!(a, b, "round {round}, writer {writer}: half a transaction");
    // It may be newer than what was acknowledged: written, but the answer was cut off.
    let found: u64 = a.map_or(0, |text| text.parse().unwrap());
    assert!(
        (known.written..=known.tried).contains(&found),
        "round {round}, writer {writer}: {found}, acknowledged {}",
        known.written
    );
    for number in &known.created {
        let found = read(&format!("once-{number}")).await;
        assert_eq!(found, Some(number.to_string()), "round {round}, writer {writer}");
    }
    for number in &known.deleted {
        assert_eq!(
            read(&format!("once-{number}")).await,
            None,
            "round {round}, writer {writer}"
        );
    }
}

fn key(writer: usize, name: &str) -> String {
    format!("orders||{writer}-{name}")
}
