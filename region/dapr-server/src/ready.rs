//! What has to be true before the sidecar calls itself ready.
//!
//! One idea: a fixed list of targets, each set once; reading is one load. Must never turn unready again: a stop ends the
//! listeners instead.

use std::sync::atomic::{AtomicU8, Ordering};

/// Something that readiness waits for.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Target {
    /// Components are loaded, the application may call out.
    Outbound = 1,
    /// Start is complete, the application's port included.
    Runtime = 2,
    /// The HTTP and gRPC APIs listen.
    Api = 4,
    /// The internal gRPC server listens.
    Internal = 8,
}

const ALL: [(Target, &str); 4] = [
    (Target::Outbound, "components"),
    (Target::Runtime, "runtime"),
    (Target::Api, "grpc-api-server"),
    (Target::Internal, "grpc-internal-server"),
];

/// Which targets are ready.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Marks a target as ready.
    pub fn set(&self, target: Target) {
        self.0.fetch_or(target as u8, Ordering::Release);
    }

    /// Whether one target is ready.
    pub fn has(&self, target: Target) -> bool {
        self.0.load(Ordering::Acquire) & target as u8 != 0
    }

    /// The names of those that are not; empty = ready.
    pub fn missing(&self) -> Vec<&'static str> {
        ALL.iter()
            .filter(|(target, _)| !self.has(*target))
            .map(|(_, name)| *name)
            .collect()
    }
}
