//! What a listener tolerates. One idea: every resource that a stranger can hold has a bound and every wait a deadline.
//!
//! Must never have an "unlimited" default.

use std::time::Duration;

/// Bounds of one listener; the defaults suit a listener that strangers can reach.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How many source addresses it takes to fill [`Limits::connections`]: one may have no more than this part of them.
    /// 1 = one address may have them all. An IPv6 network of 64 bits is one address.
    pub addresses: usize,
    /// Bytes of one request head (HTTP/1.1) or header list (HTTP/2). More is answered 431.
    pub header_bytes: usize,
    /// Header lines of one HTTP/1.1 request. More is answered 431.
    pub headers: usize,
    /// From accept to the end of the TLS handshake, or to the first bytes of a plaintext connection.
    pub begin: Duration,
    /// From the first to the last byte of an HTTP/1.1 request head.
    pub head: Duration,
    /// A peer that takes nothing of a waiting answer for this long, or has sent no request this long after connecting,
    /// is cut off; over HTTP/2 the one stream is reset whose answer is not taken. Also how often idleness is looked at.
    pub stall: Duration,
    /// A connection without a byte in either direction for this long is asked to end; requests on it may finish, unless
    /// it is an HTTP/1.1 request of which the rest never came.
    pub idle: Duration,
    /// The same for a connection whose last answer was that its caller is not known, or that has had no good one yet.
    pub unproven_idle: Duration,
    /// An HTTP request body that is waited for must bring 1 KiB in each such span ([`crate::UploadError::Stalled`]). Not
    /// gRPC, whose streams may be silent.
    pub body: Duration,
    /// At shutdown: how long requests have to finish before they are cut off.
    pub drain: Duration,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
    /// HTTP/2 flow-control window of one stream, in bytes.
    pub stream_window: u32,
    /// HTTP/2 flow-control window of one connection, in bytes.
    pub connection_window: u32,
    /// HTTP/2 streams that the peer reset before they were accepted: more closes the connection ("rapid reset").
    pub pending_resets: usize,
    /// HTTP/2 streams that we had to reset because of the peer's mistakes: more closes the connection.
    pub error_resets: usize,
    /// How often an HTTP/2 peer is asked whether it still lives.
    pub ping: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            addresses: 4,
            header_bytes: 32 * 1024,
            headers: 100,
            begin: Duration::from_secs(10),
            head: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            idle: Duration::from_secs(180),
            unproven_idle: Duration::from_secs(30),
            body: Duration::from_secs(60),
            drain: Duration::from_secs(8),
            streams: 256,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            pending_resets: 20,
            error_resets: 64,
            ping: Duration::from_secs(30),
        }
    }
}
