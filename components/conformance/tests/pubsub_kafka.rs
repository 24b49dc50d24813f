//! What is peculiar to Kafka, over a real one: restarts, order, groups, what is committed and when, credentials, TLS, and what
//! Dapr's own driver would find in the log. Long because all cases share one server, which takes seconds to start.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use krafka::{Compression, Record};
use palladium_component::pubsub::{BulkEntry, BulkPublishRequest, Feature, Outcome, SubscribeRequest};
use palladium_component::{OpenContext, OpenError, PubSub, PubsubError};
use palladium_conformance::pubsub::{done_until, message as to, next, nothing, publish_until_taken, subscribe};
use palladium_peers::kafka_server::KafkaServer;
use tokio::time::timeout;

/// Short times, and a group of its own for each test.
fn quick(group: &str) -> Vec<(String, String)> {
    let pairs = [
        ("consumerGroup", group),
        ("initialOffset", "oldest"),
        ("backOffDuration", "200ms"),
        ("heartbeatInterval", "200ms"),
        ("sessionTimeout", "6s"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

async fn try_open(metadata: Vec<(String, String)>, pairs: &[(&str, &str)]) -> Result<Arc<dyn PubSub>, OpenError> {
    palladium_tls::install_crypto_provider();
    let more = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let context = OpenContext::new("pubsub", "app", metadata.into_iter().chain(more).collect());
    palladium_components_pubsub::DRIVERS
        .open("pubsub.kafka", "v1", context)
        .await
}

async fn open(server: &KafkaServer, group: &str, pairs: &[(&str, &str)]) -> Arc<dyn PubSub> {
    let opened = try_open([server.metadata(), quick(group)].concat(), pairs).await;
    opened.expect("the component opens")
}

/// What a group has committed of a topic with one partition, as soon as it is that.
async fn committed(server: &KafkaServer, group: &str, topic: &str, expected: i64) {
    let waiting = async {
        while server.committed(group, topic, 0).await != Some(expected) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(20), waiting).await;
    assert!(in_time.is_ok(), "{:?}", server.committed(group, topic, 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_nothing() {
    const COUNT: usize = 60;
    let mut server = KafkaServer::start().await;
    let bus = open(&server, "restarts", &[]).await;
    let mut subscription = subscribe(&bus, "t").await;

    for signal in ["TERM", "KILL"] {
        let publisher = bus.clone();
        let publishing = tokio::spawn(async move {
            for number in 0..COUNT {
                // Who is not told that the cluster has a message says it again.
                let message = to("t", format!("{signal} {number}"), &[]);
                publish_until_taken(|| publisher.publish(&message)).await;
            }
        });
        let mut seen = BTreeSet::new();
        while seen.len() < 10 {
            let delivery = next(&mut subscription).await;
            seen.insert(delivery.message.data.clone());
            delivery.settle(Outcome::Done);
        }
        server.restart(signal).await;
        let wanted: BTreeSet<_> = (0..COUNT).map(|number| format!("{signal} {number}").into()).collect();
        while !wanted.is_subset(&seen) {
            let delivery = next(&mut subscription).await;
            seen.insert(delivery.message.data.clone());
            delivery.settle(Outcome::Done);
        }
        publishing.await.unwrap();
    }
    bus.ping().await.unwrap();

    // A cluster that is away is an error in time, and what is received goes on when it is back.
    server.end().await;
    let error = timeout(Duration::from_secs(60), bus.publish(&to("t", "x", &[]))).await;
    let error = error.expect("in time").unwrap_err();
    assert!(matches!(error, PubsubError::Unavailable(_)), "{error}");
    server.start_again().await;
    let back = to("t", "back", &[]);
    publish_until_taken(|| bus.publish(&back)).await;
    done_until(&mut subscription, "back").await;
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peculiarities() {
    let server = KafkaServer::start().await;
    let all = async {
        the_log_is_daprs(&server).await;
        keys_stay_in_order(&server).await;
        commits_follow_what_was_settled(&server).await;
        a_failed_message_holds_the_others_up(&server).await;
        without_retries_it_is_left_behind(&server).await;
        a_group_that_begins_at_the_end_loses_nothing(&server).await;
        members_compete_and_take_over(&server).await;
        a_topic_that_comes_later(&server).await;
        many_at_once(&server).await;
        what_is_wrong_is_said(&server).await;
        more_topics_than_one(&server).await;
        partitions_that_are_held_up_leave_room_for_others(&server).await;
        what_unpacks_to_too_much_stops_its_partition_alone(&server).await;
        compressed(&server).await;
        by_password(&server).await;
        by_tls(&server).await;
        a_silent_server_does_not_keep_a_component_from_closing(&server).await;
    };
    all.await;
}

/// What Dapr's driver would write: the metadata as headers, the key's among them; and what it would show.
async fn the_log_is_daprs(server: &KafkaServer) {
    server.create("log", 1).await;
    let bus = open(server, "log", &[("excludeHeaderMetaRegex", "^rawPayload$")]).await;
    let said = [("partitionKey", "k"), ("Foo", "b r"), ("rawPayload", "true")];
    bus.publish(&to("log", "v", &said)).await.unwrap();
    server.put(Record::tombstone("log", "gone").header("h", "ü")).await;
    let log = server.log("log", 2).await;
    let mut headers: Vec<_> = log[0]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().unwrap()))
        .collect();
    headers.sort_unstable();
    assert_eq!(headers, [("Foo", &b"b r"[..]), ("partitionKey", b"k")]);
    assert_eq!((log[0].key_str(), log[0].value_str()), (Some("k"), Some("v")));
    let mut subscription = subscribe(&bus, "log").await;
    let delivery = next(&mut subscription).await;
    let mut shown: BTreeMap<_, _> = delivery.message.metadata.clone().into_iter().collect();
    assert!(shown.remove("__timestamp").unwrap().parse::<i64>().unwrap() > 1_600_000_000_000);
    let expected = [
        ("Foo", "b r"),
        ("__key", "k"),
        ("__offset", "0"),
        ("__partition", "0"),
        ("__topic", "log"),
        ("partitionKey", "k"),
    ];
    assert_eq!(
        shown,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    delivery.settle(Outcome::Done);
    let delivery = next(&mut subscription).await;
    assert_eq!(
        (&delivery.message.data[..], delivery.message.metadata["h"].as_str()),
        (&b"null"[..], "ü")
    );
    delivery.settle(Outcome::Done);
    bus.close().await.unwrap();
    // Escaped, as another component may want it.
    let bus = open(server, "log-escaped", &[("escapeHeaders", "true")]).await;
    let delivery = next(&mut subscribe(&bus, "log").await).await;
    assert_eq!(delivery.message.metadata["Foo"], "b+r");
    bus.close().await.unwrap();
}

async fn keys_stay_in_order(server: &KafkaServer) {
    const EACH: usize = 40;
    server.create("order", 3).await;
    let bus = open(server, "order", &[]).await;
    let mut subscription = subscribe(&bus, "order").await;
    for number in 0..EACH {
        for key in ["a", "b", "c", "d"] {
            let said = [("partitionKey", key)];
            bus.publish(&to("order", number.to_string(), &said)).await.unwrap();
        }
    }
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    while seen.values().map(Vec::len).sum::<usize>() < 4 * EACH {
        let delivery = next(&mut subscription).await;
        let key = delivery.message.metadata["__key"].clone();
        let number: usize = String::from_utf8_lossy(&delivery.message.data).parse().unwrap();
        // Some fail once, and nothing overtakes them.
        if number % 17 == 3 && failed.insert((key.clone(), number)) {
            delivery.settle(Outcome::Failed);
            continue;
        }
        seen.entry(key).or_default().push(number);
        delivery.settle(Outcome::Done);
    }
    for (key, numbers) in seen {
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "{key}");
    }
    bus.close().await.unwrap();
}

async fn commits_follow_what_was_settled(server: &KafkaServer) {
    server.create("commits", 1).await;
    let bus = open(server, "commits", &[]).await;
    let mut subscription = subscribe(&bus, "commits").await;
    for number in 0..3 {
        bus.publish(&to("commits", number.to_string(), &[])).await.unwrap();
    }
    next(&mut subscription).await.settle(Outcome::Done);
    let held = next(&mut subscription).await;
    // The one behind waits for it.
    nothing(&mut subscription).await;
    committed(server, "commits", "commits", 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    committed(server, "commits", "commits", 1).await;
    held.settle(Outcome::Done);
    committed(server, "commits", "commits", 2).await;
    let last = next(&mut subscription).await;
    assert_eq!(last.message.data, "2");
    // Nobody says anything about it: it comes again, to whoever is there.
    drop(last);
    assert_eq!(next(&mut subscription).await.message.data, "2");
    bus.close().await.unwrap();
    committed(server, "commits", "commits", 2).await;
}

async fn a_failed_message_holds_the_others_up(server: &KafkaServer) {
    server.create("failed", 1).await;
    let bus = open(server, "failed", &[("backOffMaxRetries", "2")]).await;
    let mut subscription = subscribe(&bus, "failed").await;
    for data in ["bad", "good"] {
        bus.publish(&to("failed", data, &[])).await.unwrap();
    }
    for _ in 0..3 {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.message.data, "bad");
        delivery.settle(Outcome::Failed);
    }
    // It was enough.
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message.data, "good");
    assert_eq!(server.committed("failed", "failed", 0).await, None);
    delivery.settle(Outcome::Done);
    committed(server, "failed", "failed", 2).await;
    bus.close().await.unwrap();
}

async fn without_retries_it_is_left_behind(server: &KafkaServer) {
    server.create("left", 1).await;
    let bus = open(server, "left", &[("consumeRetryEnabled", "false")]).await;
    let mut subscription = subscribe(&bus, "left").await;
    for data in ["bad", "good"] {
        bus.publish(&to("left", data, &[])).await.unwrap();
    }
    next(&mut subscription).await.settle(Outcome::Failed);
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message.data, "good");
    delivery.settle(Outcome::Done);
    committed(server, "left", "left", 2).await;
    bus.close().await.unwrap();
}

async fn a_group_that_begins_at_the_end_loses_nothing(server: &KafkaServer) {
    server.create("newest", 1).await;
    let newest = [("initialOffset", "newest")];
    let bus = open(server, "newest", &newest).await;
    bus.publish(&to("newest", "early", &[])).await.unwrap();
    let mut subscription = subscribe(&bus, "newest").await;
    bus.publish(&to("newest", "held", &[])).await.unwrap();
    let held = next(&mut subscription).await;
    assert_eq!(held.message.data, "held");
    // It ends before anything was settled, and more comes meanwhile.
    bus.close().await.unwrap();
    drop(held);
    let publisher = open(server, "other", &newest).await;
    publisher.publish(&to("newest", "meanwhile", &[])).await.unwrap();
    let bus = open(server, "newest", &newest).await;
    let mut subscription = subscribe(&bus, "newest").await;
    for expected in ["held", "meanwhile"] {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.message.data, expected);
        delivery.settle(Outcome::Done);
    }
    bus.close().await.unwrap();
    publisher.close().await.unwrap();
}

/// Two share the partitions; what one leaves behind the other takes over.
async fn members_compete_and_take_over(server: &KafkaServer) {
    for strategy in ["range", "roundrobin", "sticky"] {
        let topic = format!("shared-{strategy}");
        server.create(&topic, 4).await;
        let pairs = [("consumerGroupRebalanceStrategy", strategy)];
        let one = open(server, &topic, &pairs).await;
        let mut at_one = subscribe(&one, &topic).await;
        let other = open(server, &topic, &pairs).await;
        let mut at_other = subscribe(&other, &topic).await;
        // By the cooperative protocol partitions move in a second round.
        tokio::time::sleep(Duration::from_secs(if strategy == "sticky" { 3 } else { 1 })).await;
        for partition in 0..4 {
            let number = partition.to_string();
            let said = [("partitionNumber", number.as_str())];
            one.publish(&to(&topic, &number, &said)).await.unwrap();
        }
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        while seen[0].len() + seen[1].len() < 4 {
            let (who, delivery) = tokio::select! {
                delivery = next(&mut at_one) => (0, delivery),
                delivery = next(&mut at_other) => (1, delivery),
            };
            assert!(seen[who].insert(delivery.message.data.clone()), "doubled");
            delivery.settle(Outcome::Done);
        }
        assert_eq!((seen[0].len(), seen[1].len()), (2, 2), "{strategy}: {seen:?}");
        one.publish(&to(&topic, "x", &[("partitionNumber", "0")]))
            .await
            .unwrap();
        one.publish(&to(&topic, "y", &[("partitionNumber", "3")]))
            .await
            .unwrap();
        // One of the two leaves with a message in its hands.
        let held = next(&mut at_other).await;
        other.close().await.unwrap();
        drop(held);
        let mut left: BTreeSet<Bytes> = [Bytes::from("x"), Bytes::from("y")].into();
        while !left.is_empty() {
            let delivery = next(&mut at_one).await;
            left.remove(&delivery.message.data);
            delivery.settle(Outcome::Done);
        }
        one.close().await.unwrap();
    }
}

/// Whoever listens to a topic that is made by its first message.
async fn a_topic_that_comes_later(server: &KafkaServer) {
    let bus = open(server, "later", &[]).await;
    let mut subscription = subscribe(&bus, "later").await;
    bus.publish(&to("later", "x", &[])).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message.data, "x");
    delivery.settle(Outcome::Done);
    bus.close().await.unwrap();
}

async fn many_at_once(server: &KafkaServer) {
    server.create("bulk", 1).await;
    let bus = open(server, "bulk", &[]).await;
    assert!(bus.features().has(Feature::BulkPublish));
    let entry = |id: &str, size: usize| BulkEntry {
        entry_id: id.into(),
        event: vec![b'x'; size].into(),
        metadata: [("own".to_owned(), id.to_owned())].into(),
        ..BulkEntry::default()
    };
    let request = BulkPublishRequest {
        topic: "bulk".into(),
        entries: vec![entry("1", 1), entry("2", 3 << 20), entry("3", 3)],
        metadata: [("all".to_owned(), "yes".to_owned())].into(),
    };
    let failures = bus.bulk_publish(&request).await.unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].entry_id, "2");
    assert!(matches!(&failures[0].error, PubsubError::Invalid(words) if words.contains("maxMessageBytes")));
    let mut subscription = subscribe(&bus, "bulk").await;
    for id in ["1", "3"] {
        let delivery = next(&mut subscription).await;
        let metadata = &delivery.message.metadata;
        assert_eq!((metadata["own"].as_str(), metadata["all"].as_str()), (id, "yes"));
        delivery.settle(Outcome::Done);
    }
    bus.close().await.unwrap();
}

