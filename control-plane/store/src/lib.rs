//! The control plane's resource store: the only place with SQL in its zone.
//!
//! The one idea: **what changes and the record of who changed it are one transaction** ([`Store::commit`]); whoever wants to write
//! hands over mutations as data together with the audit event, and there is no other way. What regions report goes through
//! [`Store`]'s implementation of `palladium_regions::RegionStore`, which can touch status, finalizers and logs only.
//!
//! SQLite here; the tests under `tests/` speak to the public interface only, so that PostgreSQL can follow behind the same one.
//! Must never hold a secret in clear: sealed values, digests and keyed hashes only.
//!
//! Used by `control-plane/server` alone. Start reading at [`Store`] and [`mutation`].

mod audit;
mod commit;
mod error;
mod keys;
pub mod mutation;
mod region;
mod region_desired;
mod region_join;
mod region_log;
mod resource;
mod status;
mod store;

pub use audit::{AuditFilter, AuditPage};
pub use commit::Committed;
pub use error::Error;
pub use keys::{ApiKeyRow, NewApiKey};
pub use mutation::{Create, Mutation, SealedSecret, Update};
pub use resource::{Resource, SecretState};
pub use store::{Organization, Store};

#[cfg(test)]
mod tests;
