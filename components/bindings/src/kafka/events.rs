//! Records as events.
//!
//! Must never cut off an event that is being handled.

use std::sync::Arc;

use palladium_component::bindings::{Event, Listener};
use palladium_component::reply::BoxFuture;
use palladium_components_kafka::{ConsumerRecord, Ending, Headers, Taker, data};
use palladium_tasks::Shutdown;

/// Hands records to a listener.
pub(super) struct Events {
    pub(super) listener: Arc<dyn Listener>,
    pub(super) headers: Arc<Headers>,
    pub(super) stop: Shutdown,
}

impl Taker for Events {
    fn take<'a>(&'a self, record: &'a ConsumerRecord) -> BoxFuture<'a, Option<BoxFuture<'static, Ending>>> {
        Box::pin(async {
            if self.stop.is_triggered() {
                return None;
            }
            let handling = self.listener.event(Event {
                data: data(record),
                metadata: self.headers.metadata(record),
                content_type: String::new(),
            });
            let ending: BoxFuture<'static, Ending> = Box::pin(async {
                match handling.await {
                    Ok(_) => Ending::Done,
                    Err(error) => {
                        tracing::debug!(error, "an event was not handled");
                        Ending::Failed
                    }
                }
            });
            Some(ending)
        })
    }

    fn unwanted(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stop.wait())
    }
}
