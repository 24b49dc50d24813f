//! Store and consumers that are killed in the middle of deliveries, again and again; and a disk that is full for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use palladium_component::PubSub;
use palladium_component::pubsub::Outcome;
use palladium_conformance::pubsub::message as to;
use tokio::task::{AbortHandle, JoinSet};

use super::bus;
use super::bus::{next, subscribe, text};
use super::killed::{Process, Way};
use super::world::{World, open_bus};

const TOPIC: &str = "t";
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const ROUNDS: u64 = 5;
const FAST: &[(&str, &str)] = &[("redeliverInterval", "50ms"), ("concurrency", "8")];
const SOON: Duration = Duration::from_secs(60);

/// What was delivered, by key, in the order of delivery.
type Seen = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

/// Receives until it is aborted; every seventh delivery fails.
async fn consume(component: Arc<dyn PubSub>, seen: Seen) {
    let started = Instant::now();
    let mut subscription = loop {
        match subscribe(&component, TOPIC).await {
            Ok(subscription) => break subscription,
            Err(error) => assert!(started.elapsed() < SOON, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut count = 0_u64;
    while let Some(delivery) = subscription.next().await {
        let message = text(&delivery);
        let (key, number) = message.split_once(' ').unwrap();
        {
            let mut seen = seen.lock().unwrap();
            seen.entry(key.to_owned()).or_default().push(number.parse().unwrap());
        }
        count += 1;
        tokio::task::yield_now().await;
        delivery.settle(if count.is_multiple_of(7) {
            Outcome::Failed
        } else {
            Outcome::Done
        });
    }
}

/// Publishes numbers of one key until told to stop; what the store acknowledged.
async fn publish(component: Arc<dyn PubSub>, key: &str, from: u64, stop: &AtomicBool) -> (u64, Vec<u64>) {
    let (mut number, mut acknowledged) = (from, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let request = to(TOPIC, format!("{key} {number}"), &[("partitionKey", key)]);
        if component.publish(&request).await.is_ok() {
            acknowledged.push(number);
        }
    }
    (number, acknowledged)
}

/// Every acknowledged message is delivered, whatever was killed; the messages of a key never go back, but for repetitions of
/// the one that was under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_147_kill_9_in_the_middle_of_deliveries_loses_no_message() {
    let world = World::new();
    world.write_table(&[bus("prj-a", "uid-a", "pubsub", &["orders", "billing"])], &[]);
    Process::prepare(&world);
    let (mut process, address) = Process::start(world.folder.path());
    let (orders, billing) = (
        Way::new(&world, "/ns/prj-a/orders", address),
        Way::new(&world, "/ns/prj-a/billing", address),
    );
    let publisher = open_bus(orders.clone(), "pubsub", FAST).await.unwrap();
    let seen = Seen::default();
    let mut consumers = JoinSet::new();
    let mut handles: Vec<AbortHandle> = Vec::new();
    for _ in 0..2 {
        let component = open_bus(billing.clone(), "pubsub", FAST).await.unwrap();
        handles.push(consumers.spawn(consume(component, seen.clone())));
    }
    let mut acknowledged: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut publishers = JoinSet::new();
        for key in KEYS {
            let (component, stop) = (publisher.clone(), stop.clone());
            let from = last.get(key).copied().unwrap_or(0);
            publishers.spawn(async move { (key, publish(component, key, from, &stop).await) });
        }
        tokio::time::sleep(Duration::from_millis(300 + round * 117)).await;
        // With everything that it holds, as when its process ends.
        handles.remove(0).abort();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(process);
        stop.store(true, Ordering::Relaxed);
        for (key, (number, taken)) in publishers.join_all().await {
            last.insert(key, number);
            acknowledged.entry(key).or_default().extend(taken);
        }
        let (next, address) = Process::start(world.folder.path());
        process = next;
        orders.is_now_at(address);
        billing.is_now_at(address);
        let component = open_bus(billing.clone(), "pubsub", FAST).await.unwrap();
        handles.push(consumers.spawn(consume(component, seen.clone())));
    }
    let count: usize = acknowledged.values().map(BTreeSet::len).sum();
    assert!(
        count > 10 * KEYS.len(),
        "only {count} messages: the test proves nothing"
    );
    let started = Instant::now();
    loop {
        let missing: Vec<_> = {
            let seen = seen.lock().unwrap();
            let none = Vec::new();
            let missing = acknowledged.iter().flat_map(|(key, numbers)| {
                let delivered: BTreeSet<_> = seen.get(*key).unwrap_or(&none).iter().copied().collect();
                numbers
                    .iter()
                    .filter(move |number| !delivered.contains(number))
                    .map(move |number| (*key, *number))
            });
            missing.collect()
        };
        if missing.is_empty() {
            break;
        }
        assert!(
            started.elapsed() < SOON,
            "{} of {count} are lost, the first {:?}",
            missing.len(),
            missing[0]
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (key, numbers) in &*seen.lock().unwrap() {
        let back = numbers.windows(2).find(|pair| pair[1] < pair[0]);
        assert!(back.is_none(), "{key}: {back:?}");
    }
    let delivered: usize = seen.lock().unwrap().values().map(Vec::len).sum();
    eprintln!("{count} acknowledged, {delivered} deliveries");
}

/// Runs on the small disk of `small_disk`: refused in words, nothing that was acknowledged is lost, and what was handled while
/// nothing could be written does not come again.
pub(super) async fn on_a_small_disk(world: &World, fill: impl Fn(), room: impl Fn()) {
    let component = open_bus(world.dial("/ns/prj-a/orders"), "pubsub", FAST).await.unwrap();
    let mut subscription = subscribe(&component, TOPIC).await.unwrap();
    let mut acknowledged = 0;
    fill();
    let error = loop {
        assert!(acknowledged < 5000, "the disk does not fill up");
        let request = to(TOPIC, format!("{acknowledged} {}", "x".repeat(20_000)), &[]);
        match component.publish(&request).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("disk is full"), "{error}");
    for number in 0..acknowledged {
        let delivery = next(&mut subscription).await;
        let message = text(&delivery);
        assert_eq!(message.split_once(' ').unwrap().0, number.to_string());
        delivery.settle(Outcome::Done);
    }
    room();
    let started = Instant::now();
    while let Err(error) = component.publish(&to(TOPIC, "room again", &[])).await {
        assert!(started.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(text(&next(&mut subscription).await), "room again");
}
