//! A server that comes back under another address. Needs root: each Dapr Server sees names of its own.
//!
//! One idea: names are resolved anew when connections are made, so a component needs no restart. Must never leave the first
//! address answering.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use palladium_peers::wire::Wire;
use tokio::time::timeout;

use super::faults::{self, ANSWER};
use super::peers::{self, NAME, Peer};

fn point(hosts: &Path, last: u8) {
    // In place: the file itself is what the program sees.
    fs::write(
        hosts,
        format!("127.0.0.1 localhost\n{} {NAME}\n", IpAddr::from([127, 0, 0, last])),
    )
    .unwrap();
}

async fn moves(peer: Peer, path: &'static str, body: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    point(&hosts, 1);
    let (daprd, _application) = peer.serve(Some(&hosts), peer.wire.port(), Duration::ZERO).await;
    let works = async || {
        let answer = timeout(ANSWER, daprd.api.answer("POST", path, body)).await;
        answer.expect("a call without an answer").expect("it runs").status == 204
    };
    faults::recovered(peer.type_name, &works).await;

    peer.wire.set(Wire::Cut);
    let _second = peer.wire.again_at(2).await;
    point(&hosts, 2);
    faults::recovered(&format!("{} at its new address", peer.type_name), &works).await;
}

/// Each is found where its name leads now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_with_a_new_address_are_found() {
    let (brokers, databases) = tokio::join!(peers::brokers(NAME), peers::databases());
    let brokers = brokers
        .into_iter()
        .map(|broker| moves(broker, "/v1.0/publish/store/t", "{}"));
    let saving = r#"[{"key":"k","value":1}]"#;
    let databases = databases
        .into_iter()
        .map(|database| moves(database, "/v1.0/state/store", saving));
    tokio::join!(join_all(brokers), join_all(databases));
}
