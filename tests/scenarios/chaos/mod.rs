//! Brokers and databases that are slow, half there, away or elsewhere, and a Dapr Server that is killed meanwhile.
//!
//! One idea: an application goes on as if nothing was and writes down what it was promised; at the end every promise was
//! kept. The servers stay whole: faults are of the wire, or of the Dapr Server, so that nobody else can have lost anything.

// This is test code: a failed expectation is a failed test, and figures are for whoever reads its log.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod elsewhere;
mod events;
mod faults;
mod peers;
mod state;
