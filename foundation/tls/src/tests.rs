//! Real handshakes over loopback, with certificates made by hand.

mod handshakes;
mod listener;
mod pki;
mod refusals;
