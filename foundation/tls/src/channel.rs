//! A gRPC channel over one of this crate's client connections.
//!
//! One idea: tonic keeps the connection and re-dials lazily; each dial is a new handshake with the newest SVID. Must
//! never let tonic set up TLS itself: the peer would not be authorized by its SPIFFE ID.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::{Connector, TlsError};

/// How often a peer that says nothing is asked whether it is there, while a call waits for it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long it has to answer: a frozen peer or a dead line fails every call on it after both times.
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);

/// A channel to `address` (`host:port`). Nothing is dialled before the first call.
///
/// # Errors
/// When `address` cannot be part of a URI.
pub fn channel(connector: Connector, address: &str) -> Result<Channel, TlsError> {
    let malformed = |_| TlsError::Malformed { what: "address" };
    // tonic refuses to dial an https URI without its own TLS; what the server sees is the origin.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| TlsError::Malformed { what: "address" })?
        .origin(format!("https://{address}").parse::<Uri>().map_err(malformed)?)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER);
    let address = address.to_owned();
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (connector, address) = (connector.clone(), address.clone());
        async move { connector.connect(address).await.map(TokioIo::new) }
    })))
}
