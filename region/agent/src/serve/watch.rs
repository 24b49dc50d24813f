//! A stream of complete states: the first at once, the next whenever what it shows has changed.
//!
//! One idea: the stream computes its view itself, when its reader is ready for it; so a slow reader skips states and never
//! queues them.

use std::sync::Arc;

use futures_util::{Stream, stream};
use palladium_tasks::Shutdown;
use tokio::sync::watch;
use tonic::Status;

use crate::region::Region;

struct Watching<V, S, G> {
    region: Arc<Region>,
    shutdown: Shutdown,
    changed: watch::Receiver<u64>,
    view: V,
    send: S,
    last: Option<G>,
    over: bool,
}

/// Sends what `view` gives, each time it differs; `send` makes the message from it and its version. Ends with the error
/// that `view` returns when the caller is no longer entitled to it.
pub(crate) fn states<G, M>(
    region: Arc<Region>,
    shutdown: Shutdown,
    view: impl Fn(&Region) -> Result<G, Status> + Send + Sync + 'static,
    send: impl Fn(&G, u64) -> M + Send + Sync + 'static,
) -> impl Stream<Item = Result<M, Status>> + Send
where
    G: PartialEq + Send + Sync + 'static,
    M: Send + 'static,
{
    let changed = region.versions.subscribe();
    let state = Watching {
        region,
        shutdown,
        changed,
        view,
        send,
        last: None,
        over: false,
    };
    stream::unfold(state, async |mut state| {
        loop {
            if state.over {
                return None;
            }
            let count = *state.changed.borrow_and_update();
            match (state.view)(&state.region) {
                Err(status) => {
                    state.over = true;
                    return Some((Err(status), state));
                }
                Ok(next) if state.last.as_ref() != Some(&next) => {
                    let message = (state.send)(&next, state.region.versions.version(count));
                    state.last = Some(next);
                    return Some((Ok(message), state));
                }
                Ok(_) => {}
            }
            let shutdown = state.shutdown.clone();
            match shutdown.unless(state.changed.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => {
                    state.over = true;
                    return Some((Err(Status::unavailable("the agent is stopping")), state));
                }
            }
        }
    })
}
