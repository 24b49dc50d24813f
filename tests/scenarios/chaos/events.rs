//! Publishing and delivery while the wire to the broker is at fault, or the Dapr Server is killed.
//!
//! One idea: a number that was acknowledged arrives, and arrives twice only if it was under way when something went wrong.
//! Must never take an event for settled before its answer had time to reach the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use palladium_peers::application::Application;
use palladium_peers::daprd::Api;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::faults::{self, ANSWER, CALLERS, PACE, RECOVERY, Trouble};
use super::peers::{self, ADDRESS, Peer};

/// How long after its answer a message surely counts as settled at the broker.
const SETTLED: Duration = Duration::from_secs(1);
/// How often a Dapr Server is killed.
const KILLS: usize = 4;

/// What an application was promised and what it got.
#[derive(Default)]
struct Ledger {
    /// Numbers whose publishing was acknowledged.
    promised: Mutex<BTreeSet<u64>>,
    /// When each number arrived.
    arrived: Mutex<BTreeMap<u64, Vec<Instant>>>,
    next: AtomicU64,
    over: AtomicBool,
}

impl Ledger {
    /// Callers that publish number after number, and a reader of what arrives.
    async fn start(api: Api, mut application: Application) -> (Arc<Self>, JoinSet<()>) {
        let ledger = Arc::new(Self::default());
        // What comes before the application has subscribed is for nobody.
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < RECOVERY, "no event arrives");
            ledger.publish(api).await;
            if let Ok(Some(_)) = timeout(Duration::from_millis(500), application.bodies.recv()).await {
                break;
            }
        }
        ledger.promised.lock().unwrap().clear();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let ledger = ledger.clone();
            callers.spawn(async move {
                while !ledger.over.load(Ordering::Relaxed) {
                    ledger.publish(api).await;
                    sleep(PACE).await;
                }
            });
        }
        let reader = ledger.clone();
        tokio::spawn(async move {
            while let Some(body) = application.bodies.recv().await {
                let event: serde_json::Value = serde_json::from_str(&body).expect("an event");
                let number = event["data"]["n"].as_u64().expect("a number");
                reader
                    .arrived
                    .lock()
                    .unwrap()
                    .entry(number)
                    .or_default()
                    .push(Instant::now());
            }
        });
        (ledger, callers)
    }

    /// Whether the next number was taken.
    async fn publish(&self, api: Api) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"n\":{number}}}");
        let answer = timeout(ANSWER, api.answer("POST", "/v1.0/publish/store/t", &body));
        let answer = answer.await.expect("a call without an answer");
        let taken = answer.is_some_and(|answer| answer.status == 204);
        if taken {
            self.promised.lock().unwrap().insert(number);
        }
        taken
    }

    /// Ends the callers, waits for what was promised, and judges what came twice.
    async fn settle(&self, what: &str, mut callers: JoinSet<()>, troubles: &[Trouble]) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
        let mut moved = Instant::now();
        let mut left = usize::MAX;
        let missing = || {
            let (promised, arrived) = (self.promised.lock().unwrap(), self.arrived.lock().unwrap());
            promised.iter().filter(|number| !arrived.contains_key(number)).count()
        };
        // What is kept in order takes its time.
        while left > 0 {
            let now = missing();
            if now < left {
                (left, moved) = (now, Instant::now());
            }
            assert!(
                moved.elapsed() < RECOVERY,
                "{what}: {left} acknowledged events are lost"
            );
            sleep(Duration::from_millis(100)).await;
        }
        // What comes again late would be seen.
        sleep(Duration::from_secs(3)).await;
        let arrived = self.arrived.lock().unwrap();
        let excused = |first: Instant| faults::touched(troubles, first, first + SETTLED);
        let again: Vec<_> = arrived.values().filter(|times| times.len() > 1).collect();
        let without = again.iter().filter(|times| !excused(times[0])).count();
        assert_eq!(
            without, 0,
            "{what}: events came again that were settled before any fault"
        );
        println!(
            "{what}: {} of {} acknowledged, {} arrived again",
            self.promised.lock().unwrap().len(),
            self.next.load(Ordering::Relaxed),
            again.len()
        );
    }
}

/// Puts one broker's wire through everything.
async fn through_faults(peer: Peer) {
    let (what, wire) = (peer.type_name, &peer.wire);
    let (daprd, application) = peer.serve(None, wire.port(), Duration::from_millis(5)).await;
    let api = daprd.api;
    let (ledger, callers) = Ledger::start(api, application).await;
    let troubles = faults::all(wire, what, async || ledger.publish(api).await).await;
    ledger.settle(what, callers, &troubles).await;
    faults::bounded(what, &daprd);
}

/// Whatever was acknowledged arrives, nothing that was settled comes again, every call is answered in time, and memory has
/// bounds, while each broker is slow, half there, silent, and then away for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_slow_half_there_or_away_lose_nothing() {
    join_all(peers::brokers(ADDRESS).await.into_iter().map(through_faults)).await;
}

/// Kills a Dapr Server while its application thinks about events.
async fn through_kills(peer: Peer) {
    let what = peer.type_name;
    // Long enough that some are always under way.
    let (mut daprd, application) = peer.serve(None, peer.port, Duration::from_millis(60)).await;
    let api = daprd.api;
    let (ledger, callers) = Ledger::start(api, application).await;
    let mut troubles = Vec::new();
    for _ in 0..KILLS {
        sleep(Duration::from_secs(2)).await;
        let begun = Instant::now();
        daprd.kill_and_start_again().await;
        let over = faults::recovered(what, &async || ledger.publish(api).await).await;
        troubles.push(Trouble { begun, over });
    }
    ledger.settle(what, callers, &troubles).await;
}

/// Whatever was acknowledged arrives, and only what was under way comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dapr_server_killed_in_the_middle_of_deliveries_loses_nothing() {
    join_all(peers::brokers(ADDRESS).await.into_iter().map(through_kills)).await;
}
