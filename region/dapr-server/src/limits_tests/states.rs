//! The state of a call under way, which every open call of every connection has. Must never poll one: only its size counts.

use palladium_http::{Connection, Upload};

use super::*;
use crate::grpc::{self, Services};
use crate::http::{self as api, Surface};
use crate::invoke::handle_internal;

/// Bytes: powers of two that leave room for a build without optimization, whose states are larger, the most over HTTP. They
/// were 14,336, 5,584 and 10,240 before what is large and rare was put into boxes, then 2,288, 1,232 and 704 with
/// optimization (docs/performance.md).
const MOST: [(&str, usize); 3] = [("HTTP", 8 << 10), ("gRPC", 4 << 10), ("a peer's call", 4 << 10)];

#[tokio::test]
async fn the_state_of_a_call_is_small() {
    let server = testing::open_server();
    let services = Services::new(&server);
    let connection = Connection::default();
    let request = || Request::new(Upload::whole(Bytes::new()));
    let sizes = [
        size_of_val(&api::handle(&server, Surface::Api, request())),
        size_of_val(&grpc::handle(&server, &services, request())),
        size_of_val(&handle_internal(&server, &connection, request())),
    ];
    for ((what, most), size) in MOST.into_iter().zip(sizes) {
        assert!(
            size <= most,
            "{what}: {size} bytes; put into a box what stands apart from most calls"
        );
    }
}
