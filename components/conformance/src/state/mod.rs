//! The suite of state stores.
//!
//! A driver's test file names its backend and gets one test per case: `palladium_conformance::state_suite!(backend);`
//! where `backend` is an `async fn() -> Backend`. One idea: one suite for all; what stores are allowed to differ in is
//! a field of [`Backend`]. Must never import a driver, or ask which one it is testing.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use palladium_component::StateStore;
use palladium_component::reply::BoxFuture;

pub mod concurrency;
pub mod crud;
pub mod many;
mod requests;
pub mod time;

/// One state store under test.
pub struct Backend {
    /// Opens the store; a second time on the same data.
    pub open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn StateStore>> + Send + Sync>,
    /// Whether what was written is still there when the store is opened again.
    pub durable: bool,
    /// Whether an explicit last-write ignores an etag (Dapr's Redis) instead of checking it (Dapr's others).
    pub last_write_ignores_etag: bool,
    /// Whether a write without a TTL keeps the key's old one (Dapr's Redis) instead of ending it (Dapr's others).
    pub write_keeps_ttl: bool,
    /// Bytes of the largest value that the server takes as it was started; what is larger is refused.
    pub largest_value: usize,
    /// Whether the store's layout can hold a key (prefix included); what it cannot hold is refused.
    pub holds_key: fn(&str) -> bool,
    /// Whether JSON comes back with the same meaning, but spelled as the store likes it (Dapr's first PostgreSQL).
    pub respells_json: bool,
    /// Whether the store is only a cache (Dapr's memcached): no etags, no transactions, no moment of expiry.
    pub only_cache: bool,
    /// What has to live as long as the test: servers, folders.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Backend {
    /// A backend that behaves like most of Dapr's stores.
    pub fn new(open: impl Fn() -> BoxFuture<'static, Arc<dyn StateStore>> + Send + Sync + 'static) -> Self {
        Backend {
            open: Box::new(open),
            durable: true,
            last_write_ignores_etag: false,
            write_keeps_ttl: false,
            largest_value: usize::MAX,
            holds_key: |_| true,
            respells_json: false,
            only_cache: false,
            keep: Box::new(()),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// Makes one test per case of the suite.
#[macro_export]
macro_rules! state_suite {
    ($backend:path) => {
        $crate::state_suite!($backend:
            crud::create_read_update_delete, crud::values_of_every_kind, crud::large_values, crud::keys_of_every_kind,
            crud::keys_differ_in_every_byte, crud::ping_and_features, crud::survives_reopening,
            concurrency::etag_that_matches, concurrency::etag_that_does_not, concurrency::nonsense_etags,
            concurrency::first_write, concurrency::last_write, concurrency::one_first_writer_wins,
            concurrency::one_holder_of_an_etag_wins, concurrency::no_increment_is_lost,
            time::expires, time::never_expires, time::rewritten_ttl, time::bad_ttl,
            many::bulk_get, many::bulk_set_and_delete, many::bulk_failures_leave_the_others, many::transactions,
            many::transactions_roll_back, many::transactions_in_order, many::parallel_writers, many::keys_like
        );
    };
    // What there is without etags and transactions.
    (only a cache: $backend:path) => {
        $crate::state_suite!($backend:
            crud::create_read_update_delete, crud::values_of_every_kind, crud::large_values, crud::keys_of_every_kind,
            crud::keys_differ_in_every_byte, crud::ping_and_features, concurrency::conditions_are_ignored,
            time::expires, time::never_expires, time::bad_ttl,
            many::bulk_get, many::bulk_set_and_delete, many::parallel_writers
        );
    };
    ($backend:path: $($module:ident::$case:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let backend = $backend().await;
            $crate::state::$module::$case(&backend).await;
        }
    )+};
}
