//! Every scenario over real processes, in one binary: one module per subject.
//!
//! One idea: a scenario starts its own installation, so that scenarios never wait for each other or see each other's data.
//! A start costs seconds: what can be judged on one installation is judged there.

mod alone;
mod callbacks;
mod canary;
mod chaos;
mod confined;
mod disk;
mod events;
mod freeze;
mod isolation;
mod kill;
mod kinds;
mod metrics;
mod ports;
mod sdks;
mod start;
mod stream;
mod tokens;
