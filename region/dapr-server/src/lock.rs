//! The lock API: what HTTP and gRPC share.
//!
//! One idea: what is wrong with a request is said in Dapr's order, before the store is asked. Must never ask a store under a
//! key without its prefix.

use std::sync::Arc;
use std::time::Duration;

use palladium_component::lock::Unlocked;
use palladium_engine_lock::{LockError, check};
use palladium_engine_resiliency::ComponentKind;

use crate::entry::LockEntry;
use crate::errors::Fault;
use crate::resiliency::outbound;
use crate::server::Server;

fn fault(error: &LockError) -> Fault {
    Fault {
        report: error.report(),
        category: if error.is_common() { "common" } else { "lock" },
    }
}

fn find(server: &Server, store: &str, resource: &str, owner: &str) -> Result<Arc<LockEntry>, LockError> {
    let components = server.components.load();
    if !components.has_locks() {
        return Err(LockError::NotConfigured);
    }
    check(store, resource, owner)?;
    let found = components.lock(store).cloned();
    let store = || store.to_owned();
    found.ok_or_else(|| LockError::NotFound { store: store() })
}

/// Takes a lock if it is free. Whether it did.
pub(crate) async fn try_lock(
    server: &Server,
    store: &str,
    resource: &str,
    owner: &str,
    expiry_in_seconds: i32,
) -> Result<bool, Fault> {
    let expiry = u64::try_from(expiry_in_seconds).ok().filter(|seconds| *seconds > 0);
    let Some(expiry) = expiry.map(Duration::from_secs) else {
        let store = store.to_owned();
        return Err(fault(&LockError::NoExpiry { store }));
    };
    let entry = find(server, store, resource, owner).map_err(|error| fault(&error))?;
    let failed = |reason| fault(&LockError::TryLock { reason });
    let key = entry.prefix.apply(resource).map_err(failed)?;
    // Sent again, it would find the lock taken, by itself.
    let policy = outbound(server, store, ComponentKind::Lock).once();
    let taken = policy.run(|_| entry.driver.try_lock(&key, owner, expiry)).await;
    taken.map_err(|error| failed(error.to_string()))
}

/// Gives a lock back.
pub(crate) async fn unlock(server: &Server, store: &str, resource: &str, owner: &str) -> Result<Unlocked, Fault> {
    let entry = find(server, store, resource, owner).map_err(|error| fault(&error))?;
    let failed = |reason| fault(&LockError::Unlock { reason });
    let key = entry.prefix.apply(resource).map_err(failed)?;
    let policy = outbound(server, store, ComponentKind::Lock).once();
    let freed = policy.run(|_| entry.driver.unlock(&key, owner)).await;
    freed.map_err(|error| failed(error.to_string()))
}
