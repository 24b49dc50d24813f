//! gRPC over byte streams that somebody else opens and authenticates.
//!
//! One idea: a call whose stream could not be opened was certainly never sent, and only such a call may be repeated whatever
//! it does. Must never dial by itself.

use std::error::Error;
use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use palladium_component::Connector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

/// No stream could be opened: the call was certainly never sent.
#[derive(Debug, thiserror::Error)]
#[error("the component cannot be reached: {0}")]
pub struct NotConnected(io::Error);

/// Settings of a channel for [`over`].
pub fn endpoint() -> Endpoint {
    Endpoint::from_static("http://component").http2_adaptive_window(true)
}

/// A channel over the connector's streams. Nothing is connected before the first call; a lost connection is re-made.
pub fn over(endpoint: Endpoint, connector: Arc<dyn Connector>) -> Channel {
    let dial = tower::service_fn(move |_: Uri| {
        let stream = connector.connect();
        async move { stream.await.map(TokioIo::new).map_err(NotConnected) }
    });
    endpoint.connect_with_connector_lazy(dial)
}

/// Whether the call certainly never left this process.
pub fn never_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<NotConnected>() {
            return true;
        }
        cause = error.source();
    }
    false
}
