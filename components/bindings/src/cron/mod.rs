//! `bindings.cron`: an event whenever a schedule is due.
//!
//! The one idea: one task sleeps until the next time; while an event is being handled, times that fall due are left out.
//! Must never hand out an event after its listening was dropped.

mod schedule;

use std::sync::Arc;

use chrono::{Local, SecondsFormat, Utc};
use palladium_component::bindings::{Binding, BindingDriver, Event, Listener, Listening, Ways};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_tasks::Tasks;
use schedule::Schedule;
use tokio::time::sleep;

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.cron",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: CronMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct CronMetadata {
    /// When: '@every 15m', '@daily' and so on, or five or six fields (with seconds) as in crontab.
    schedule: String,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = CronMetadata::parse(&context.properties)?;
    let schedule = Schedule::parse(&metadata.schedule).map_err(|reason| {
        MetadataError::new(
            "schedule",
            reason,
            "write '@every 15m', '@daily', or five or six fields",
        )
    })?;
    Ok(Arc::new(Timer {
        schedule: Arc::new(schedule),
    }))
}

struct Timer {
    schedule: Arc<Schedule>,
}

impl Binding for Timer {
    fn ways(&self) -> Ways {
        Ways { out: false, into: true }
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        let mut tasks = Tasks::new();
        tasks.spawn("bindings-cron", run(self.schedule.clone(), listener));
        Reply::ready(Ok(Box::new(tasks)))
    }
}

async fn run(schedule: Arc<Schedule>, listener: Arc<dyn Listener>) {
    while let Some(wait) = schedule.next() {
        sleep(wait).await;
        let metadata = [
            ("timeZone", Local::now().offset().to_string()),
            ("readTimeUTC", Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true)),
        ];
        let event = Event {
            metadata: metadata
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            ..Event::default()
        };
        if let Err(error) = listener.event(event).await {
            tracing::debug!(error, "an event of a schedule was not handled");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use palladium_component::reply::BoxFuture;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Listener for Counter {
        fn event(&self, event: Event) -> BoxFuture<'static, Result<Option<Bytes>, String>> {
            assert!(event.metadata.contains_key("readTimeUTC"));
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(None) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_end_with_the_listening() {
        let properties = [("schedule", "@every 2s")].into_iter().collect();
        let timer = open(OpenContext::new("c", "app", properties)).await.unwrap();
        let counter = Arc::new(Counter::default());
        let listening = timer.listen(counter.clone()).await.unwrap();
        sleep(Duration::from_secs(7)).await;
        assert_eq!(counter.0.load(Ordering::Relaxed), 3);
        drop(listening);
        sleep(Duration::from_secs(7)).await;
        assert_eq!(counter.0.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_bad_schedule_is_refused_by_name() {
        let properties = [("schedule", "never")].into_iter().collect();
        let error = open(OpenContext::new("c", "app", properties)).await.err().unwrap();
        assert!(error.to_string().contains("schedule"), "{error}");
    }
}