async fn what_is_wrong_is_said(server: &KafkaServer) {
    let bus = open(server, "wrong", &[]).await;
    for (request, part) in [
        (to("bulk", vec![0; 3 << 20], &[]), "maxMessageBytes"),
        (to("bulk", "x", &[("partitionNumber", "first")]), "partitionNumber"),
        (to("bulk", "x", &[("valueSchemaType", "Avro")]), "valueSchemaType"),
    ] {
        let error = bus.publish(&request).await.unwrap_err();
        assert!(
            matches!(&error, PubsubError::Invalid(words) if words.contains(part)),
            "{error}"
        );
    }
    // A name that Kafka does not take, and a partition that is not there.
    assert!(bus.publish(&to("a/b", "x", &[])).await.is_err());
    assert!(
        bus.publish(&to("bulk", "x", &[("partitionNumber", "9")]))
            .await
            .is_err()
    );
    let request = SubscribeRequest {
        topic: "bulk".into(),
        metadata: [("valueSchemaType".to_owned(), "Avro".to_owned())].into(),
    };
    assert!(matches!(bus.subscribe(request).await, Err(PubsubError::Invalid(_))));
    // A name that can be no topic's does not keep the others from coming.
    let request = SubscribeRequest {
        topic: "a/b".into(),
        ..SubscribeRequest::default()
    };
    assert!(matches!(bus.subscribe(request).await, Err(PubsubError::Invalid(_))));
    let mut subscription = subscribe(&bus, "bulk").await;
    next(&mut subscription).await.settle(Outcome::Done);
    bus.close().await.unwrap();
}

