//! How a process gets its identity from the zone's Sentry and keeps it fresh.
//!
//! Start reading at [`Identity::start`], where every role of the platform begins.
//!
//! The one idea: [`Identity::obtain`] proves once who the process is (a single-use attestation in platform mode, Dapr's
//! token in the drop-in form) and gives an SVID source and trust bundles for `palladium-tls`; from then on
//! [`Identity::keep_fresh`] renews with the SVID itself and ends with an error when it has expired: the process then exits
//! with code 75 and its parent attests it again. Time is the wall clock, looked at at least once a second, because a
//! process may have been frozen or its machine asleep.
//! Private keys are made here and never leave the process. Never: storing a token, a key or a certificate on disk.

mod attestor;
mod config;
mod edge;
mod edge_files;
mod envelope;
mod error;
mod request;
mod revocations;
mod role;
mod roots;
mod schedule;
mod workload;

pub use attestor::{Attestor, AttestorError};
pub use config::{CertificateFiles, IdentityConfig};
pub use edge::{EdgeIdentity, EdgeSettings};
pub use edge_files::EdgeFiles;
pub use envelope::{Envelope, EnvelopeError};
pub use error::IdentityError;
pub use request::NewKey;
pub use revocations::revocations;
pub use roots::Roots;
pub use workload::{Attestation, Identity, Settings};
