//! How an open component is let go.
//!
//! One idea: a call under way holds its component, so a component that is no longer listed is closed when nobody holds
//! it, or after a while all the same. Must never keep the caller waiting for a store that hangs.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::entry::Entry;
use crate::server::Components;

/// How long calls under way may still use a component that was replaced or removed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they still do.
const LOOK: Duration = Duration::from_millis(100);
/// Closing itself.
const DEADLINE: Duration = Duration::from_secs(2);

/// Closes a component that nobody will call any more.
async fn close(entry: &Entry) {
    let component = entry.name();
    match timeout(DEADLINE, entry.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(component, error, "a component did not close"),
        Err(_) => tracing::warn!(component, "a component did not close in time"),
    }
}

/// Closes all of these side by side, at the end of the process: one that hangs takes no time from the others.
pub(crate) async fn close_all(components: &Components) {
    let entries: Vec<Entry> = components.entries().collect();
    join_all(entries.iter().map(close)).await;
}

/// Closes a component that is in no list any more, once the calls that have it are over.
pub(crate) async fn retire(entry: Entry) {
    let until = Instant::now() + PATIENCE;
    while entry.is_held() && Instant::now() < until {
        sleep(LOOK).await;
    }
    close(&entry).await;
}
