//! One subscription at the store: deliveries one way, what became of them the other.
//!
//! One idea: the store gives no more than the window at a time, and takes back what is not settled when the stream is lost; a
//! lost stream is opened again, later and later, as long as somebody receives. Must never say that a message was handled
//! before it was, nor end before what was settled has been said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use palladium_component::pubsub::{Message, Outcome, Settled, Supply};
use palladium_proto::store as pb;
use palladium_tasks::{Backoff, Shutdown, Tasks};
use pb::subscribe_request::Word;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::bus::{Settings, Way};
use super::late::{Arrived, Late};

/// Words that may wait to be sent.
const WORDS: usize = 64;
/// How long messages under way may take after the subscription has ended, and when the component is closed.
const DRAIN: Duration = Duration::from_secs(30);
const DRAIN_AT_CLOSE: Duration = Duration::from_secs(1);
/// How long the store may take to write down what was settled last.
const GOODBYE: Duration = Duration::from_millis(1500);
/// How long opening a stream may take.
const OPEN: Duration = Duration::from_secs(30);

/// An open stream.
pub(super) struct Stream {
    words: mpsc::Sender<pb::SubscribeRequest>,
    deliveries: Streaming<pb::Delivery>,
}

/// See the module.
pub(super) struct Receiver {
    way: Way,
    settings: Arc<Settings>,
    topic: String,
    hands: Arc<Hands>,
}

/// What the tasks of single messages share.
struct Hands {
    late: Mutex<Late>,
    /// Where words go; `None` while there is no stream.
    words: Mutex<Option<mpsc::Sender<pb::SubscribeRequest>>>,
    /// The subscription has ended: what is dropped goes to somebody else at once.
    ending: AtomicBool,
    delay_ms: u32,
}

/// Why a stream is read no more.
enum Ended {
    /// Nobody receives; the stream is still good.
    Unwanted(Box<Stream>),
    Lost(Status),
}

impl Receiver {
    pub(super) fn new(way: Way, settings: Arc<Settings>, topic: String) -> Self {
        let delay_ms = u32::try_from(settings.redeliver.as_millis()).unwrap_or(u32::MAX);
        Receiver {
            way,
            settings,
            topic,
            hands: Arc::new(Hands {
                late: Mutex::default(),
                words: Mutex::default(),
                ending: AtomicBool::new(false),
                delay_ms,
            }),
        }
    }

    /// Opens a stream: the group is on disk when this returns.
    pub(super) async fn open(&self) -> Result<Stream, Status> {
        let (words, said) = mpsc::channel(WORDS);
        let start = pb::Start {
            topic: self.topic.clone(),
            newest: self.settings.newest,
            window: Some(pb::Window {
                messages: self.settings.concurrency,
            }),
        };
        // There is room, and the other end lives.
        let _ = words.try_send(saying(Word::Start(start)));
        let request = self.way.request(ReceiverStream::new(said));
        let deliveries = self.way.client().subscribe(request).await?.into_inner();
        Ok(Stream { words, deliveries })
    }

