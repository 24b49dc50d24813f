//! Who is at the other end of a connection, and how that reaches a request handler.
//!
//! What is public here comes from the transport, nothing from a request. Must never be built from headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
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
    /// Requests whose answer has not begun.
    pub(crate) open: AtomicU64,
    pub(crate) proven: AtomicBool,
}

impl Connection {
    /// How many requests have begun on this connection.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_request(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes what an answer says of who asks: 401, and gRPC's word for it, that nobody knows them. Any other mistake says
    /// nothing either way: a stranger can make it too.
    pub(crate) fn answered<B>(&self, answer: &Response<B>) {
        let unknown = answer.headers().get("grpc-status").is_some_and(|status| status == "16");
        if unknown || answer.status() == StatusCode::UNAUTHORIZED {
            self.proven.store(false, Ordering::Relaxed);
        } else if !answer.status().is_client_error() {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// Whether whoever is at the other end was last let in, or is still waiting to hear.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed) || self.open.load(Ordering::Relaxed) > 0
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
