//! Managed publish/subscribe, served to Dapr Servers.
//!
//! One idea: as for state, a call first becomes a scope; the group that a caller receives for is part of it, from the agent's
//! table or the App ID of the certificate, so that nobody can ask for another one's messages. Must never answer a publish
//! before its commit, nor let a subscription outlive its permission.

use std::sync::Arc;
use std::time::Duration;

use palladium_http::Budget;
use palladium_proto::store as pb;
use pb::bus_server::Bus as Protocol;
use pb::subscribe_request::Word as Said;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::scope::{self, Scope};
use super::status;
use crate::access::Access;
use crate::bus::{Bus, Consumer, How, MAX_WINDOW, Place, Seat, Word};
use crate::projects::Projects;
use crate::rows::{BusWork, LONGEST_NAME, Outcome, Sealed, Token, Work, new_id, now_ms, part};

/// Messages in one call.
const MOST_MESSAGES: usize = 10_000;
/// How long a consumer that leaves waits for what it settled to be on disk.
const GOODBYE: Duration = Duration::from_secs(10);

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct BusService {
    access: Access,
    projects: Arc<Projects>,
    bus: Bus,
}

impl BusService {
    pub(crate) fn new(access: Access, projects: Arc<Projects>, bus: Bus) -> Self {
        BusService { access, projects, bus }
    }

    async fn join(&self, scope: &Scope, start: &pb::Start) -> Result<Place, Status> {
        let project = self.projects.get(&scope.project).await.map_err(status::storage)?;
        let (asked, access) = (scope.clone(), self.access.clone());
        let work = BusWork::Join {
            component: scope.component.clone(),
            topic: start.topic.clone(),
            group: scope.group()?,
            app: scope.app.clone(),
            oldest: !start.newest,
            limits: self.bus.limits().clone(),
            permitted: Box::new(move || asked.still_permitted(&access)),
        };
        match project.submit(Work::Bus(work)).await.map_err(status::storage)? {
            Outcome::Joined(joined) => Ok(Place {
                id: scope.project.clone(),
                project,
                component: scope.component.clone(),
                topic: start.topic.clone(),
                joined,
            }),
            Outcome::Refused(reason) => Err(Status::resource_exhausted(reason)),
            _ => Err(scope::not_permitted()),
        }
    }
}

#[tonic::async_trait]
impl Protocol for BusService {
    async fn open(&self, request: Request<pb::OpenRequest>) -> Result<Response<pb::OpenResponse>, Status> {
        scope::soon_on_the_bus(&self.access, &request).await?.group()?;
        Ok(Response::new(pb::OpenResponse {}))
    }

