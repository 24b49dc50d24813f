//! Requests to and answers from a state store, free of any protocol.
//!
//! One idea: one set of plain structs between engine and drivers; what can hold a value has its own `Debug` without it.
//! Must never know HTTP, gRPC or a key's prefix.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;

/// Request or response metadata: names as Dapr spells them, for instance `ttlInSeconds`.
pub type Metadata = HashMap<String, String>;

/// What happens when two writers meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Concurrency {
    /// Nothing was asked for: with an etag it must match, without one the last write wins.
    #[default]
    Unspecified,
    /// The first writer wins: without an etag the key must not exist.
    FirstWrite,
    /// The last writer wins.
    LastWrite,
}

/// How fresh a read, how safe a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// The store's own default.
    #[default]
    Unspecified,
    /// A replica may answer.
    Eventual,
    /// All replicas must have it.
    Strong,
}

/// What the bytes of a value are. Stores whose layout tells the two apart (SQLite) need to know; the others do not care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueForm {
    /// Arbitrary bytes, as every gRPC caller sends them.
    #[default]
    Binary,
    /// One JSON text, as every HTTP caller sends it.
    Json,
}

/// Reads one key.
#[derive(Debug, Clone, Default)]
pub struct GetRequest {
    /// Final key, prefix included.
    pub key: String,
    /// Request metadata.
    pub metadata: Metadata,
    /// How fresh.
    pub consistency: Consistency,
}

/// What was read.
#[derive(Clone, Default)]
pub struct GetResponse {
    /// The value; `None` when the key is absent or expired.
    pub value: Option<Bytes>,
    /// The value's etag.
    pub etag: Option<String>,
    /// Response metadata, for instance `ttlExpireTime` (RFC 3339, UTC, whole seconds).
    pub metadata: Metadata,
}

/// Writes one key.
#[derive(Clone, Default)]
pub struct SetRequest {
    /// Final key, prefix included.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// What the value's bytes are.
    pub form: ValueForm,
    /// Etag that must match. An empty string counts as none.
    pub etag: Option<String>,
    /// Request metadata; `ttlInSeconds` is understood by stores with the TTL feature.
    pub metadata: Metadata,
    /// Concurrency asked for.
    pub concurrency: Concurrency,
    /// Consistency asked for.
    pub consistency: Consistency,
}

/// Deletes one key.
#[derive(Debug, Clone, Default)]
pub struct DeleteRequest {
    /// Final key, prefix included.
    pub key: String,
    /// Etag that must match. An empty string counts as none.
    pub etag: Option<String>,
    /// Request metadata.
    pub metadata: Metadata,
    /// Concurrency asked for.
    pub concurrency: Concurrency,
    /// Consistency asked for.
    pub consistency: Consistency,
}

/// How a bulk call is to be carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct BulkOptions {
    /// Greatest number of single calls at a time; 0 leaves it to the store. A store with a native bulk call may ignore it.
    pub parallelism: usize,
}

/// One item of a bulk read.
#[derive(Clone, Default)]
pub struct BulkGetItem {
    /// Final key, prefix included.
    pub key: String,
    /// The value; `None` when the key is absent or expired.
    pub value: Option<Bytes>,
    /// The value's etag.
    pub etag: Option<String>,
    /// Response metadata.
    pub metadata: Metadata,
    /// Why this item could not be read.
    pub error: Option<String>,
}

/// One step of a transaction.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Writes a key.
    Set(SetRequest),
    /// Deletes a key.
    Delete(DeleteRequest),
}

impl Operation {
    /// The final key the step touches.
    pub fn key(&self) -> &str {
        match self {
            Operation::Set(request) => &request.key,
            Operation::Delete(request) => &request.key,
        }
    }
}

/// Operations that are carried out all or not at all, in order.
#[derive(Debug, Clone, Default)]
pub struct TransactRequest {
    /// The steps.
    pub operations: Vec<Operation>,
    /// Metadata of the transaction as a whole.
    pub metadata: Metadata,
}

/// A query of Dapr's query API (alpha). The document is JSON as the application sent it, already checked to be an object.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    /// `filter`, each operator with its operand as JSON text.
    pub filter: HashMap<String, Bytes>,
    /// `sort`: (key, descending).
    pub sort: Vec<(String, bool)>,
    /// `page.limit`; 0 = none.
    pub limit: u64,
    /// `page.token`; empty = first page.
    pub token: String,
    /// Request metadata.
    pub metadata: Metadata,
}

/// One found item.
#[derive(Clone, Default)]
pub struct QueryItem {
    /// Final key, prefix included.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The value's etag.
    pub etag: Option<String>,
    /// Why this item could not be read.
    pub error: Option<String>,
}

/// One page of found items.
#[derive(Debug, Clone, Default)]
pub struct QueryResponse {
    /// The items.
    pub items: Vec<QueryItem>,
    /// Token of the next page; empty = last page.
    pub token: String,
    /// Response metadata.
    pub metadata: Metadata,
}

/// Values are the application's and never belong into a log: Debug shows their length only.
macro_rules! debug_without_value {
    ($($type:ident { $($field:ident),* }),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}
debug_without_value!(
    GetResponse { etag, metadata },
    SetRequest {
        key,
        form,
        etag,
        metadata,
        concurrency,
        consistency
    },
    BulkGetItem {
        key,
        etag,
        metadata,
        error
    },
    QueryItem { key, etag, error }
);
