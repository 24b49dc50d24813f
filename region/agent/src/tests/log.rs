//! sec_140: whatever is done to the log, only the honest beginning of it is ever in force.

use proptest::prelude::*;

use super::control::{Control, PROJECT, REGION, Wanted, region};
use crate::desired::{Position, Refusal};
use crate::region::{Region, TakeError};
use bytes::Bytes;
use palladium_proto::region::{LogEntry, LogHeader};
use prost::Message as _;

fn honest(control: &mut Control, count: usize) -> Vec<LogEntry> {
    (0..count)
        .map(|n| control.put(&Wanted::app(&format!("app{n}"))))
        .collect()
}

/// Feeds entries until one is refused; how many were accepted.
fn feed(control: &Control, entries: &[LogEntry]) -> (usize, Option<Refusal>) {
    let key = control.log_key();
    let mut position = Position {
        epoch: 1,
        ..Position::default()
    };
    for (accepted, entry) in entries.iter().enumerate() {
        match key.entry(REGION, &position, entry) {
            Ok((_, after)) => position = after,
            Err(refusal) => return (accepted, Some(refusal)),
        }
    }
    (entries.len(), None)
}

#[derive(Debug, Clone)]
enum Attack {
    Drop(usize),
    Swap(usize, usize),
    Replay(usize, usize),
    FlipHeader(usize, usize, u8),
    FlipPayload(usize, usize, u8),
    FlipSignature(usize, usize, u8),
    Foreign(usize),
    OtherKey(usize),
}

fn attack() -> impl Strategy<Value = Attack> {
    let at = 0usize..8;
    prop_oneof![
        at.clone().prop_map(Attack::Drop),
        (at.clone(), at.clone()).prop_map(|(a, b)| Attack::Swap(a, b)),
        (at.clone(), at.clone()).prop_map(|(a, b)| Attack::Replay(a, b)),
        (at.clone(), any::<usize>(), 1u8..).prop_map(|(a, b, c)| Attack::FlipHeader(a, b, c)),
        (at.clone(), any::<usize>(), 1u8..).prop_map(|(a, b, c)| Attack::FlipPayload(a, b, c)),
        (at.clone(), any::<usize>(), 1u8..).prop_map(|(a, b, c)| Attack::FlipSignature(a, b, c)),
        at.clone().prop_map(Attack::Foreign),
        at.prop_map(Attack::OtherKey),
    ]
}

fn flip(bytes: &Bytes, at: usize, by: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len();
    bytes[at] ^= by;
    bytes.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sec_140_only_the_honest_beginning_is_accepted(attack in attack()) {
        let mut control = Control::new();
        let mut entries = honest(&mut control, 8);
        let first_bad = match attack.clone() {
            Attack::Drop(at) => { entries.remove(at); if at == 7 { 8 } else { at } }
            Attack::Swap(a, b) => { entries.swap(a, b); if a == b { 8 } else { a.min(b) } }
            Attack::Replay(what, at) => {
                let old = entries[what].clone();
                entries.insert(at, old);
                // At its own place it is good, and the entry behind it is the replay.
                if what == at { at + 1 } else { at }
            }
            Attack::FlipHeader(at, byte, by) => { entries[at].header = flip(&entries[at].header, byte, by); at }
            Attack::FlipPayload(at, byte, by) => { entries[at].payload = flip(&entries[at].payload, byte, by); at }
            Attack::FlipSignature(at, byte, by) => { entries[at].signature = flip(&entries[at].signature, byte, by); at }
            Attack::Foreign(at) => {
                let mut header = LogHeader::decode(entries[at].header.clone()).unwrap();
                header.region_id = "reg-bbbbbbbbbbbb".into();
                entries[at] = control.sign(&header, entries[at].payload.clone());
                at
            }
            Attack::OtherKey(at) => {
                let header = LogHeader::decode(entries[at].header.clone()).unwrap();
                entries[at] = Control::new().sign(&header, entries[at].payload.clone());
                at
            }
        };
        let (accepted, refusal) = feed(&control, &entries);
        prop_assert_eq!(accepted, first_bad.min(entries.len()), "{:?} {:?}", attack, refusal);
    }

    /// Nothing that arrives makes the verifier panic.
    #[test]
    fn any_bytes_are_judged(header in proptest::collection::vec(any::<u8>(), 0..200), payload in proptest::collection::vec(any::<u8>(), 0..50)) {
        let control = Control::new();
        let entry = LogEntry { header: header.into(), signature: Bytes::from_static(&[0; 64]), payload: payload.into() };
        prop_assert_eq!(control.log_key().entry(REGION, &Position::default(), &entry).unwrap_err(), Refusal::Signature);
    }
}

