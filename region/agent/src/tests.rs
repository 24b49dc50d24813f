//! Tests of the agent: a control plane that signs what it is told to, regions on temporary folders, real TLS, a supervisor
//! on a real socket.

mod control;
mod pki;

mod guard;
mod keeping;
mod log;
mod metrics;
mod processes;
mod resources;
mod serving;
