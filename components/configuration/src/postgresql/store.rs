//! The opened store: who is subscribed.
//!
//! One idea: a subscription lives as long as what its caller holds. Must never answer a subscriber before the server listens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palladium_component::configuration::{ConfigurationStore, Items, Listener, Listening, Selection};
use palladium_component::{CallError, Reply};
use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::line::{Dial, Join, Line};
use super::member::{Member, serve};
use super::metadata::check_channel;
use super::reader::{Reader, late};

/// Subscriptions that wait until the server listens.
const JOINING: usize = 64;
/// How long subscriptions may take to end.
const DRAIN: Duration = Duration::from_secs(5);

pub(super) struct PostgresConfiguration {
    reader: Reader,
    /// The component's; a subscription's own does not count then.
    channel: Option<String>,
    joins: mpsc::Sender<Join>,
    left: Arc<Notify>,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl PostgresConfiguration {
    pub(super) fn new(reader: Reader, channel: Option<String>, dial: Dial) -> Self {
        let (joins, joining) = mpsc::channel(JOINING);
        let (left, stop, mut tasks) = (Arc::new(Notify::new()), Shutdown::new(), Tasks::new());
        let line = Line::new(dial).run(joining, left.clone());
        let stopped = stop.clone();
        tasks.spawn("configuration-postgresql-line", async move {
            stopped.unless(line).await;
        });
        PostgresConfiguration {
            reader,
            channel,
            joins,
            left,
            stop,
            tasks: Mutex::new(tasks),
        }
    }

    fn channel(&self, selection: &Selection) -> Result<String, CallError> {
        let mut metadata = selection.metadata.iter();
        let named =
            metadata.find(|(name, channel)| name.eq_ignore_ascii_case("pgNotifyChannel") && !channel.is_empty());
        let Some(channel) = self.channel.as_ref().or(named.map(|(_, channel)| channel)) else {
            let text = "no channel to listen on: add 'notifyChannel' to the component's metadata";
            return Err(CallError::Invalid(text.into()));
        };
        match check_channel(channel) {
            Ok(()) => Ok(channel.clone()),
            Err(reason) => Err(CallError::Invalid(format!(
                "pgNotifyChannel cannot be used: {reason}; use small letters, digits and '_'"
            ))),
        }
    }

    async fn begin(&self, selection: &Selection, listener: Arc<dyn Listener>) -> Result<Listening, CallError> {
        let closed = || CallError::Unavailable("the component is closed".into());
        if self.stop.is_triggered() {
            return Err(closed());
        }
        let channel = self.channel(selection)?;
        let member = Arc::new(Member::new(channel, &selection.keys, self.stop.child()));
        let held = Held(member.clone(), self.left.clone());
        let (answer, answered) = oneshot::channel();
        let join = Join {
            member: member.clone(),
            answer,
        };
        let joined = async {
            self.joins.send(join).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        };
        let patience = self.reader.timeout();
        timeout(patience, joined).await.map_err(|_| late(patience))??;
        let reader = self.reader.clone();
        // A panic under this lock leaves a set that is still whole.
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn("configuration-postgresql", serve(member, reader, listener));
        Ok(Box::new(held))
    }
}

/// Ends a subscription when it is dropped.
struct Held(Arc<Member>, Arc<Notify>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end();
        self.1.notify_one();
    }
}

impl ConfigurationStore for PostgresConfiguration {
    fn get<'a>(&'a self, selection: &'a Selection) -> Reply<'a, Items, CallError> {
        Reply::wait(self.reader.items(&selection.keys))
    }

    fn subscribe<'a>(
        &'a self,
        selection: &'a Selection,
        listener: Arc<dyn Listener>,
    ) -> Reply<'a, Listening, CallError> {
        Reply::wait(self.begin(selection, listener))
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        Reply::wait(async move {
            if let Err(overdue) = tasks.drain(DRAIN).await {
                tracing::debug!(%overdue, "closed while a change was told");
            }
            self.reader.close().await;
            Ok(())
        })
    }
}
