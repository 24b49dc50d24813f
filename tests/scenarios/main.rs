//! Every scenario over real processes, in one binary: one module per subject.
//!
//! One idea: a scenario starts its own installation, so that scenarios never wait for each other or see each other's data.

mod start;
mod up;
