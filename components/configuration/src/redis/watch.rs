//! One subscription: a connection of its own that the server tells of changed keys, made again when it is lost.
//!
//! One idea: notifications only name keys; what is told is what is stored when it is their turn. What changed while the
//! connection was away nobody knows, so that then every named key is told again. Must never leave notifications unread while
//! the listener is busy: the library keeps them without a bound.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{PubSubSink, PubSubStream};
use ::redis::{Client, RedisError};
use futures_util::StreamExt as _;
use palladium_component::configuration::{Item, Listener};
use palladium_components_redis::RedisMetadata;
use palladium_tasks::Backoff;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::store::Reader;
use crate::pending::Pending;

/// How often a silent connection is tried.
const ALIVE: Duration = Duration::from_secs(15);
/// How long the server may take where the component sets no limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to get a connection for notifications.
#[derive(Clone)]
pub(super) struct Line {
    client: Client,
    /// Of the keys in the component's database.
    prefix: String,
    dial: Duration,
    answer: Duration,
    pause: (Duration, Duration),
}

/// A connection that tells of changes.
pub(super) struct Connected {
    sink: PubSubSink,
    stream: PubSubStream,
}

impl Line {
    pub(super) fn new(client: Client, metadata: &RedisMetadata) -> Self {
        let pause = |pause: Option<Duration>, or| pause.unwrap_or(or).max(Duration::from_millis(1));
        Line {
            client,
            prefix: format!("__keyspace@{}__:", metadata.database),
            dial: metadata.dial_timeout.0.unwrap_or(PATIENCE),
            answer: metadata.read_timeout.0.unwrap_or(PATIENCE),
            pause: (
                pause(metadata.redis_min_retry_interval.0, Duration::from_millis(8)),
                pause(metadata.redis_max_retry_interval.0, Duration::from_secs(2)),
            ),
        }
    }

    /// A connection that tells of these keys; of all when there are none.
    pub(super) async fn connect(&self, keys: &[String]) -> Result<Connected, RedisError> {
        let late = |_| RedisError::from((::redis::ErrorKind::Io, "the server does not answer in time"));
        let connection = timeout(self.dial, self.client.get_async_pubsub())
            .await
            .map_err(late)??;
        let (mut sink, stream) = connection.split();
        let subscribed = async {
            if keys.is_empty() {
                return sink.psubscribe(format!("{}*", self.prefix)).await;
            }
            let channels: Vec<String> = keys.iter().map(|key| format!("{}{key}", self.prefix)).collect();
            sink.subscribe(&channels).await
        };
        timeout(self.answer, subscribed).await.map_err(late)??;
        Ok(Connected { sink, stream })
    }

    async fn again(&self, keys: &[String]) -> Connected {
        let mut backoff = Backoff::new(self.pause.0, self.pause.1);
        loop {
            match self.connect(keys).await {
                Ok(connected) => return connected,
                Err(error) => {
                    tracing::debug!(%error, "the subscription to configuration is not back yet");
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

/// Tells of changes until it is dropped.
pub(super) async fn watch(
    line: Line,
    mut connected: Connected,
    reader: Reader,
    keys: Vec<String>,
    listener: Arc<dyn Listener>,
) {
    let mut pending = Pending::default();
    loop {
        follow(&line, &mut connected, &reader, &mut pending, &*listener).await;
        tracing::warn!("the connection that tells of changed configuration is lost");
        connected = line.again(&keys).await;
        reader.notify().await;
        for key in &keys {
            pending.add(key.clone());
        }
    }
}

/// Tells of changes until the connection is lost.
async fn follow(
    line: &Line,
    connected: &mut Connected,
    reader: &Reader,
    pending: &mut Pending,
    listener: &dyn Listener,
) {
    let mut alive = interval(ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let Some(key) = pending.take() else {
            match next(line, connected, &mut alive).await {
                Some(key) => pending.add(key),
                None => return,
            }
            continue;
        };
        let mut told = pin!(tell(reader, key, listener));
        loop {
            tokio::select! {
                () = &mut told => break,
                key = next(line, connected, &mut alive) => match key {
                    Some(key) => pending.add(key),
                    None => {
                        told.await;
                        return;
                    }
                },
            }
        }
    }
}

/// The next key that changed; `None` when the connection is lost.
async fn next(line: &Line, connected: &mut Connected, alive: &mut tokio::time::Interval) -> Option<String> {
    loop {
        tokio::select! {
            message = connected.stream.next() => {
                let message = message?;
                match message.get_channel_name().strip_prefix(&line.prefix) {
                    Some(key) => return Some(key.to_owned()),
                    None => continue,
                }
            }
            _ = alive.tick() => {
                let answered = timeout(line.answer, connected.sink.ping::<::redis::Value>()).await;
                if !matches!(answered, Ok(Ok(_))) {
                    return None;
                }
            }
        }
    }
}

async fn tell(reader: &Reader, key: String, listener: &dyn Listener) {
    match reader.items(std::slice::from_ref(&key)).await {
        Ok(mut items) => {
            // What is gone is told as an item that is empty.
            items.entry(key).or_insert_with(Item::default);
            listener.changed(items).await;
        }
        Err(error) => tracing::warn!(%error, "configuration that changed cannot be read"),
    }
}
