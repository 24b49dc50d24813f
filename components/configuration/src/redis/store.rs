//! The opened store: reading, and who is subscribed.
//!
//! One idea: keys are read many at a time, and what is no string reads as absent, so that a foreign key in the same database
//! disturbs nobody. Must never hold up the server by asking for all keys at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::{RedisError, cmd};
use palladium_component::configuration::{ConfigurationStore, Item, Items, Listener, Listening, Selection};
use palladium_component::{CallError, Reply};
use palladium_tasks::{Shutdown, Tasks};

use super::watch::{Line, watch};

/// Keys that are read in one step.
const STEP: usize = 1000;
/// How long subscriptions may take to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Reads items.
#[derive(Clone)]
pub(super) struct Reader(ConnectionManager);

impl Reader {
    pub(super) fn new(connection: ConnectionManager) -> Self {
        Reader(connection)
    }

    pub(super) async fn ping(&self) -> Result<(), RedisError> {
        cmd("PING").query_async(&mut self.0.clone()).await
    }

    /// The items of these keys; of all when there are none.
    pub(super) async fn items(&self, keys: &[String]) -> Result<Items, RedisError> {
        if keys.is_empty() {
            return self.all().await;
        }
        let mut items = Items::new();
        for keys in keys.chunks(STEP) {
            self.read(keys, &mut items).await?;
        }
        Ok(items)
    }

    async fn all(&self) -> Result<Items, RedisError> {
        let (mut items, mut cursor) = (Items::new(), 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("COUNT").arg(STEP);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut self.0.clone()).await?;
            if !keys.is_empty() {
                self.read(&keys, &mut items).await?;
            }
            if next == 0 {
                return Ok(items);
            }
            cursor = next;
        }
    }

    async fn read(&self, keys: &[String], items: &mut Items) -> Result<(), RedisError> {
        // MGET answers nothing, instead of an error, for what is no string.
        let values: Vec<Option<Vec<u8>>> = cmd("MGET").arg(keys).query_async(&mut self.0.clone()).await?;
        for (key, value) in keys.iter().zip(values) {
            let found = value.map(|value| item(&String::from_utf8_lossy(&value)));
            if let Some(found) = found.filter(|item| !item.value.is_empty()) {
                items.insert(key.clone(), found);
            }
        }
        Ok(())
    }

    /// The server's way to tell of changes is switched on, beside what it tells of already. A server that does not let us
    /// may have it switched on by its operator.
    pub(super) async fn notify(&self) {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg("notify-keyspace-events");
        let now: Result<Vec<String>, _> = get.query_async(&mut self.0.clone()).await;
        let mut events = now.ok().and_then(|pair| pair.into_iter().nth(1)).unwrap_or_default();
        let missing: String = "Kg$xe".chars().filter(|event| !told(&events, *event)).collect();
        if missing.is_empty() {
            return;
        }
        events.push_str(&missing);
        let mut set = cmd("CONFIG");
        set.arg("SET").arg("notify-keyspace-events").arg(&events);
        let done: Result<(), _> = set.query_async(&mut self.0.clone()).await;
        if let Err(error) = done {
            tracing::debug!(%error, "the server does not let us switch on keyspace notifications");
        }
    }
}

/// Whether a class of events is among those that a server tells of. `A` is all of them but the two ways to tell and what
/// is missed or new.
fn told(events: &str, event: char) -> bool {
    events.contains(event) || event != 'K' && events.contains('A')
}

/// `value` or `value||version`; what is behind a second separator is left away, as in Dapr.
fn item(text: &str) -> Item {
    let mut parts = text.split("||");
    let mut part = || parts.next().unwrap_or_default().to_owned();
    Item {
        value: part(),
        version: part(),
        ..Item::default()
    }
}

pub(super) struct RedisConfiguration {
    reader: Reader,
    line: Line,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl RedisConfiguration {
    pub(super) fn new(reader: Reader, line: Line) -> Self {
        RedisConfiguration {
            reader,
            line,
            stop: Shutdown::new(),
            tasks: Mutex::default(),
        }
    }

    async fn begin(&self, selection: &Selection, listener: Arc<dyn Listener>) -> Result<Listening, CallError> {
        if self.stop.is_triggered() {
            return Err(CallError::Unavailable("the component is closed".into()));
        }
        self.reader.notify().await;
        let connected = self.line.connect(&selection.keys).await.map_err(unavailable)?;
        let stop = self.stop.child();
        let ended = Ended(stop.clone());
        let (line, reader, keys) = (self.line.clone(), self.reader.clone(), selection.keys.clone());
        // A panic under this lock leaves a set that is still whole.
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn("configuration-redis", async move {
            stop.unless(watch(line, connected, reader, keys, listener)).await;
        });
        Ok(Box::new(ended))
    }
}

/// Ends a subscription when it is dropped.
struct Ended(Shutdown);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

pub(super) fn unavailable(error: RedisError) -> CallError {
    CallError::Unavailable(error.to_string())
}

impl ConfigurationStore for RedisConfiguration {
    fn get<'a>(&'a self, selection: &'a Selection) -> Reply<'a, Items, CallError> {
        Reply::wait(async { self.reader.items(&selection.keys).await.map_err(unavailable) })
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
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_and_without_version() {
        for (text, value, version) in [
            ("", "", ""),
            ("v", "v", ""),
            ("v||", "v", ""),
            ("v||1.0", "v", "1.0"),
            ("v||1||rest", "v", "1"),
            ("||1", "", "1"),
        ] {
            let found = item(text);
            assert_eq!(
                (found.value.as_str(), found.version.as_str()),
                (value, version),
                "{text}"
            );
        }
    }

    #[test]
    fn all_events_include_ours_but_not_the_way_they_are_told() {
        assert!(told("AE", 'g') && told("AE", '$') && !told("AE", 'K'));
        assert!(told("K$", '$') && !told("K$", 'x'));
    }
}
