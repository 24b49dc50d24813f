//! The connection on which a store hears of changes: one for all its subscriptions, made again when it is lost.
//!
//! One idea: one task owns it; subscriptions ask that task to listen, and it forgets those that are gone. Whoever
//! subscribed is answered when the server listens. Must never wait for a listener, or for the server without a bound.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::CallError;
use palladium_components_sql::postgresql::SERVER;
use palladium_components_sql::told;
use palladium_tasks::Backoff;
use serde_json::Value;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::member::Member;
use super::reader::late;

/// How often a silent connection is tried.
const ALIVE: Duration = Duration::from_secs(15);
/// Between attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// The library goes on trying to reach a server that refuses, as long as it is allowed to.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How to get such a connection.
pub(super) struct Dial {
    options: PgConnectOptions,
    timeout: Duration,
}

impl Dial {
    pub(super) fn new(options: PgConnectOptions, timeout: Duration) -> Self {
        Dial { options, timeout }
    }

    async fn connect(&self, channels: &BTreeSet<String>) -> Result<PgListener, CallError> {
        // The library takes it from a pool. One of its own, since it stays away for as long as anybody listens.
        let pool = PoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.timeout.min(LONGEST_WAIT))
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        self.within(async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen_all(channels.iter().map(String::as_str)).await?;
            Ok(listener)
        })
        .await
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, CallError> {
        match timeout(self.timeout, work).await {
            Ok(outcome) => outcome.map_err(|error| told(SERVER, &error)),
            Err(_) => Err(late(self.timeout)),
        }
    }
}

/// A subscription that wants to hear of changes.
pub(super) struct Join {
    pub(super) member: Arc<Member>,
    /// Told when the server listens, or why it does not.
    pub(super) answer: oneshot::Sender<Result<(), CallError>>,
}

/// What the task looks after.
pub(super) struct Line {
    dial: Dial,
    members: Vec<Arc<Member>>,
    channels: BTreeSet<String>,
    listener: Option<PgListener>,
}

enum Event {
    Join(Option<Join>),
    Left,
    Heard(Result<Option<PgNotification>, sqlx::Error>),
    Silent,
}

impl Line {
    pub(super) fn new(dial: Dial) -> Self {
        Line {
            dial,
            members: Vec::new(),
            channels: BTreeSet::new(),
            listener: None,
        }
    }

    /// Serves subscriptions until it is dropped. `left`: somebody is gone.
    pub(super) async fn run(mut self, mut joins: mpsc::Receiver<Join>, left: Arc<Notify>) {
        let mut alive = interval(ALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            if self.listener.is_none() && !self.members.is_empty() {
                match self.connect().await {
                    Ok(()) => backoff.reset(),
                    Err(error) => tracing::debug!(%error, "the subscription to configuration is not back yet"),
                }
            }
            let event = match &mut self.listener {
                Some(listener) => tokio::select! {
                    join = joins.recv() => Event::Join(join),
                    () = left.notified() => Event::Left,
                    heard = listener.try_recv() => Event::Heard(heard),
                    _ = alive.tick() => Event::Silent,
                },
                None if self.members.is_empty() => Event::Join(joins.recv().await),
                None => tokio::select! {
                    join = joins.recv() => Event::Join(join),
                    () = left.notified() => Event::Left,
                    () = sleep(backoff.next_delay()) => continue,
                },
            };
            match event {
                Event::Join(Some(join)) => self.join(join).await,
                Event::Join(None) => return,
                Event::Left => self.forget().await,
                Event::Heard(Ok(Some(notification))) => self.heard(notification.channel(), notification.payload()),
                Event::Heard(_) => self.lost(),
                Event::Silent => self.try_out().await,
            }
        }
    }

    /// Connects again; nobody knows what changed meanwhile.
    async fn connect(&mut self) -> Result<(), CallError> {
        self.listener = Some(self.dial.connect(&self.channels).await?);
        for member in &self.members {
            member.missed();
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.listener = None;
        tracing::warn!("the connection that tells of changed configuration is lost");
    }

    async fn join(&mut self, join: Join) {
        if join.member.is_gone() {
            return;
        }
        let listening = self.listen(&join.member.channel).await;
        if listening.is_ok() {
            self.members.push(join.member);
        } else {
            // Where nobody else listens there, the next connection need not either.
            self.forget().await;
        }
        let _ = join.answer.send(listening);
    }

    async fn listen(&mut self, channel: &str) -> Result<(), CallError> {
        let is_new = self.channels.insert(channel.to_owned());
        let Some(listener) = &mut self.listener else {
            return self.connect().await;
        };
        if !is_new {
            return Ok(());
        }
        let listening = self.dial.within(listener.listen(channel)).await;
        if listening.is_err() {
            self.lost();
        }
        listening
    }

    /// Forgets subscriptions that are gone, and channels that none is left for.
    async fn forget(&mut self) {
        self.members.retain(|member| !member.is_gone());
        if self.members.is_empty() {
            self.listener = None;
        }
        let wanted: BTreeSet<String> = self.members.iter().map(|member| member.channel.clone()).collect();
        let unwanted: Vec<String> = self.channels.difference(&wanted).cloned().collect();
        self.channels = wanted;
        for channel in unwanted {
            let Some(listener) = &mut self.listener else { return };
            if self.dial.within(listener.unlisten(&channel)).await.is_err() {
                self.lost();
            }
        }
    }

    fn heard(&self, channel: &str, payload: &str) {
        let Some(key) = key(payload) else {
            tracing::debug!(channel, "a notification names no row");
            return;
        };
        for member in self.members.iter().filter(|member| member.channel == channel) {
            member.changed(&key);
        }
    }

    async fn try_out(&mut self) {
        if let Some(listener) = &mut self.listener
            && self
                .dial
                .within(sqlx::raw_sql("SELECT 1").execute(listener))
                .await
                .is_err()
        {
            self.lost();
        }
    }
}

/// The key of the row that a notification is about. Dapr's trigger tells `{"table": …, "action": …, "data": <the row>}`.
pub(super) fn key(payload: &str) -> Option<String> {
    let told: Value = serde_json::from_str(payload).ok()?;
    let row = told.get("data")?.as_object()?;
    let key = row.iter().find(|(name, _)| name.eq_ignore_ascii_case("key"))?.1;
    key.as_str().map(str::to_owned)
}
