//! Tests over real TLS: a control plane with a certificate authority of its own, a store in memory, regions that behave or
//! do not.

mod zone;

mod joining;
mod streaming;
