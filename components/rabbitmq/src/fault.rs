//! How a call of the server fails.
//!
//! One idea: what the server refused will be refused again; what was lost on the way may be tried again. Must never carry an
//! address with credentials.

use std::time::Duration;

use lapin::ErrorKind;
use palladium_component::CallError;
use thiserror::Error;

/// A call that failed.
#[derive(Debug, Clone, Error)]
pub enum Fault {
    /// The server said no, in its own words, which begin with its code, such as `NOT_FOUND`.
    #[error("{0}")]
    Refused(String),
    /// The server cannot be reached, or the connection was lost.
    #[error("{0}")]
    Lost(String),
    /// The request cannot be put into the protocol.
    #[error("{0}")]
    Invalid(String),
}

impl Fault {
    /// No answer in time.
    pub(crate) fn late(what: &str, limit: Duration) -> Self {
        Fault::Lost(format!("{what}: no answer within {limit:?}"))
    }

    /// Whether the server has no exchange of that name.
    pub fn misses_exchange(&self, exchange: &str) -> bool {
        matches!(self, Fault::Refused(words) if words.contains(&format!("no exchange '{exchange}'")))
    }

    /// As a call's failure, which a publish/subscribe component's is made of; `what` says whose.
    pub fn call(self, what: &str) -> CallError {
        let words = format!("{what}: {self}");
        match self {
            Fault::Invalid(_) => CallError::Invalid(words),
            Fault::Lost(_) => CallError::Unavailable(words),
            Fault::Refused(_) => CallError::Other(words),
        }
    }
}

impl From<lapin::Error> for Fault {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(said) => Fault::Refused(said.get_message().to_string()),
            _ => Fault::Lost(error.to_string()),
        }
    }
}

/// Whether nothing was sent, because the library knew that there is nobody to send to.
pub(crate) fn was_not_sent(error: &lapin::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannel(_)
    )
}
