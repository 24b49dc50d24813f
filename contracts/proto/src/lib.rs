//! Every wire protocol of the system as Rust types, clients and servers.
//!
//! One idea: the `.proto` files under `protos/` are the contract, `src/gen` is what `cargo xtask generate` makes of
//! them, and both are committed. Every `bytes` field is a [`bytes::Bytes`]. Must never contain behaviour: whoever
//! speaks a protocol owns what it means.
//!
//! The module tree repeats the protocol packages, because the generated code refers to itself by relative paths; the
//! short names below are what the rest of the workspace uses.

/// Packages below `dapr`.
pub mod dapr {
    /// Packages below `dapr.proto`.
    pub mod proto {
        /// `dapr.proto.common`.
        pub mod common {
            /// `dapr.proto.common.v1`: types shared by the public and the internal protocols.
            #[allow(missing_docs, clippy::all, unused_qualifications)]
            pub mod v1 {
                include!("gen/dapr.proto.common.v1.rs");
            }
        }
        /// `dapr.proto.components`.
        pub mod components {
            /// `dapr.proto.components.v1`: a component in a process of its own.
            #[allow(missing_docs, clippy::all, unused_qualifications)]
            pub mod v1 {
                include!("gen/dapr.proto.components.v1.rs");
            }
        }
        /// `dapr.proto.internals`.
        pub mod internals {
            /// `dapr.proto.internals.v1`: calls between two Dapr Servers.
            #[allow(missing_docs, clippy::all, unused_qualifications)]
            pub mod v1 {
                include!("gen/dapr.proto.internals.v1.rs");
            }
        }
        /// `dapr.proto.operator`.
        pub mod operator {
            /// `dapr.proto.operator.v1`: how a Dapr Server learns its resources.
            #[allow(missing_docs, clippy::all, unused_qualifications)]
            pub mod v1 {
                include!("gen/dapr.proto.operator.v1.rs");
            }
        }
        /// `dapr.proto.runtime`.
        pub mod runtime {
            /// `dapr.proto.runtime.v1`: the public API, and what Dapr calls on an application.
            #[allow(missing_docs, clippy::all, unused_qualifications)]
            pub mod v1 {
                include!("gen/dapr.proto.runtime.v1.rs");
            }
        }
        /// `dapr.proto.sentry`.
        pub mod sentry {
            /// `dapr.proto.sentry.v1`: certificate signing.
            #[allow(missing_docs, clippy::all, unused_qualifications)]
            pub mod v1 {
                include!("gen/dapr.proto.sentry.v1.rs");
            }
        }
    }
}

/// Packages below `palladium`.
pub mod palladium {
    /// `palladium.region`.
    pub mod region {
        /// `palladium.region.v1`: the region stream, and what the agent tells the region's processes.
        #[allow(missing_docs, clippy::all, unused_qualifications)]
        pub mod v1 {
            include!("gen/palladium.region.v1.rs");
        }
    }
    /// `palladium.store`.
    pub mod store {
        /// `palladium.store.v1`: managed publish/subscribe.
        #[allow(missing_docs, clippy::all, unused_qualifications)]
        pub mod v1 {
            include!("gen/palladium.store.v1.rs");
        }
    }
    /// `palladium.supervisor`.
    pub mod supervisor {
        /// `palladium.supervisor.v1`: the supervisor's Unix socket.
        #[allow(missing_docs, clippy::all, unused_qualifications)]
        pub mod v1 {
            include!("gen/palladium.supervisor.v1.rs");
        }
    }
}

pub use dapr::proto::common::v1 as common;
pub use dapr::proto::components::v1 as components;
pub use dapr::proto::internals::v1 as internals;
pub use dapr::proto::operator::v1 as operator;
pub use dapr::proto::runtime::v1 as runtime;
pub use dapr::proto::sentry::v1 as sentry;
pub use palladium::region::v1 as region;
pub use palladium::store::v1 as store;
pub use palladium::supervisor::v1 as supervisor;
/// The well-known types that the messages above contain.
pub use prost_types;
