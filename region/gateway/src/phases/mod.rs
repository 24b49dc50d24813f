//! The way of a request, one file for each phase, in this order:
//!
//! ```text
//!  application                                                                        Dapr Server
//!      │                                                                                   ▲
//!      ▼                                                                                   │
//!   accept ───────▶ authenticate ───▶ route ────────▶ forward ────── mTLS, one SPIFFE ID ──┘
//!   one host,       one token,        host and token  headers cleaned, connection leased;
//!   sound target    checksum,         of one project, held ≤ 2 s while a Dapr Server
//!      │            digest known      no shutdown,    restarts, sent once
//!      │               │              body not too       │
//!      │               │              large │            │
//!      ▼               ▼                 ▼               ▼
//!     400, 421        401         403, 404, 413     401, 408, 413, 503, 504 ──▶ finish ──▶ application
//! ```
//!
//! A phase returns a failure or lets the request pass; [`finish`] alone makes answers. Must never reorder: what a phase
//! relies on, an earlier one has checked.

mod accept;
mod authenticate;
mod finish;
mod forward;
mod route;

use std::sync::Arc;

use http::{Request, Response, Version};
use palladium_http::{Connection, Upload};

use crate::access_log::Record;
use crate::body::Body;
use crate::failure::Failure;
use crate::table::{Digest, Grant};
use crate::worker::Worker;

/// What the phases have found out about a request.
pub(crate) struct Exchange {
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    http2: bool,
    grpc: bool,
    /// From `accept`: lower case, without port.
    host: Box<str>,
    /// From `authenticate`.
    digest: Digest,
    record: Record,
}

/// Serves one request. Always answers.
pub(crate) async fn handle(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    request: Request<Upload>,
) -> Response<Body> {
    let record = Record::new(worker.clone(), request.method().clone(), request.uri().clone());
    let http2 = request.version() == Version::HTTP_2;
    let mut exchange = Exchange {
        worker,
        connection,
        http2,
        grpc: false,
        host: Box::default(),
        digest: [0; 32],
        record,
    };
    match pass(&mut exchange, request).await {
        Ok(answer) => finish::relay(exchange, answer),
        Err(failure) => finish::fail(exchange, failure),
    }
}

async fn pass(exchange: &mut Exchange, request: Request<Upload>) -> Result<forward::Answer, Failure> {
    accept::accept(exchange, &request)?;
    let grant: Arc<Grant> = authenticate::authenticate(exchange, &request)?;
    route::route(exchange, &request, &grant)?;
    forward::forward(exchange, request, grant).await
}
