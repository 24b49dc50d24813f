//! What is done to a wire, one after the other, and when.
//!
//! One idea: outside of a fault and the time to get over it, everything works as ever. Must never judge by a clock what is
//! not said in seconds here.

use std::time::{Duration, Instant};

use palladium_peers::daprd::Daprd;
use palladium_peers::wire::{FaultyWire, Wire};
use tokio::time::sleep;

/// How long a call may wait for its answer, whatever is wrong.
pub const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take until all is well again after a fault.
pub const RECOVERY: Duration = Duration::from_secs(40);
/// Of our program as it is built for tests.
const MEMORY: u64 = 192 << 20;
/// Who speaks to the program at the same time.
pub const CALLERS: usize = 4;
/// Between two calls of one caller.
pub const PACE: Duration = Duration::from_millis(20);

const FAULTS: [(Wire, u64); 4] = [
    (Wire::Slow(Duration::from_millis(150)), 8),
    (Wire::HalfClosed, 8),
    (Wire::Held, 20),
    (Wire::Cut, 60),
];

/// A time in which anything may fail that is not promised.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub begun: Instant,
    pub over: Instant,
}

/// Whether some of that time was in trouble.
pub fn touched(troubles: &[Trouble], from: Instant, to: Instant) -> bool {
    troubles.iter().any(|one| from <= one.over && to >= one.begun)
}

/// What waited for a server that was away had bounds.
pub fn bounded(what: &str, daprd: &Daprd) {
    let memory = daprd.peak_memory();
    println!("{what}: {} MB at most", memory >> 20);
    assert!(memory < MEMORY, "{what} took {memory} bytes");
}

/// All faults; after each, waits until `works` says so for a while.
pub async fn all(wire: &FaultyWire, what: &str, works: impl AsyncFn() -> bool) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (fault, seconds) in FAULTS {
        sleep(Duration::from_secs(2)).await;
        let begun = Instant::now();
        wire.set(fault);
        sleep(Duration::from_secs(seconds)).await;
        wire.set(Wire::Whole);
        let over = recovered(&format!("{what} after {fault:?}"), &works).await;
        troubles.push(Trouble { begun, over });
    }
    sleep(Duration::from_secs(2)).await;
    troubles
}

/// Waits until `works` says so several times in a row: one connection that was mended says nothing of the others.
pub async fn recovered(what: &str, works: &impl AsyncFn() -> bool) -> Instant {
    let healed = Instant::now();
    let mut good = 0;
    while good < 20 {
        assert!(healed.elapsed() < RECOVERY, "{what}: nothing works for {RECOVERY:?}");
        good = if works().await { good + 1 } else { 0 };
        sleep(Duration::from_millis(50)).await;
    }
    Instant::now()
}
