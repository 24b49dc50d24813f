//! How an open component is let go.
//!
//! One idea: a call under way holds its component, so a component that is no longer listed is closed when nobody holds
//! it, or after a while all the same. Must never keep the caller waiting for a store that hangs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::server::{Components, StateEntry};

/// How long calls under way may still use a component that was replaced or removed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they still do.
const LOOK: Duration = Duration::from_millis(100);
/// Closing itself.
const DEADLINE: Duration = Duration::from_secs(2);

/// Closes a store that nobody will call any more.
async fn close(entry: &StateEntry) {
    let component = entry.component.name();
    match timeout(DEADLINE, entry.component.store().close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = entry.secrets.out_of(error.to_string());
            tracing::warn!(component, error, "a component did not close");
        }
        Err(_) => tracing::warn!(component, "a component did not close in time"),
    }
}

/// Closes all of these side by side, at the end of the process: one that hangs takes no time from the others.
pub(crate) async fn close_all(components: &Components) {
    join_all(components.state_stores().map(|entry| close(entry))).await;
}

/// Closes a store that is in no list any more, once the calls that have it are over.
pub(crate) async fn retire(entry: Arc<StateEntry>) {
    let until = Instant::now() + PATIENCE;
    while Arc::strong_count(&entry) > 1 && Instant::now() < until {
        sleep(LOOK).await;
    }
    close(&entry).await;
}