#[test]
fn sec_140_each_refusal_has_its_name() {
    let mut control = Control::new();
    let entries = honest(&mut control, 3);
    let cases: [(Vec<LogEntry>, Refusal); 3] = [
        (vec![entries[1].clone()], Refusal::Gap { have: 0, got: 2 }),
        (
            vec![entries[0].clone(), entries[0].clone()],
            Refusal::Replay { epoch: 1, seq: 1 },
        ),
        (
            vec![LogEntry {
                payload: Bytes::from_static(b"{}"),
                ..entries[0].clone()
            }],
            Refusal::Content,
        ),
    ];
    for (entries, expected) in cases {
        assert_eq!(feed(&control, &entries).1, Some(expected));
    }
    let mut other = Control::new();
    other.position = Position {
        epoch: 1,
        seq: 0,
        head: Bytes::from_static(b"elsewhere"),
    };
    let forked = other.put(&Wanted::app("x"));
    assert_eq!(feed(&other, &[forked]).1, Some(Refusal::Fork));
}

#[test]
fn sec_140_snapshots_do_not_roll_back_and_a_new_epoch_needs_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let old = control.snapshot(&[]);
    region.take_entry(&control.put(&Wanted::project())).unwrap();
    region.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    let refused = |result: Result<Position, TakeError>| match result {
        Err(TakeError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(region.take_snapshot(&old)), Refusal::RollBack);
    let foreign = control.snapshot_for("reg-bbbbbbbbbbbb", &[]);
    assert_eq!(refused(region.take_snapshot(&foreign)), Refusal::ForeignRegion);
    let mut thinned = control.snapshot(&[Wanted::project(), Wanted::app("orders")]);
    thinned.objects.pop();
    assert_eq!(refused(region.take_snapshot(&thinned)), Refusal::Content);
    assert!(
        region.desired().app(PROJECT, "orders").is_some(),
        "nothing that was refused is in force"
    );

    control.position = Position {
        epoch: 2,
        seq: 0,
        head: control.position.head.clone(),
    };
    let restored = control.snapshot(&[Wanted::project()]);
    assert_eq!(refused(region.take_snapshot(&restored)), Refusal::EpochNotConfirmed(2));
    confirm_epoch(folder.path(), &region, 2);
    region.take_snapshot(&restored).unwrap();
    assert!(region.desired().app(PROJECT, "orders").is_none());
    let late = control.put(&Wanted::app("late"));
    region.take_entry(&late).unwrap();
}

fn confirm_epoch(folder: &std::path::Path, region: &Region, epoch: u64) {
    let path = folder.join("guard-rails.yaml");
    std::fs::write(&path, format!("confirmedEpoch: {epoch}")).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    region.refresh_rails();
}

#[test]
fn sec_142_a_payload_that_is_not_what_its_header_says_is_refused_for_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let wanted = Wanted::app("orders");
    let other = Wanted {
        project: "prj-qqqqqqqqqqqq".into(),
        ..wanted.clone()
    };
    // Signed by our control plane, so the log goes on; the object itself is another project's.
    region.take_entry(&control.put_bytes(&wanted, other.payload())).unwrap();
    region.take_entry(&control.put(&Wanted::app("good"))).unwrap();
    assert_eq!(region.statuses.latest("u-orders").unwrap().reason, "ForeignObject");
    assert!(region.desired().app(PROJECT, "good").is_some());
    assert!(region.desired().app(PROJECT, "orders").is_none());
}

#[test]
fn a_reader_of_the_desired_state_never_holds_up_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let before = region.desired();
    region.take_entry(&control.put(&Wanted::app("one"))).unwrap();
    assert_eq!(before.entries().count(), 1, "what was read stays as it was");
    assert_eq!(region.desired().entries().count(), 2);
}
