//! The opened component: publishing, and who owns the tasks that receive.
//!
//! One idea: one connection for all short calls; every subscription has its own to wait on. Must never repeat an XADD: the
//! stream may have it already.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError, cmd};
use palladium_component::pubsub::{Features, PubSub, PublishRequest, SubscribeRequest, Subscription, supply};
use palladium_component::{PubsubError, Reply};
use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::Semaphore;

use super::Settings;
use super::receive::{Group, read_new, take_again};
use crate::room::Room;

/// How long acknowledgements under way may take when the component is closed.
const DRAIN: Duration = Duration::from_millis(1500);

/// What a stream does not keep.
pub(super) enum Trim {
    /// It keeps everything.
    Never,
    /// It keeps about so many messages.
    Length(u64),
    /// It keeps about so long.
    Age(Duration),
}

pub(super) struct Bus {
    connection: ConnectionManager,
    client: Client,
    waiting: ConnectionManagerConfig,
    settings: Arc<Settings>,
    trim: Trim,
    /// Messages under way, of all subscriptions.
    places: Arc<Semaphore>,
    /// Their bytes.
    room: Room,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl Bus {
    pub(super) fn new(
        connection: ConnectionManager,
        client: Client,
        waiting: ConnectionManagerConfig,
        settings: Settings,
        trim: Trim,
    ) -> Self {
        Bus {
            connection,
            client,
            waiting,
            places: Arc::new(Semaphore::new(settings.concurrency)),
            room: Room::default(),
            settings: Arc::new(settings),
            trim,
            stop: Shutdown::new(),
            tasks: Mutex::default(),
        }
    }

    /// A panic under this lock leaves a set that is still whole.
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: &PublishRequest) -> Result<(), PubsubError> {
        let metadata =
            serde_json::to_vec(&request.metadata).map_err(|error| PubsubError::Invalid(error.to_string()))?;
        let mut add = cmd("XADD");
        add.arg(&request.topic);
        match &self.trim {
            Trim::Never => {}
            Trim::Length(length) => {
                add.arg("MAXLEN").arg("~").arg(*length);
            }
            Trim::Age(age) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let oldest = now.saturating_sub(*age).as_millis();
                add.arg("MINID").arg("~").arg(format!("{oldest}-0"));
            }
        }
        add.arg("*")
            .arg("data")
            .arg(&request.data[..])
            .arg("metadata")
            .arg(metadata);
        let added: Result<String, _> = add.query_async(&mut self.connection.clone()).await;
        added.map(|_| ()).map_err(|error| failed("error from publish", &error))
    }

    async fn receive(&self, request: SubscribeRequest) -> Result<Subscription, PubsubError> {
        let group = Group {
            topic: request.topic,
            settings: self.settings.clone(),
            connection: self.connection.clone(),
            places: self.places.clone(),
            room: self.room.clone(),
            held: Mutex::default(),
        };
        group
            .create()
            .await
            .map_err(|error| failed("error from subscribe", &error))?;
        let waiting = ConnectionManager::new_with_config(self.client.clone(), self.waiting.clone()).await;
        let waiting = waiting.map_err(|error| failed("error from subscribe", &error))?;
        let (supply, subscription) = supply(self.settings.queue_depth);
        let group = Arc::new(group);
        let mut tasks = self.tasks();
        tasks.spawn(
            "pubsub-redis-new",
            read_new(group.clone(), waiting, supply.clone(), self.stop.clone()),
        );
        tasks.spawn("pubsub-redis-again", take_again(group, supply, self.stop.clone()));
        Ok(subscription)
    }
}

fn failed(what: &str, error: &RedisError) -> PubsubError {
    PubsubError::Unavailable(format!("redis streams: {what}: {error}"))
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        Features::NONE
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        if self.stop.is_triggered() {
            return Reply::ready(Err(PubsubError::Closed));
        }
        Reply::wait(self.send(request))
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        if self.stop.is_triggered() {
            return Reply::ready(Err(PubsubError::Closed));
        }
        Reply::wait(self.receive(request))
    }

    fn ping(&self) -> Reply<'_, (), PubsubError> {
        Reply::wait(async {
            let answer: Result<String, _> = cmd("PING").query_async(&mut self.connection.clone()).await;
            answer.map(|_| ()).map_err(|error| failed("error from ping", &error))
        })
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks());
        Reply::wait(async move {
            // What is still under way stays pending and comes again.
            if let Err(overdue) = tasks.drain(DRAIN).await {
                tracing::debug!(%overdue, "closed with messages under way");
            }
            Ok(())
        })
    }
}
