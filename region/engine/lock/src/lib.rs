//! Locks: how an application's resource becomes a lock's key, what a request must hold, and how a failed call is told. Free
//! of any protocol.
//!
//! The one idea: `||` separates prefix and resource and may be in neither, so that no application reaches another's lock by
//! a name. Must never accept a resource that could bring a prefix of its own.

mod error;
mod key;

pub use error::LockError;
pub use key::LockPrefix;

/// What a call of either kind must hold; the checks are in the order of Dapr's.
///
/// # Errors
/// When the resource or its owner has no name.
pub fn check(store: &str, resource: &str, owner: &str) -> Result<(), LockError> {
    let store = || store.to_owned();
    if resource.is_empty() {
        return Err(LockError::NoResource { store: store() });
    }
    if owner.is_empty() {
        return Err(LockError::NoOwner { store: store() });
    }
    Ok(())
}
