//! The contract of a lock driver.
//!
//! The one idea: a lock belongs to the owner that named itself when it took it, until that owner gives it back or its time
//! is over. A driver must never give a lock to a second owner before that, nor wait for one that is taken.

use std::time::Duration;

use crate::error::CallError;
use crate::{Driver, Reply};

/// A registered lock driver.
pub type LockDriver = Driver<dyn LockStore>;

/// How giving a lock back went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlocked {
    /// It is free.
    Success,
    /// Nobody had it.
    DoesNotExist,
    /// Somebody else has it.
    BelongsToOthers,
}

/// One opened lock store. All calls may run side by side.
pub trait LockStore: Send + Sync + 'static {
    /// Takes a lock if it is free, for some time. Whether it did.
    fn try_lock<'a>(&'a self, resource: &'a str, owner: &'a str, expiry: Duration) -> Reply<'a, bool, CallError>;

    /// Gives a lock back.
    fn unlock<'a>(&'a self, resource: &'a str, owner: &'a str) -> Reply<'a, Unlocked, CallError>;

    /// Ends connections and tasks. No call follows.
    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::ready(Ok(()))
    }
}
