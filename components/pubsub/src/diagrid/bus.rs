//! The opened component: calls to the store, and who owns the tasks that receive.
//!
//! One idea: a call is repeated only while it certainly never left this process, for a store that is just being started
//! again; what may have arrived is left to the caller. Must never repeat a publish whose fate is unknown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use palladium_component::pubsub::{
    BulkPublishFailure, BulkPublishRequest, Feature, Features, PubSub, PublishRequest, SubscribeRequest, Subscription,
    supply,
};
use palladium_component::{PubsubError, RemoteError, Reply};
use palladium_components_pluggable::stream;
use palladium_proto::store as pb;
use palladium_tasks::{Shutdown, Tasks};
use pb::bus_client::BusClient;
use tokio::time::{sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::publish;
use super::receive::Receiver;

/// Names the component towards the store.
const HEADER: &str = "palladium-component";
/// Greatest message in either direction.
const MAX_MESSAGE: usize = 32 << 20;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const REPEAT_FOR: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// How long what is under way may take when the component is closed.
const DRAIN: Duration = Duration::from_secs(3);

/// What the component says.
pub(super) struct Settings {
    pub(super) ttl_seconds: u32,
    pub(super) redeliver: Duration,
    pub(super) concurrency: u32,
    pub(super) newest: bool,
}

/// The way to the store.
#[derive(Clone)]
pub(super) struct Way {
    channel: Channel,
    header: MetadataValue<Ascii>,
}

impl Way {
    pub(super) fn client(&self) -> BusClient<Channel> {
        let client = BusClient::new(self.channel.clone());
        client
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(HEADER, self.header.clone());
        request
    }

    /// Calls, again while the store cannot be reached.
    pub(super) async fn call<M: Clone, R, F>(
        &self,
        message: M,
        send: impl Fn(BusClient<Channel>, Request<M>) -> F,
    ) -> Result<R, Status>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let request = self.request(message.clone());
            let status = match timeout(CALL_TIMEOUT, send(self.client(), request)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("the managed broker did not answer in time"),
            };
            if !stream::never_sent(&status) || started.elapsed() + pause > REPEAT_FOR {
                return Err(status);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The driver error that a status means.
pub(super) fn to_error(status: &Status) -> PubsubError {
    use std::error::Error as _;
    let remote = RemoteError {
        grpc_code: status.code() as u32,
        message: status.message().to_owned(),
        answer: None,
    };
    // A cause is never sent: such a status was made here, of a connection that broke.
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => PubsubError::Unavailable(remote.to_string()),
        _ if status.source().is_some() => PubsubError::Unavailable(remote.to_string()),
        Code::InvalidArgument => PubsubError::Invalid(remote.to_string()),
        _ => PubsubError::Remote(Box::new(remote)),
    }
}

pub(super) struct Bus {
    way: Way,
    settings: Arc<Settings>,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl Bus {
    pub(super) fn new(channel: Channel, header: MetadataValue<Ascii>, settings: Settings) -> Self {
        Bus {
            way: Way { channel, header },
            settings: Arc::new(settings),
            stop: Shutdown::new(),
            tasks: Mutex::default(),
        }
    }

    /// Whether the store knows the component as this App ID's.
    pub(super) async fn open(&self) -> Result<(), PubsubError> {
        let opened = self.way.call(pb::OpenRequest {}, |mut client, request| async move {
            client.open(request).await
        });
        opened.await.map(|_| ()).map_err(|status| to_error(&status))
    }

    /// A panic under this lock leaves a set that is still whole.
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands messages of one topic over; how many of them, from the first on, the store has, and why not the others.
    async fn send(&self, topic: &str, messages: Vec<pb::Message>) -> Result<(usize, String), PubsubError> {
        let request = pb::PublishRequest {
            topic: topic.to_owned(),
            messages,
        };
        let sent = self.way.call(
            request,
            |mut client, request| async move { client.publish(request).await },
        );
        let answer = sent.await.map_err(|status| to_error(&status))?;
        Ok((answer.taken as usize, answer.reason))
    }

    async fn send_many(&self, request: &BulkPublishRequest) -> Vec<BulkPublishFailure> {
        let mut failures = Vec::new();
        let mut fail = |entry_id: &str, error: PubsubError| {
            failures.push(BulkPublishFailure {
                entry_id: entry_id.to_owned(),
                error,
            });
        };
        let (mut messages, mut ids) = (Vec::new(), Vec::new());
        for entry in &request.entries {
            match publish::entry(request, entry, self.settings.ttl_seconds) {
                Ok(message) => {
                    messages.push(message);
                    ids.push(entry.entry_id.as_str());
                }
                Err(error) => fail(&entry.entry_id, error),
            }
        }
        // Nothing goes after what was refused: the order of what is there is that of the request.
        let mut refused: Option<PubsubError> = None;
        let mut at = 0;
        for chunk in publish::chunks(messages) {
            let ids = &ids[at..at + chunk.len()];
            at += chunk.len();
            let sent = if refused.is_none() {
                self.send(&request.topic, chunk).await
            } else {
                Ok((0, String::new()))
            };
            let taken = match sent {
                Ok((taken, reason)) => {
                    if taken < ids.len() && refused.is_none() {
                        refused = Some(full(reason));
                    }
                    taken
                }
                Err(error) => {
                    refused = Some(error);
                    0
                }
            };
            for id in ids.iter().skip(taken) {
                fail(id, refused.clone().unwrap_or(PubsubError::Closed));
            }
        }
        failures
    }

    async fn receive(&self, request: SubscribeRequest) -> Result<Subscription, PubsubError> {
        let receiver = Receiver::new(self.way.clone(), self.settings.clone(), request.topic);
        let first = timeout(CALL_TIMEOUT, receiver.open()).await;
        let first = first.map_err(|_| PubsubError::Unavailable("the managed broker did not answer in time".into()))?;
        let first = first.map_err(|status| to_error(&status))?;
        let (supply, subscription) = supply(self.settings.concurrency as usize);
        self.tasks()
            .spawn("pubsub-diagrid", receiver.run(first, supply, self.stop.clone()));
        Ok(subscription)
    }
}

/// As the store says it of a single message.
fn full(reason: String) -> PubsubError {
    PubsubError::Remote(Box::new(RemoteError {
        grpc_code: Code::ResourceExhausted as u32,
        message: reason,
        answer: None,
    }))
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        Features::NONE.with(Feature::MessageTtl).with(Feature::BulkPublish)
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        if self.stop.is_triggered() {
            return Reply::ready(Err(PubsubError::Closed));
        }
        Reply::wait(async move {
            let message = publish::message(request, self.settings.ttl_seconds)?;
            match self.send(&request.topic, vec![message]).await? {
                (0, reason) => Err(full(reason)),
                _ => Ok(()),
            }
        })
    }

    fn bulk_publish<'a>(&'a self, request: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        if self.stop.is_triggered() {
            return Reply::ready(Err(PubsubError::Closed));
        }
        Reply::wait(async move { Ok(self.send_many(request).await) })
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        if self.stop.is_triggered() {
            return Reply::ready(Err(PubsubError::Closed));
        }
        Reply::wait(self.receive(request))
    }

    fn ping(&self) -> Reply<'_, (), PubsubError> {
        Reply::wait(self.open())
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks());
        Reply::wait(async move {
            // What is still under way was not settled: the store delivers it again.
            if let Err(overdue) = tasks.drain(DRAIN).await {
                tracing::debug!(%overdue, "closed with messages under way");
            }
            Ok(())
        })
    }
}
