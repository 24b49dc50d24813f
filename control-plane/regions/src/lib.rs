//! The control plane's side of the region stream: regions join here, follow their signed log and report back.
//!
//! The one idea: a region is told what is wanted by one hash-chained, signed log of its own, and nothing else. The log is
//! made from the store's changes when they happen ([`log`]); a session ([`session`]) only replays it. Regions dial in; this
//! crate never dials a region. It must never see a secret in clear except a permitted read-back on its way to the reader.
//!
//! Used by `control-plane/server`. Start reading at [`Regions`].

mod config;
mod error;
mod issue;
mod join;
mod listener;
mod log;
mod nonces;
mod regions;
mod session;
mod sessions;
mod signer;
mod store;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use config::Config;
pub use error::{Error, ReadBackError};
pub use regions::{ReadBack, Regions};
pub use sessions::SessionInfo;
pub use signer::LogSigner;
pub use store::{
    Change, DesiredObject, JoinTokenRecord, LogRow, Position, RegionConnection, RegionRecord, RegionStore, StoreError,
};

#[cfg(test)]
mod tests;
