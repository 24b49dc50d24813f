//! Dapr's state semantics, free of any protocol.
//!
//! The one idea: HTTP and gRPC are two spellings of the same calls. This engine owns what both have in common (key
//! prefixes, encryption, option words, bulk and transaction rules, the class of every error) and `dapr-server` only translates.
//! It must never know a driver, a socket or a header.
//!
//! Start reading at [`StateComponent`]; every failure is an [`ApiError`], which says itself what HTTP and gRPC callers
//! are to be told ([`ApiError::http`], [`ApiError::grpc`]).

mod component;
mod encryption;
mod error;
mod keys;
mod options;
mod query;
mod repeat;
mod report;
mod value;

pub use component::{SetupError, StateComponent, Stores};
pub use error::{ApiError, Operation};
pub use keys::{KeyPrefix, original_key};
pub use options::{consistency, parse_concurrency, parse_consistency};
pub use palladium_component::state::{
    BulkGetItem, Concurrency, Consistency, DeleteRequest, Features, GetRequest, GetResponse, Metadata, QueryResponse,
    SetRequest, ValueForm,
};
pub use palladium_engine_report::{Detail, Report};
pub use value::canonical_json;
