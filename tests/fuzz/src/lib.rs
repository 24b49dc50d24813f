//! Fuzz targets: everything in the product that reads what strangers send, each with properties that can fail.
//!
//! One idea: a target is a function over bytes that calls the product's own code and asserts what that code promises. An
//! ordinary test replays the committed corpora and mutates them (`tests/replay.rs`); `cargo xtask fuzz` lets libFuzzer look
//! for more. What is private in a crate that links all drivers is compiled in from its file below: its visibility stays
//! what it is, and an instrumented build takes minutes less. Must never hold a copy or a stand-in of what it tests.
//!
//! A new target is a file here, a `mod` and a line in [`TARGETS`], its name in `tests/replay.rs`, and a folder of inputs in
//! `corpus` with the target's name.

mod cel;
mod certificate;
mod cloudevents;
mod component_yaml;
mod csr;
mod der;
mod grpc_frames;
mod http_head;
pub mod panics;
mod path;
mod rabbitmq_frames;
mod reference;
mod signer;

/// One function over bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Panics when a property does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "cel",
        run: cel::run,
    },
    Target {
        name: "certificate",
        run: certificate::run,
    },
    Target {
        name: "cloudevents",
        run: cloudevents::run,
    },
    Target {
        name: "component_yaml",
        run: component_yaml::run,
    },
    Target {
        name: "csr",
        run: csr::run,
    },
    Target {
        name: "grpc_frames",
        run: grpc_frames::run,
    },
    Target {
        name: "http_head",
        run: http_head::run,
    },
    Target {
        name: "path",
        run: path::run,
    },
    Target {
        name: "rabbitmq_frames",
        run: rabbitmq_frames::run,
    },
];

// ---- the product's files, under the names by which they know each other --------------------------------------------
// Not all of what they hold is called here, and their neighbours are other crates' here.

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/dapr-server/src/app_channel/headers.rs"]
mod app_channel;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/dapr-server/src/auth.rs"]
mod auth;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/gateway/src/meter.rs"]
mod gateway_meter;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/gateway/src/target.rs"]
mod gateway_target;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../sentry/src/refusal.rs"]
mod refusal;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/dapr-server/src/http/route.rs"]
mod route;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../sentry/src/csr.rs"]
mod sentry_csr;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/dapr-server/src/http/target.rs"]
mod target;

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/dapr-server/src/invoke"]
mod invoke {
    pub mod access;
    pub mod metadata;
    pub mod method;
    pub mod wire;

    pub use metadata::APP_ID;
}

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../components/rabbitmq/src/wire"]
mod rabbitmq_wire {
    pub mod shallow;
}

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/dapr-server/src"]
mod dapr_server {
    pub mod resources;
}

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../../region/engine/pubsub/src"]
mod engine_pubsub {
    pub mod condition;
}

/// As conditions know it.
use palladium_engine_pubsub::Event;
