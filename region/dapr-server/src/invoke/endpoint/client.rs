//! The connections to services outside.
//!
//! One idea: HTTP/1.1 or HTTP/2, whichever the service chooses in the handshake, on connections that are kept for a while
//! and watched while they wait; which addresses may be called is known to `components/web`. Must never follow an answer
//! elsewhere.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use palladium_components_web::{Connector, connector};
use palladium_tls::{ALPN_HTTP, PublicCert, WebRoots, web_client_config};

use crate::http::Body;

/// How long a connection is kept without a call, and how many of them to one address.
const IDLE: (Duration, usize) = (Duration::from_secs(60), 32);
/// How often a service that says nothing is asked whether it is there, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one call that may wait to be written.
const SEND_BUFFER: usize = 256 << 10;

/// The client of one endpoint.
pub(super) type Client = legacy::Client<Connector, Body>;

/// Who vouches for the name of a service.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    System,
    Pem(Arc<str>),
    /// It is called without TLS.
    Nobody,
}

/// Makes a client; nothing is dialled before the first call.
pub(super) async fn client(roots: Roots, own: Option<PublicCert>, hosted: bool) -> Result<Client, String> {
    // Certificates of the operating system are files.
    let configure = move || {
        let roots = match &roots {
            Roots::System => WebRoots::System,
            Roots::Pem(pem) => WebRoots::Pem(pem.as_bytes()),
            Roots::Nobody => WebRoots::Nobody,
        };
        web_client_config(roots, own.as_ref(), ALPN_HTTP)
    };
    let config = tokio::task::spawn_blocking(configure).await;
    let config = config
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE.0)
        .pool_max_idle_per_host(IDLE.1)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_send_buf_size(SEND_BUFFER)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .http2_keep_alive_timeout(KEEP_ALIVE.1)
        .build(connector(config, hosted)))
}
