//! The gateway in full, in this process: real TLS towards clients, real mutual TLS towards Dapr Servers and an agent
//! that are stand-ins with SVIDs of a test authority. Numbers `sec_0NN` are those of the project's list of attacks.

mod agent;
mod attacks;
mod client;
mod cut_off;
mod dapr;
mod forwarding;
mod grpc;
mod hosts;
mod patience;
mod pki;
mod tokens;
mod world;
