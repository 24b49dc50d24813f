//! Sessions: the log as a region receives it, two sessions of one region, restored databases, read-backs.

use bytes::Bytes;
use palladium_proto::region::control_message::Message;
use palladium_proto::region::{
    Ack, Hello, LogEntry, LogHeader, ObjectStatus, Op, ReadBackResponse, SealedConfirmation, Snapshot,
    SnapshotManifest, Verdict, region_message,
};
use palladium_sealing::{ExposeSecret as _, SealedField};
use palladium_stream::signed;
use prost::Message as _;
use serde_json::json;
use tonic::Code;

use super::zone::{Joined, PATIENCE, REGION, Session, Zone, hello};
use crate::{DesiredObject, ReadBack, ReadBackError, RegionConnection};

fn object(name: &str, generation: u64) -> DesiredObject {
    DesiredObject {
        api_version: "cra.diagrid.io/v1beta1".into(),
        kind: "AppIdentity".into(),
        project_id: "prj-pppppppppppp".into(),
        project_name: "shop".into(),
        name: name.into(),
        uid: format!("u-{name}"),
        generation,
        content: json!({ "spec": {} }).as_object().unwrap().clone(),
        ..DesiredObject::default()
    }
}

async fn snapshot(session: &mut Session) -> (Snapshot, SnapshotManifest) {
    match session.next().await.unwrap() {
        Some(Message::Snapshot(snapshot)) => {
            let manifest = SnapshotManifest::decode(snapshot.manifest.clone()).unwrap();
            assert_eq!(manifest.objects_sha256, signed::objects(&snapshot.objects).as_slice());
            (snapshot, manifest)
        }
        other => panic!("{other:?}"),
    }
}

async fn entry(session: &mut Session) -> (LogEntry, LogHeader) {
    match session.next().await.unwrap() {
        Some(Message::Entry(entry)) => {
            let header = LogHeader::decode(entry.header.clone()).unwrap();
            (entry, header)
        }
        other => panic!("{other:?}"),
    }
}

