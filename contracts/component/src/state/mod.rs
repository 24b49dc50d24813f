//! The contract of a state store driver.
//!
//! The one idea: keys arrive final (prefixed by the engine), values are opaque bytes, etags are opaque strings that only
//! the store understands. A driver must never look into a key's prefix and never interpret a value.

mod features;
mod requests;

pub use features::{Feature, Features};
pub use requests::{
    BulkGetItem, BulkOptions, Concurrency, Consistency, DeleteRequest, GetRequest, GetResponse, Metadata, Operation,
    QueryItem, QueryRequest, QueryResponse, SetRequest, TransactRequest, ValueForm,
};

use crate::{Driver, Reply, StateError};

/// A registered state store driver.
pub type StateDriver = Driver<dyn StateStore>;

/// One opened state store. All calls may run side by side.
pub trait StateStore: Send + Sync + 'static {
    /// What this store can do. Constant for the life of the store.
    fn features(&self) -> Features;

    /// Greatest number of operations in one transaction, if there is a limit.
    /// Asked for at every transaction and not before: a store in another process may have to be asked.
    fn max_transaction_operations(&self) -> Reply<'_, Option<usize>> {
        Reply::ready(Ok(None))
    }

    /// Reads one key. An absent or expired key is `value: None`, not an error.
    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse>;

    /// Writes one key. Acknowledged only when the write is as durable as the store makes it.
    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()>;

    /// Deletes one key. Deleting an absent key without an etag succeeds.
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()>;

    /// Reads many keys; one item per request, in any order, failures inside the items.
    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], options: BulkOptions) -> Reply<'a, Vec<BulkGetItem>>;

    /// Writes many keys, each on its own: no atomicity. Failures are [`StateError::Bulk`].
    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], options: BulkOptions) -> Reply<'a, ()>;

    /// Deletes many keys, each on its own: no atomicity. Failures are [`StateError::Bulk`].
    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], options: BulkOptions) -> Reply<'a, ()>;

    /// Runs all operations or none. Called only when the store has [`Feature::Transactional`].
    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()>;

    /// Whether [`StateStore::query`] may be called.
    fn queryable(&self) -> bool {
        self.features().has(Feature::QueryApi)
    }

    /// Runs a query. Called only when the store is queryable.
    fn query<'a>(&'a self, _request: &'a QueryRequest) -> Reply<'a, QueryResponse> {
        Reply::ready(Err(StateError::NotSupported(
            "state store does not support querying".into(),
        )))
    }

    /// Deletes all keys that begin with `prefix` and says how many there were. Called only when the store has
    /// [`Feature::DeleteWithPrefix`].
    fn delete_with_prefix<'a>(&'a self, _prefix: &'a str) -> Reply<'a, u64> {
        Reply::ready(Err(StateError::NotSupported(
            "state store does not delete by prefix".into(),
        )))
    }

    /// The keys that fit an SQL pattern (`%` any text, `_` one character, `\` takes the next one as it is), in order, at
    /// most `limit` of those after `after`. Called only when the store has [`Feature::KeysLike`].
    fn keys_like<'a>(&'a self, _pattern: &'a str, _after: &'a str, _limit: usize) -> Reply<'a, Vec<String>> {
        Reply::ready(Err(StateError::NotSupported("state store does not list keys".into())))
    }

    /// Whether the store answers right now.
    fn ping(&self) -> Reply<'_, ()>;

    /// Lets go of connections and background work. Calls after it may fail.
    fn close(&self) -> Reply<'_, ()> {
        Reply::ready(Ok(()))
    }
}