    async fn publish(&self, request: Request<pb::PublishRequest>) -> Result<Response<pb::PublishResponse>, Status> {
        let scope = scope::on_the_bus(&self.access, &request)?;
        let request = request.into_inner();
        let topic = topic(request.topic)?;
        if request.messages.is_empty() || request.messages.len() > MOST_MESSAGES {
            let reason = format!("a call has between 1 and {MOST_MESSAGES} messages");
            return Err(Status::invalid_argument(reason));
        }
        let project = self.projects.get(&scope.project).await.map_err(status::storage)?;
        let (now, longest) = (now_ms(), self.bus.limits().retention_ms());
        let sealed = request.messages.iter().map(|message| {
            let ttl = match message.ttl_seconds {
                0 => longest,
                seconds => i64::from(seconds).saturating_mul(1000).min(longest),
            };
            let id = new_id();
            let sealed = project.seal_message(&scope.component, &topic, &id, message);
            Ok::<_, Status>(Sealed {
                id,
                sealed: sealed.map_err(status::storage)?,
                part: part(&message.partition_key),
                expires_ms: now.saturating_add(ttl),
            })
        });
        let messages = sealed.collect::<Result<Vec<_>, _>>()?;
        let (component, id, access) = (scope.component.clone(), scope.project.clone(), self.access.clone());
        let work = BusWork::Publish {
            component,
            topic,
            messages,
            limits: self.bus.limits().clone(),
            // With what the call holds of the budget, as for state.
            permitted: Box::new(move || scope.still_permitted(&access)),
        };
        let outcome = project.submit(Work::Bus(work)).await.map_err(status::storage)?;
        let Outcome::Published(published) = outcome else {
            return Err(scope::not_permitted());
        };
        if let Some(topic) = published.topic {
            self.bus.published(&id, topic);
        }
        match published.refused {
            Some(reason) if published.taken == 0 => Err(Status::resource_exhausted(reason)),
            reason => Ok(Response::new(pb::PublishResponse {
                taken: u32::try_from(published.taken).unwrap_or(u32::MAX),
                reason: reason.unwrap_or_default(),
            })),
        }
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<pb::SubscribeRequest>>,
    ) -> Result<Response<BoxStream<pb::Delivery>>, Status> {
        let scope = scope::on_the_bus(&self.access, &request)?;
        let budget = request.extensions().get::<Budget>().cloned();
        let mut words = request.into_inner();
        let Some(Said::Start(mut start)) = words.message().await?.and_then(|first| first.word) else {
            return Err(Status::invalid_argument("a subscription begins with Start"));
        };
        start.topic = topic(start.topic)?;
        let seat = self.bus.seat(&scope.project).ok_or_else(|| {
            Status::resource_exhausted("the project has all the subscriptions to managed topics that it may have open")
        })?;
        let place = self.join(&scope, &start).await?;
        // A consumer is never given more than its window, so that there is room for an error besides.
        let (out, deliveries) = mpsc::channel(MAX_WINDOW + 8);
        let (number, window) = (self.bus.number(), start.window.unwrap_or_default().messages);
        let consumer = Consumer::new(number, window as usize, out.clone(), budget);
        let group = self.bus.join(&place, consumer);
        let group = group.ok_or_else(|| Status::resource_exhausted("the group is busy: try again"))?;
        let subscriber = Subscriber {
            scope,
            number,
            group,
            out,
            access: self.access.clone(),
            bus: self.bus.clone(),
            _seat: seat,
        };
        self.bus.spawn("bus-subscriber", subscriber.run(words));
        Ok(Response::new(Box::pin(ReceiverStream::new(deliveries))))
    }
}

/// One open subscription, and what it says.
struct Subscriber {
    scope: Scope,
    number: u64,
    group: mpsc::Sender<Word>,
    out: mpsc::Sender<Result<pb::Delivery, Status>>,
    access: Access,
    bus: Bus,
    _seat: Seat,
}

impl Subscriber {
    async fn run(self, mut words: Streaming<pb::SubscribeRequest>) {
        let mut tables = self.access.changes();
        let shutdown = self.bus.shutdown().clone();
        let last = loop {
            if !self.scope.still_permitted(&self.access) {
                break Some(scope::not_permitted());
            }
            tokio::select! {
                said = words.message() => match said {
                    Ok(Some(said)) => {
                        if self.say(said).await.is_err() {
                            break None;
                        }
                    }
                    // Its last word: the answer ends when all is on disk. Or the connection is lost.
                    Ok(None) | Err(_) => break None,
                },
                changed = tables.changed() => {
                    if changed.is_err() {
                        break Some(scope::not_permitted());
                    }
                }
                () = self.out.closed() => break None,
                () = shutdown.wait() => break Some(Status::unavailable("the managed store is closing")),
            }
        };
        let (told, written) = oneshot::channel();
        if self.group.send(Word::Leave(self.number, told)).await.is_ok() {
            let _ = timeout(GOODBYE, written).await;
        }
        if let Some(status) = last {
            let _ = self.out.try_send(Err(status));
        }
    }

    /// Passes a word on. An error when nobody hears it, or it is none.
    async fn say(&self, said: pb::SubscribeRequest) -> Result<(), ()> {
        let word = match said.word {
            Some(Said::Window(window)) => Word::Window(self.number, window.messages as usize),
            Some(Said::Settle(settle)) => {
                let how = match settle.outcome() {
                    pb::Outcome::Done => How::Done,
                    pb::Outcome::Again => How::Again(Duration::from_millis(settle.delay_ms.into())),
                    pb::Outcome::Unspecified => How::Again(Duration::ZERO),
                };
                Word::Settle(self.number, Token::from_bytes(&settle.token).ok_or(())?, how)
            }
            Some(Said::Start(_)) | None => return Err(()),
        };
        self.group.send(word).await.map_err(|_| ())
    }
}

fn topic(name: String) -> Result<String, Status> {
    match name.len() {
        0 => Err(Status::invalid_argument("a topic has a name")),
        length if length > LONGEST_NAME => {
            let reason = format!("a topic's name has at most {LONGEST_NAME} bytes");
            Err(Status::invalid_argument(reason))
        }
        _ => Ok(name),
    }
}