fn at(session: &str, header: &LogHeader, entry: &LogEntry) -> Hello {
    let head = Bytes::copy_from_slice(&signed::head(&entry.header));
    Hello {
        epoch: header.epoch,
        seq: header.seq,
        head,
        ..hello(session)
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

async fn begin() -> (Zone, Joined) {
    let zone = Zone::start().await;
    let joined = zone.joined(REGION).await;
    (zone, joined)
}

#[tokio::test]
async fn a_region_gets_a_snapshot_then_what_changes_and_later_only_what_it_missed() {
    let (zone, joined) = begin().await;
    zone.store.change(object("one", 1));
    until("logged", || {
        zone.store
            .state()
            .positions
            .get(REGION)
            .is_some_and(|position| position.seq == 1)
    })
    .await;
    let mut session = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    let (first, manifest) = snapshot(&mut session).await;
    assert_eq!((first.objects.len(), manifest.epoch, manifest.seq), (1, 1, 1));
    zone.store.change(object("two", 1));
    let (seen, header) = entry(&mut session).await;
    assert_eq!(
        (header.seq, header.name.as_str(), &header.prev),
        (2, "two", &manifest.head)
    );
    drop(session);
    until("gone", || zone.regions.session(REGION).is_none()).await;
    zone.store.change(object("two", 2));
    zone.store.change(DesiredObject {
        deleting: true,
        ..object("one", 1)
    });
    let mut session = zone.connect(&joined.svid, at("s1", &header, &seen)).await.unwrap();
    let (_, third) = entry(&mut session).await;
    assert_eq!((third.seq, third.generation), (3, 2));
    let (fourth, header) = entry(&mut session).await;
    assert_eq!(
        (header.op(), header.uid.as_str(), fourth.payload.is_empty()),
        (Op::Delete, "u-one", true)
    );

    session
        .send(region_message::Message::Ack(Ack { epoch: 1, seq: 4 }))
        .await;
    until("trimmed", || zone.store.state().rows[REGION].is_empty()).await;
    let status = ObjectStatus {
        uid: "u-two".into(),
        verdict: Verdict::Ready.into(),
        ..ObjectStatus::default()
    };
    session
        .send(region_message::Message::ObjectStatus(status.clone()))
        .await;
    until("reported", || zone.store.state().reports == [status.clone()]).await;
}

#[tokio::test]
async fn sec_141_what_the_stream_carries_holds_no_secret_in_clear() {
    let (zone, joined) = begin().await;
    let place = SealedField {
        region: REGION,
        project: "prj-pppppppppppp",
        uid: "u-one",
        field: "spec.x",
        version: 1,
    };
    let sealed = joined.keys.hpke.public().seal(&place, b"canary-4711").unwrap();
    zone.store.change(DesiredObject {
        sealed: vec![sealed],
        ..object("one", 1)
    });
    until("logged", || zone.store.state().positions.contains_key(REGION)).await;
    let mut session = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    let (all, _) = snapshot(&mut session).await;
    let carried = all.encode_to_vec();
    assert!(!carried.windows(11).any(|window| window == b"canary-4711"));
    assert!(carried.windows(8).any(|window| window == b"\"sealed\""));
    let confirmation = SealedConfirmation {
        uid: "u-one".into(),
        field: "spec.x".into(),
        version: 1,
    };
    session
        .send(region_message::Message::SealedConfirmation(confirmation.clone()))
        .await;
    until("confirmed", || {
        zone.store.state().confirmations == [confirmation.clone()]
    })
    .await;
}

#[tokio::test]
async fn a_second_agent_of_one_region_is_held_and_alarmed() {
    let (zone, joined) = begin().await;
    let mut first = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    snapshot(&mut first).await;
    let other = Hello {
        gateway_url: "https://elsewhere:8443".into(),
        agent_version: "6.6.6".into(),
        ..hello("s2")
    };
    let mut second = zone.connect(&joined.svid, other).await.unwrap();
    let alarmed = || {
        let state = zone.store.state();
        let mut said = state.connections[REGION].iter();
        said.find(|connection| !connection.alarm.is_empty()).cloned()
    };
    until("alarmed", || alarmed().is_some()).await;
    let only_the_alarm = RegionConnection {
        connected: true,
        alarm: alarmed().unwrap().alarm,
        ..RegionConnection::default()
    };
    assert_eq!(
        alarmed().unwrap(),
        only_the_alarm,
        "nothing the held agent says of itself"
    );
    assert_eq!(zone.regions.session(REGION).unwrap().session_id, "s1");
    // What a held agent says meanwhile is neither lost nor a reason to send it away.
    let status = ObjectStatus {
        uid: "u-two".into(),
        verdict: Verdict::Ready.into(),
        ..ObjectStatus::default()
    };
    second.send(region_message::Message::ObjectStatus(status.clone())).await;
    zone.store.change(object("one", 1));
    entry(&mut first).await;
    drop(first);
    let (all, _) = snapshot(&mut second).await;
    assert_eq!(all.objects.len(), 1);
    assert_eq!(zone.regions.session(REGION).unwrap().session_id, "s2");
    until("reported", || zone.store.state().reports == [status.clone()]).await;

    // The same process again replaces its own dead connection at once.
    let mut again = zone.connect(&joined.svid, hello("s2")).await.unwrap();
    snapshot(&mut again).await;
    assert_eq!(second.next().await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn a_database_older_than_the_region_begins_a_new_epoch() {
    let (zone, joined) = begin().await;
    let ahead = Hello {
        epoch: 1,
        seq: 77,
        head: Bytes::from_static(&[7; 32]),
        ..hello("s1")
    };
    let mut session = zone.connect(&joined.svid, ahead).await.unwrap();
    let (_, manifest) = snapshot(&mut session).await;
    assert_eq!((manifest.epoch, manifest.seq), (2, 0));
    zone.store.change(object("one", 1));
    let (_, header) = entry(&mut session).await;
    assert_eq!((header.epoch, header.seq), (2, 1));
}

#[tokio::test]
async fn deletions_that_a_snapshot_swallowed_are_told_again() {
    let (zone, joined) = begin().await;
    zone.store.change(DesiredObject {
        deleting: true,
        ..object("one", 1)
    });
    until("logged", || zone.store.state().positions.contains_key(REGION)).await;
    let mut session = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    let (all, _) = snapshot(&mut session).await;
    assert!(all.objects.is_empty());
    let (_, header) = entry(&mut session).await;
    assert_eq!((header.op(), header.uid.as_str()), (Op::Delete, "u-one"));
}

#[tokio::test]
async fn a_deletion_whose_confirmation_was_lost_is_told_again_in_every_session() {
    let (zone, joined) = begin().await;
    let mut session = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    snapshot(&mut session).await;
    zone.store.change(DesiredObject {
        deleting: true,
        ..object("one", 1)
    });
    let (mut seen, mut header) = entry(&mut session).await;
    for _ in 0..2 {
        // The region has taken it in; that it is done never arrives.
        drop(session);
        until("gone", || zone.regions.session(REGION).is_none()).await;
        session = zone.connect(&joined.svid, at("s1", &header, &seen)).await.unwrap();
        let before = header.seq;
        (seen, header) = entry(&mut session).await;
        assert_eq!(
            (header.op(), header.uid.as_str(), header.seq),
            (Op::Delete, "u-one", before + 1)
        );
    }
}

#[tokio::test]
async fn a_status_that_is_too_large_loses_its_details_and_not_the_session() {
    let (zone, joined) = begin().await;
    let mut session = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    snapshot(&mut session).await;
    let status = ObjectStatus {
        uid: "u-two".into(),
        verdict: Verdict::Ready.into(),
        ..ObjectStatus::default()
    };
    let large = ObjectStatus {
        status_json: vec![b' '; 65 * 1024].into(),
        ..status.clone()
    };
    session.send(region_message::Message::ObjectStatus(large)).await;
    until("reported", || zone.store.state().reports == [status.clone()]).await;
    zone.store.change(object("one", 1));
    entry(&mut session).await;
}

#[tokio::test]
async fn who_connects_is_the_certificates_word() {
    let (zone, joined) = begin().await;
    let other = Hello {
        region_id: "reg-bbbbbbbbbbbb".into(),
        ..hello("s1")
    };
    let mut session = zone.connect(&joined.svid, other).await.unwrap();
    assert_eq!(session.next().await.unwrap_err().code(), Code::PermissionDenied);
    for wrong in ["", &"s".repeat(129)] {
        let mut session = zone.connect(&joined.svid, hello(wrong)).await.unwrap();
        let refused = session.next().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("session_id"), "{}", refused.message());
    }
    zone.store.state().regions.remove(REGION);
    let refused = zone.connect(&joined.svid, hello("s1")).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn read_backs_go_to_the_session_and_have_a_deadline() {
    let (zone, joined) = begin().await;
    let ask = |uid: &str| {
        let (regions, what) = (zone.regions.clone(), ReadBack::AppToken { uid: uid.into() });
        async move { regions.read_back(REGION, what, "ann").await }
    };
    assert_eq!(ask("u-one").await.unwrap_err(), ReadBackError::NotConnected);
    let mut session = zone.connect(&joined.svid, hello("s1")).await.unwrap();
    snapshot(&mut session).await;
    let answer = async |session: &mut Session, value: &'static [u8], error: &str| {
        let Some(Message::ReadBack(request)) = session.next().await.unwrap() else {
            panic!("no read-back")
        };
        assert_eq!(request.actor, "ann");
        let response = ReadBackResponse {
            request_id: request.request_id,
            value: Bytes::from_static(value),
            error: error.into(),
        };
        session.send(region_message::Message::ReadBack(response)).await;
    };
    let (got, ()) = tokio::join!(ask("u-one"), answer(&mut session, b"pldt_x", ""));
    assert_eq!(got.unwrap().expose_secret(), "pldt_x");
    let (got, ()) = tokio::join!(ask("u-one"), answer(&mut session, b"", "denied-by-guard-rails"));
    assert_eq!(got.unwrap_err(), ReadBackError::Denied);
    assert_eq!(ask("u-slow").await.unwrap_err(), ReadBackError::Timeout);
    // One more than may be under way: the region is not asked, and not blamed.
    let asked: Vec<_> = (0..64).map(|_| tokio::spawn(ask("u-slow"))).collect();
    for _ in &asked {
        let sent = session.next().await.unwrap();
        assert!(matches!(sent, Some(Message::ReadBack(_))));
    }
    assert_eq!(ask("u-slow").await.unwrap_err(), ReadBackError::Busy);
    asked.iter().for_each(tokio::task::JoinHandle::abort);
}
