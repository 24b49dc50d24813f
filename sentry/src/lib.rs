//! The certificate authority of a zone.
//!
//! The one idea: a certificate is issued in five phases, one file each: [`attest`] (who asks), [`compose`] (what may be
//! written into a certificate for them), [`sign`], [`check`] (our own verifier must accept it) and [`journal`]. What a request
//! says about itself is only ever compared with what was attested.
//!
//! Two forms share the phases: the platform's ([`run`]: generated CA, attestation by single-use JWT, renewal by SVID,
//! identity table, edge authority) and Dapr's ([`main_drop_in`]: its flags, files and validators).
//! Start reading at `service.rs`. Never: a private key that leaves the process or lies on disk unwrapped (the drop-in
//! form keeps Dapr's files), or a leaf that outlives its issuer.

mod attest;
mod attestors;
mod authority;
mod check;
mod compose;
mod config;
mod csr;
mod dropin;
mod edge;
mod error;
mod journal;
mod keep;
mod own;
mod refusal;
mod run;
mod service;
mod sign;
mod subscribe;
mod table;

pub use config::{AgentConfig, Config, EdgeConfig, LEAF_TTL_SECONDS, Zone};
pub use dropin::main_drop_in;
pub use error::Error;
pub use run::run;

#[cfg(test)]
mod tests;
