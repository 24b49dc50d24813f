//! Real servers and real neighbours for the time of one test: brokers, databases, Dapr's own `daprd`, an application, a wire
//! with faults.
//!
//! The one idea: a test owns what it talks to, on free ports and in a folder of its own, so it may do anything to it. What
//! cannot be started fails the test; it must never pass by being absent. Knows no driver: whoever tests one brings it.

// This library is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

pub mod application;
pub mod daprd;
pub mod etcd_server;
pub mod kafka_server;
pub mod memcached_server;
pub mod minio_server;
pub mod mosquitto_server;
pub mod mysql_server;
mod owned_server;
pub mod postgres_server;
pub mod rabbitmq_server;
pub mod redis_server;
pub mod web_certificate;
pub mod wire;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Ports of 127.0.0.1 that were free a moment ago, held together until all are known, so that they differ. None is given
/// out twice in a process: who starts many at a time would be given again what nobody listens on yet.
///
/// # Panics
/// When there are none.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    let mut held = Vec::new();
    let ports = [(); N].map(|()| {
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            held.push(listener);
            if given.insert(port) {
                return port;
            }
        }
    });
    drop(held);
    ports
}
