//! For how long a driver is wanted: its events until nobody listens, its calls until it is closed.
//!
//! Must never cut off an event that is being handled: it only says that no further one is wanted.

use palladium_component::CallError;
use palladium_tasks::Shutdown;

/// Events end when it is dropped; the one that is being handled may still be settled.
pub(crate) struct Until(pub(crate) Shutdown);

impl Drop for Until {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

/// What became of a call whose component was closed meanwhile; `what` says which one.
pub(crate) fn closed(what: &str) -> CallError {
    CallError::Unavailable(format!("{what}: component is closed"))
}
