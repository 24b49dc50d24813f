//! State while the wire to the database is at fault.
//!
//! One idea: a value that was acknowledged is read back, or the read fails; it is never missing and never another. Must never
//! take a failure outside of a fault for part of it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use palladium_peers::daprd::{Answer, Api};
use tokio::time::{sleep, timeout};

use super::faults::{self, ANSWER, CALLERS, PACE, Trouble};
use super::peers::{self, Peer};

/// What an application was promised.
#[derive(Default)]
struct Ledger {
    /// Keys that were saved, which are their values.
    kept: Mutex<BTreeSet<u64>>,
    /// Calls that failed: from, to, and what was said.
    failed: Mutex<Vec<(Instant, Instant, String)>>,
    next: AtomicU64,
    over: AtomicBool,
}

impl Ledger {
    async fn call(api: Api, method: &str, path: &str, body: &str) -> Answer {
        let answer = timeout(ANSWER, api.answer(method, path, body));
        answer.await.expect("a call without an answer").expect("it runs")
    }

    /// Whether the next key was saved.
    async fn save(&self, api: Api) -> bool {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let body = format!("[{{\"key\":\"k{key}\",\"value\":{key}}}]");
        let answer = Self::call(api, "POST", "/v1.0/state/store", &body).await;
        let saved = answer.status == 204;
        if saved {
            self.kept.lock().unwrap().insert(key);
        } else {
            assert!(answer.body.contains("ERR_STATE_SAVE"), "{answer:?}");
            self.failed.lock().unwrap().push((begun, Instant::now(), answer.body));
        }
        saved
    }

    /// Reads what was saved; a failure is one, something else than the value is worse.
    async fn load(&self, api: Api, key: u64) -> bool {
        let begun = Instant::now();
        let answer = Self::call(api, "GET", &format!("/v1.0/state/store/k{key}"), "").await;
        if answer.status == 200 {
            assert_eq!(answer.body, key.to_string());
            return true;
        }
        assert!(
            answer.body.contains("ERR_STATE_GET"),
            "k{key} was acknowledged: {answer:?}"
        );
        self.failed.lock().unwrap().push((begun, Instant::now(), answer.body));
        false
    }

    /// Saves a key, and reads one that was saved before.
    async fn caller(&self, api: Api) {
        while !self.over.load(Ordering::Relaxed) {
            self.save(api).await;
            let somewhere = self.next.load(Ordering::Relaxed) / 2;
            let kept = self.kept.lock().unwrap().range(somewhere..).next().copied();
            if let Some(key) = kept {
                self.load(api, key).await;
            }
            sleep(PACE).await;
        }
    }

    /// Everything is there, and nothing failed while nothing was wrong.
    async fn settle(&self, what: &str, api: Api, troubles: &[Trouble]) {
        let kept = self.kept.lock().unwrap().clone();
        for key in &kept {
            assert!(self.load(api, *key).await, "{what}: k{key} cannot be read");
        }
        let failed = self.failed.lock().unwrap();
        let wrong: Vec<_> = failed
            .iter()
            .filter(|(begun, ended, _)| !faults::touched(troubles, *begun, *ended))
            .collect();
        assert!(wrong.is_empty(), "{what} failed without a fault: {wrong:?}");
        println!("{what}: {} kept, {} calls failed", kept.len(), failed.len());
    }
}

async fn through_faults(peer: Peer) {
    let (what, wire) = (peer.type_name, &peer.wire);
    let (daprd, _application) = peer.serve(None, wire.port(), Duration::ZERO).await;
    let (api, ledger) = (daprd.api, &Ledger::default());
    let faults = async {
        let troubles = faults::all(wire, what, async || ledger.save(api).await).await;
        ledger.over.store(true, Ordering::Relaxed);
        troubles
    };
    let callers = async {
        let [one, two, three, four] = [(); CALLERS].map(|()| ledger.caller(api));
        tokio::join!(one, two, three, four)
    };
    let (troubles, _) = tokio::join!(faults, callers);
    ledger.settle(what, api, &troubles).await;
    faults::bounded(what, &daprd);
}

/// Whatever was acknowledged can be read, every call is answered in time and says what failed, and memory has bounds, while
/// each database is slow, half there, silent, and then away for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_that_are_slow_half_there_or_away_lose_nothing() {
    join_all(peers::databases().await.into_iter().map(through_faults)).await;
}
