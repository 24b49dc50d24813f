//! What a component driver is: the traits a driver implements, how its metadata is declared and parsed, how it fails,
//! and the generated catalog of all drivers.
//!
//! The one idea: a driver knows nothing of Dapr's APIs, of HTTP or of gRPC towards applications. It gets protocol-free
//! requests and gives protocol-free answers; the engines above it translate. This crate holds types and signatures, no
//! behaviour of any driver, and must never import one.
//!
//! Who depends on it: every crate under `components/`, the engines, `dapr-server`, and the control plane (only
//! [`catalog`]). Start reading at [`state::StateStore`] and [`driver::Driver`].

// The derive macro names this crate by its public name, also in this crate's own tests.
extern crate self as palladium_component;

pub mod bindings;
pub mod catalog;
pub mod configuration;
pub mod conversation;
pub mod crypto;
pub mod driver;
pub mod error;
pub mod lock;
pub mod metadata;
pub mod middleware;
pub mod pubsub;
pub mod registry;
pub mod reply;
pub mod secrets;
pub mod state;

pub use bindings::{Binding, BindingDriver, BindingError};
pub use configuration::{ConfigurationDriver, ConfigurationStore};
pub use conversation::{Conversation, ConversationDriver};
pub use crypto::{CryptoDriver, CryptoProvider};
pub use driver::{Connector, Driver, Duplex, Hosted, Hosting, OpenContext, Status};
pub use error::{BulkFailure, CallError, OpenError, RemoteAnswer, RemoteError, StateError};
pub use lock::{LockDriver, LockStore};
pub use metadata::{ComponentMetadata, FieldSpec, FieldType, MetadataError, Properties};
pub use middleware::{Middleware, MiddlewareDriver};
pub use pubsub::{PubSub, PubsubDriver, PubsubError};
pub use registry::Registry;
pub use reply::Reply;
pub use secrets::{SecretDriver, SecretStore};
pub use state::{StateDriver, StateStore};
