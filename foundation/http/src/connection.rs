//! Who is at the other end of a connection, and how that reaches a request handler.
//!
//! Everything here comes from the transport, nothing from a request. Must never be built from headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Request;
use hyper::service::Service;
use palladium_spiffe::SpiffeId;

use crate::Upload;

/// What the transport knows about a connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// The peer's address; `None` on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The peer's authenticated SPIFFE ID; `None` without mutual TLS.
    pub peer: Option<SpiffeId>,
    /// The server name of the TLS handshake, lower case.
    pub sni: Option<Box<str>>,
    /// Whether TLS protects the connection.
    pub tls: bool,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
    pub(crate) requests: AtomicU64,
}

impl Connection {
    /// How many requests have begun on this connection.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// Puts the `Arc<Connection>` into each request's extensions, for services behind a framework such as axum.
#[derive(Clone, Debug)]
pub struct WithConnection<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<S> WithConnection<S> {
    /// Wraps `inner`, which serves the requests of `connection`.
    pub fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self { inner, connection }
    }
}

impl<S: Service<Request<Upload>>> Service<Request<Upload>> for WithConnection<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Upload>) -> Self::Future {
        request.extensions_mut().insert(self.connection.clone());
        self.inner.call(request)
    }
}