    /// Until nobody receives any more.
    pub(super) async fn run(self, first: Stream, supply: Supply, stop: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut tasks = Tasks::new();
        let mut stream = Some(first);
        let unwanted = async {
            tokio::select! {
                () = supply.unwanted() => {}
                () = stop.wait() => {}
            }
        };
        tokio::pin!(unwanted);
        loop {
            let opened = match stream.take() {
                Some(opened) => Ok(opened),
                None => tokio::select! {
                    biased;
                    () = &mut unwanted => return,
                    opened = timeout(OPEN, self.open()) => {
                        opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("the managed broker did not answer in time")))
                    }
                },
            };
            let ended = match opened {
                Ok(opened) => {
                    self.read(opened, &supply, unwanted.as_mut(), &mut tasks, &mut backoff)
                        .await
                }
                Err(status) => Ended::Lost(status),
            };
            match ended {
                Ended::Unwanted(stream) => return self.finish(*stream, tasks, &stop).await,
                Ended::Lost(status) => {
                    tracing::warn!(topic = self.topic, %status, "a subscription at the managed broker is opened again");
                }
            }
            tokio::select! {
                biased;
                () = &mut unwanted => return,
                () = sleep(backoff.next_delay()) => {}
            }
        }
    }

    async fn read(
        &self,
        mut stream: Stream,
        supply: &Supply,
        mut unwanted: std::pin::Pin<&mut impl Future<Output = ()>>,
        tasks: &mut Tasks,
        backoff: &mut Backoff,
    ) -> Ended {
        *self.hands.words() = Some(stream.words.clone());
        let lost = loop {
            let delivery = tokio::select! {
                biased;
                () = &mut unwanted => return Ended::Unwanted(Box::new(stream)),
                delivery = stream.deliveries.message() => delivery,
            };
            let delivery = match delivery {
                Ok(Some(delivery)) => delivery,
                Ok(None) => break Status::unavailable("the managed broker ended the subscription"),
                Err(status) => break status,
            };
            backoff.reset();
            let (token, message) = (delivery.token, delivery.message.unwrap_or_default());
            match self.hands.arrived(&token) {
                Arrived::UnderWay => continue,
                Arrived::Handled => {
                    self.hands.say(&token, pb::Outcome::Done).await;
                    continue;
                }
                Arrived::New => {}
            }
            let Some(settled) = supply.deliver(self.received(message)).await else {
                self.hands.give_back(&token, pb::Outcome::Unspecified).await;
                return Ended::Unwanted(Box::new(stream));
            };
            tasks.spawn("pubsub-diagrid-message", self.hands.clone().watch(token, settled));
        };
        *self.hands.words() = None;
        Ended::Lost(lost)
    }

    fn received(&self, message: pb::Message) -> Message {
        Message {
            topic: self.topic.clone(),
            data: message.data,
            metadata: message.metadata,
            content_type: Some(message.content_type).filter(|kind| !kind.is_empty()),
        }
    }

    /// Takes no more, lets what is under way be settled, and waits until that is on disk.
    async fn finish(self, stream: Stream, tasks: Tasks, stop: &Shutdown) {
        let Stream { words, mut deliveries } = stream;
        self.hands.ending.store(true, Ordering::Relaxed);
        let _ = words.send(saying(Word::Window(pb::Window { messages: 0 }))).await;
        let hands = self.hands.clone();
        let under_way = async {
            let settled = tasks.drain(DRAIN);
            tokio::pin!(settled);
            let overdue = async {
                stop.wait().await;
                sleep(DRAIN_AT_CLOSE).await;
            };
            tokio::select! {
                settled = &mut settled => settled.is_ok(),
                () = overdue => false,
            }
        };
        tokio::pin!(under_way);
        let settled = loop {
            tokio::select! {
                settled = &mut under_way => break settled,
                delivery = deliveries.message() => match delivery {
                    // On its way when the window was closed: for somebody else.
                    Ok(Some(delivery)) => match hands.arrived(&delivery.token) {
                        Arrived::New => {
                            hands.give_back(&delivery.token, pb::Outcome::Unspecified).await;
                        }
                        Arrived::Handled => hands.say(&delivery.token, pb::Outcome::Done).await,
                        Arrived::UnderWay => {}
                    },
                    Ok(None) | Err(_) => break false,
                },
            }
        };
        if !settled {
            tracing::debug!(topic = self.topic, "messages stay with the managed broker");
        }
        // The last word has been said: the answer ends when all is on disk.
        *hands.words() = None;
        drop(words);
        let rest = async { while let Ok(Some(_)) = deliveries.message().await {} };
        let _ = timeout(GOODBYE, rest).await;
    }
}

impl Hands {
    /// Panics under these locks leave what is still whole.
    fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn words(&self) -> MutexGuard<'_, Option<mpsc::Sender<pb::SubscribeRequest>>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not held over what follows from it.
    fn arrived(&self, token: &Bytes) -> Arrived {
        self.late().arrived(token)
    }

    /// Follows one message to its end. A word that cannot be said, because the store is away, is said when the store
    /// delivers the message again.
    async fn watch(self: Arc<Self>, token: Bytes, settled: Settled) {
        match settled.outcome().await {
            Some(Outcome::Done) => {
                self.late().handled(&token);
                self.say(&token, pb::Outcome::Done).await;
            }
            Some(Outcome::Failed) => self.give_back(&token, pb::Outcome::Again).await,
            None if self.ending.load(Ordering::Relaxed) => self.give_back(&token, pb::Outcome::Unspecified).await,
            // Whoever drops messages without a word and goes on is not to spin.
            None => self.give_back(&token, pb::Outcome::Again).await,
        }
    }

    async fn give_back(&self, token: &Bytes, outcome: pb::Outcome) {
        self.late().given_back(token);
        self.say(token, outcome).await;
    }

    async fn say(&self, token: &Bytes, outcome: pb::Outcome) {
        let words = self.words().clone();
        let settle = pb::Settle {
            token: token.clone(),
            outcome: outcome.into(),
            delay_ms: self.delay_ms,
        };
        if let Some(words) = words {
            let _ = words.send(saying(Word::Settle(settle))).await;
        }
    }
}

fn saying(word: Word) -> pb::SubscribeRequest {
    pb::SubscribeRequest { word: Some(word) }
}