/// One member for all of them; they come and go while it goes on.
async fn more_topics_than_one(server: &KafkaServer) {
    for topic in ["many-0", "many-1", "many-2"] {
        server.create(topic, 2).await;
    }
    let bus = open(server, "many", &[]).await;
    let mut first = subscribe(&bus, "many-0").await;
    let mut second = subscribe(&bus, "many-1").await;
    let held = {
        bus.publish(&to("many-0", "held", &[])).await.unwrap();
        next(&mut first).await
    };
    // The third waits until the first has let go of what it has, as everybody in the group does.
    let joining = tokio::spawn({
        let bus = bus.clone();
        async move { subscribe(&bus, "many-2").await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.settle(Outcome::Done);
    let mut third = joining.await.unwrap();
    for (topic, subscription) in [("many-1", &mut second), ("many-2", &mut third), ("many-0", &mut first)] {
        bus.publish(&to(topic, topic, &[])).await.unwrap();
        let delivery = next(subscription).await;
        assert_eq!(delivery.message.data, topic, "what was settled does not come again");
        delivery.settle(Outcome::Done);
    }
    drop(second);
    bus.publish(&to("many-1", "kept", &[])).await.unwrap();
    bus.publish(&to("many-2", "x", &[])).await.unwrap();
    next(&mut third).await.settle(Outcome::Done);
    let mut again = subscribe(&bus, "many-1").await;
    let delivery = next(&mut again).await;
    assert_eq!(delivery.message.data, "kept");
    delivery.settle(Outcome::Done);
    bus.close().await.unwrap();
}

/// However much they have behind what is held, and whoever holds it.
async fn partitions_that_are_held_up_leave_room_for_others(server: &KafkaServer) {
    const EACH: usize = 600;
    server.create("held", 3).await;
    let bus = open(server, "held", &[("channelBufferSize", "10")]).await;
    for partition in ["0", "1"] {
        let entries = (0..EACH).map(|number| BulkEntry {
            entry_id: number.to_string(),
            event: partition.into(),
            ..BulkEntry::default()
        });
        let request = BulkPublishRequest {
            topic: "held".into(),
            entries: entries.collect(),
            metadata: [("partitionNumber".to_owned(), partition.to_owned())].into(),
        };
        assert!(bus.bulk_publish(&request).await.unwrap().is_empty());
    }
    let mut subscription = subscribe(&bus, "held").await;
    let held = [next(&mut subscription).await, next(&mut subscription).await];
    assert_ne!(held[0].message.data, held[1].message.data);
    bus.publish(&to("held", "free", &[("partitionNumber", "2")]))
        .await
        .unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message.data, "free");
    delivery.settle(Outcome::Done);
    for delivery in held {
        delivery.settle(Outcome::Done);
    }
    // What was let go of comes all the same, once and in order.
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 2 * (EACH - 1) {
        let delivery = next(&mut subscription).await;
        let metadata = &delivery.message.metadata;
        let offset = metadata["__offset"].parse().unwrap();
        seen.entry(metadata["__partition"].clone()).or_default().push(offset);
        delivery.settle(Outcome::Done);
    }
    for (partition, offsets) in seen {
        assert_eq!(offsets, (1..EACH).collect::<Vec<_>>(), "{partition}");
    }
    bus.close().await.unwrap();
}

async fn what_unpacks_to_too_much_stops_its_partition_alone(server: &KafkaServer) {
    server.create("bomb", 2).await;
    let kafka = server.library().await;
    let producer = kafka.producer().compression(Compression::Gzip).build().await.unwrap();
    let bomb = Record::new("bomb", vec![0_u8; 17 << 20]).partition(0);
    let _ = producer.send(bomb).await.unwrap();
    let _ = producer.close().await;
    let bus = open(server, "bomb", &[]).await;
    let mut subscription = subscribe(&bus, "bomb").await;
    for data in ["1", "2"] {
        bus.publish(&to("bomb", data, &[("partitionNumber", "1")]))
            .await
            .unwrap();
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.message.data, data);
        delivery.settle(Outcome::Done);
        // Longer than failures are tried at once.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    // Nor does it keep others from coming.
    let mut other = subscribe(&bus, "beside").await;
    bus.publish(&to("beside", "3", &[])).await.unwrap();
    let delivery = next(&mut other).await;
    assert_eq!(delivery.message.data, "3");
    delivery.settle(Outcome::Done);
    bus.close().await.unwrap();
    // Who publishes such messages receives them.
    let bus = open(server, "bomb-taken", &[("maxMessageBytes", "20971520")]).await;
    let mut subscription = subscribe(&bus, "bomb").await;
    let mut sizes = BTreeSet::new();
    while sizes.len() < 2 {
        let delivery = next(&mut subscription).await;
        sizes.insert(delivery.message.data.len());
        delivery.settle(Outcome::Done);
    }
    assert_eq!(sizes, [1, 17 << 20].into());
    bus.close().await.unwrap();
}

async fn compressed(server: &KafkaServer) {
    for compression in ["gzip", "snappy", "lz4"] {
        server.create(compression, 1).await;
        let bus = open(server, compression, &[("compression", compression)]).await;
        let data = "palladium ".repeat(1000);
        bus.publish(&to(compression, &data, &[])).await.unwrap();
        let mut subscription = subscribe(&bus, compression).await;
        let delivery = next(&mut subscription).await;
        assert!(delivery.message.data == data, "{compression}");
        delivery.settle(Outcome::Done);
        bus.close().await.unwrap();
    }
}

async fn by_password(server: &KafkaServer) {
    server.create("password", 1).await;
    for (number, mechanism) in ["PLAINTEXT", "SHA-256", "SHA-512"].into_iter().enumerate() {
        let metadata = [server.by_password(mechanism), quick(&format!("password-{mechanism}"))].concat();
        let bus = try_open(metadata, &[]).await.unwrap();
        bus.publish(&to("password", number.to_string(), &[])).await.unwrap();
        let mut subscription = subscribe(&bus, "password").await;
        assert_eq!(next(&mut subscription).await.message.data, "0");
        drop(subscription);
        bus.close().await.unwrap();
        let error = try_open(server.by_password(mechanism), &[("saslPassword", "hunter2")]).await;
        let error = error.err().unwrap().to_string();
        assert!(!error.contains("hunter2") && error.contains("uthentication"), "{error}");
    }
}

async fn by_tls(server: &KafkaServer) {
    let metadata = server.by_certificate();
    let bus = try_open([metadata.clone(), quick("tls")].concat(), &[]).await.unwrap();
    let mut subscription = subscribe(&bus, "tls").await;
    bus.publish(&to("tls", "secret", &[])).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message.data, "secret");
    delivery.settle(Outcome::Done);
    bus.close().await.unwrap();
    let unknown: Vec<_> = metadata.into_iter().filter(|(name, _)| name != "caCert").collect();
    assert!(
        try_open(unknown, &[]).await.is_err(),
        "an authority that nobody vouches for"
    );
}

/// Not even with a commit under way.
async fn a_silent_server_does_not_keep_a_component_from_closing(server: &KafkaServer) {
    server.create("silent", 1).await;
    let bus = open(server, "silent", &[]).await;
    let mut subscription = subscribe(&bus, "silent").await;
    bus.publish(&to("silent", "x", &[])).await.unwrap();
    let delivery = next(&mut subscription).await;
    server.freeze();
    delivery.settle(Outcome::Done);
    // So that the commit has begun.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let closing = timeout(Duration::from_secs(6), bus.close()).await;
    server.thaw();
    closing.expect("in time").unwrap();
}
