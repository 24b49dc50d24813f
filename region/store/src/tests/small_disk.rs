//! A disk that is full for a while.

use std::process::Command;

use palladium_component::state::{Operation, TransactRequest};

use super::bus_killed::on_a_small_disk;
use super::isolation::{set, value};
use super::world::World;
use super::{bus, component};

/// A clear error, everything acknowledged still there, no half transaction, and all is well when there is room again.
#[test]
fn sec_147_a_full_disk_is_a_clear_error_and_corrupts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Its own name space of mounts: the small disk vanishes with the process. Root may do that at once, others with a
    // name space of users around it.
    let alone = |options: &'static [&'static str]| {
        let mut command = Command::new("unshare");
        command.args(options);
        command
    };
    let possible = |options| {
        alone(options)
            .arg("true")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let options = [&["--mount"][..], &["--map-root-user", "--mount"]]
        .into_iter()
        .find(|options| possible(options));
    let options =
        options.expect("name spaces of mounts are needed for this test (util-linux, as root or with user name spaces)");
    let script = "mount -t tmpfs -o size=8m none \"$1\" && TMPDIR=\"$1\" exec \"$2\" --exact tests::small_disk::inside --ignored --nocapture";
    let output = alone(options)
        .args(["sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs on the small disk; not a test by itself.
#[tokio::test]
#[ignore = "started by sec_147_a_full_disk_is_a_clear_error_and_corrupts_nothing"]
async fn inside() {
    let components = [
        component("prj-a", "uid-a", "kvstore", &["orders"]),
        bus("prj-a", "uid-b", "pubsub", &["orders"]),
    ];
    let mut world = World::with(&components).await;
    let store = world.open("/ns/prj-a/orders", "kvstore").await;
    let ballast = world.folder.path().join("ballast");
    let mut acknowledged = Vec::new();
    let value_of = |round: usize, number: usize| {
        let text: &'static str = Box::leak(format!("{round}-{number}-").repeat(2000).into_boxed_str());
        (format!("orders||{round}-{number}"), text)
    };
    for round in 0..3 {
        // All of the room, and then some of it back.
        std::fs::write(&ballast, vec![0; 8 << 20]).expect_err("the disk is small");
        let file = std::fs::File::options().write(true).open(&ballast).unwrap();
        file.set_len(file.metadata().unwrap().len() - (600 << 10)).unwrap();
        let error = loop {
            assert!(acknowledged.len() < 2000, "the disk does not fill up");
            let (key, value) = value_of(round, acknowledged.len());
            match store.set(&set(&key, value)).await {
                Ok(()) => acknowledged.push((key, value)),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("disk is full"), "round {round}: {error}");
        // Not even half of a transaction, and nothing of what is there changes.
        let (kept, _) = acknowledged[0].clone();
        let pair = ["orders||a", "orders||b"]
            .map(|key| Operation::Set(set(key, Box::leak("x".repeat(500_000).into_boxed_str()))));
        let mut operations = vec![Operation::Set(set(&kept, "changed"))];
        operations.extend(pair);
        let transaction = TransactRequest {
            operations,
            ..TransactRequest::default()
        };
        let error = store.transact(&transaction).await.unwrap_err().to_string();
        assert!(error.contains("disk is full"), "round {round}: {error}");
        assert_eq!(value(&*store, "orders||a").await, None);
        for (key, expected) in &acknowledged {
            assert!(
                value(&*store, key).await.as_deref() == Some(expected),
                "round {round}: {key}"
            );
        }
        // Room again: it goes on by itself.
        file.set_len(0).unwrap();
        let (key, value) = ("orders||room again".to_string(), "v");
        store.set(&set(&key, value)).await.unwrap();
        acknowledged.push((key, value));
    }
    let fill = || {
        std::fs::write(&ballast, vec![0; 8 << 20]).expect_err("the disk is small");
        let file = std::fs::File::options().write(true).open(&ballast).unwrap();
        file.set_len(file.metadata().unwrap().len() - (600 << 10)).unwrap();
    };
    let room = || {
        std::fs::File::options()
            .write(true)
            .open(&ballast)
            .unwrap()
            .set_len(0)
            .unwrap()
    };
    on_a_small_disk(&world, fill, room).await;
    world.stop().await;
    world.start().await;
    let store = world.open("/ns/prj-a/orders", "kvstore").await;
    for (key, expected) in &acknowledged {
        assert!(
            value(&*store, key).await.as_deref() == Some(expected),
            "after a restart: {key}"
        );
    }
}
