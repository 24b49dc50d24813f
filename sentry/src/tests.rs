//! A whole Sentry in the process, over real TLS, with attestors of our own.

mod attestation;
mod edge;
mod frozen;
mod issuing;
mod life;
mod table;
mod zone;
