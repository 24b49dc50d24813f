//! Receiving from one queue: hand over, wait for the end, settle.
//!
//! One idea: the server hands out no more than `prefetch` messages that are not settled, on a channel that is this queue's
//! alone; a lost channel is made again after a pause, and the server gives out again what was not settled on it. At the end
//! what was read ahead goes back at once, what is under way may finish. Must never settle a message twice, or one that nobody
//! said anything about.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};
use palladium_component::reply::BoxFuture;
use palladium_tasks::Tasks;
use tokio::time::{sleep, timeout};

use crate::link::{ANSWER, GOODBYE, close};
use crate::{Fault, Link};

/// How long messages under way may take after the end.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a message stays here that failed although it came again already: one that always fails would go round and round
/// at full speed otherwise.
const AGAIN: Duration = Duration::from_millis(500);
/// Messages not settled, when a component sets no bound: without one the server would send all it has, and each may be as
/// large as the server lets them be.
const UNBOUNDED: u16 = 32;

/// What is said to the server about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is done with.
    Done,
    /// It is to be given out again.
    Again,
    /// It is not to be given out again here; the server drops it, or puts it where such ones go.
    Reject,
}

/// Whom messages are for.
pub trait Taker: Send + Sync + 'static {
    /// Puts onto the server what is needed to receive.
    fn declare<'a>(&'a self, channel: &'a Channel) -> BoxFuture<'a, Result<(), Fault>>;

    /// Takes one message, waiting for room, and says how it will end; `None` when no more are taken.
    fn take(&self, delivery: Delivery) -> BoxFuture<'_, Option<BoxFuture<'static, Ending>>>;

    /// Returns once no more are taken.
    fn unwanted(&self) -> BoxFuture<'_, ()>;
}

/// A way in.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The connection.
    pub link: Arc<Link>,
    /// The queue.
    pub queue: ShortString,
    /// Messages not settled at a time; 0 = as many as are good for this side.
    pub prefetch: u16,
    /// Whether a message counts as settled as soon as it is here.
    pub auto_ack: bool,
}

/// A queue that is being received from.
#[derive(Debug)]
struct Open {
    channel: Channel,
    consumer: Consumer,
}

/// Why receiving ended.
enum End {
    Unwanted,
    Lost(String),
}

impl Intake {
    /// Begins to receive. What is given back receives until nobody wants more, and outlives lost connections.
    ///
    /// # Errors
    /// When it cannot begin: the server cannot be reached, or refuses.
    pub async fn start<T: Taker>(self, taker: Arc<T>) -> Result<impl Future<Output = ()> + Send + 'static, Fault> {
        let first = self.open(&*taker).await?;
        Ok(self.run(taker, first))
    }

    async fn open<T: Taker>(&self, taker: &T) -> Result<Open, Fault> {
        let (channel, _) = self.link.channel().await?;
        let opening = async {
            taker.declare(&channel).await?;
            let prefetch = if self.prefetch == 0 { UNBOUNDED } else { self.prefetch };
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let (queue, tag) = (self.queue.clone(), ShortString::default());
            let consuming = channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default());
            Ok(consuming.await?)
        };
        match timeout(ANSWER, opening).await {
            Ok(Ok(consumer)) => Ok(Open { channel, consumer }),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::late("receiving", ANSWER)),
        }
    }

    async fn run<T: Taker>(self, taker: Arc<T>, first: Open) {
        let mut next = Some(first);
        loop {
            let reason = match next.take() {
                Some(open) => match self.receive(open, &*taker).await {
                    End::Unwanted => return,
                    End::Lost(reason) => reason,
                },
                None => {
                    let opened = tokio::select! {
                        () = taker.unwanted() => return,
                        opened = self.open(&*taker) => opened,
                    };
                    match opened {
                        Ok(open) => {
                            tracing::info!(queue = %self.queue, "receiving again");
                            next = Some(open);
                            continue;
                        }
                        Err(fault) => fault.to_string(),
                    }
                }
            };
            tracing::warn!(queue = %self.queue, pause = ?self.link.pause, "not receiving: {reason}");
            tokio::select! {
                () = taker.unwanted() => return,
                () = sleep(self.link.pause.max(Duration::from_millis(100))) => {}
            }
        }
    }

    async fn receive<T: Taker>(&self, mut open: Open, taker: &T) -> End {
        let mut tasks = Tasks::new();
        loop {
            let next = tokio::select! {
                () = taker.unwanted() => break,
                next = open.consumer.next() => next,
            };
            let delivery = match next {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return End::Lost(Fault::from(error).to_string()),
                None => return End::Lost("the server ended it: the queue may be gone".into()),
            };
            let (acker, came_again) = (delivery.acker.clone(), delivery.redelivered);
            if self.auto_ack {
                settle(&acker, Ending::Done, &self.queue).await;
            }
            let Some(ending) = taker.take(delivery).await else {
                settle(&acker, Ending::Again, &self.queue).await;
                break;
            };
            if self.auto_ack {
                tasks.spawn("rabbitmq-message", async move {
                    let _: Ending = ending.await;
                });
                continue;
            }
            let queue = self.queue.clone();
            tasks.spawn("rabbitmq-message", async move {
                let ending = ending.await;
                if ending == Ending::Again && came_again {
                    sleep(AGAIN).await;
                }
                settle(&acker, ending, &queue).await;
            });
        }
        self.end(open, tasks).await;
        End::Unwanted
    }

    async fn end(&self, mut open: Open, tasks: Tasks) {
        let cancel = open
            .channel
            .basic_cancel(open.consumer.tag(), BasicCancelOptions::default());
        let _ = timeout(GOODBYE, cancel).await;
        let give_back = async {
            while let Some(Ok(delivery)) = open.consumer.next().await {
                settle(&delivery.acker, Ending::Again, &self.queue).await;
            }
        };
        let _ = timeout(GOODBYE, give_back).await;
        if let Err(overdue) = tasks.drain(DRAIN).await {
            tracing::warn!(queue = %self.queue, %overdue, "messages stay with the server");
        }
        close(&open.channel).await;
    }
}

async fn settle(acker: &Acker, ending: Ending, queue: &ShortString) {
    let say = async {
        match ending {
            Ending::Done => acker.ack(BasicAckOptions::default()).await,
            Ending::Again | Ending::Reject => {
                let requeue = ending == Ending::Again;
                acker
                    .nack(BasicNackOptions {
                        requeue,
                        ..BasicNackOptions::default()
                    })
                    .await
            }
        }
    };
    match timeout(ANSWER, say).await {
        Ok(Ok(true)) => {}
        // Its channel is gone, and with it the right to say anything.
        Ok(Ok(false)) | Err(_) => tracing::warn!(%queue, "a message cannot be settled and comes again"),
        Ok(Err(error)) => tracing::warn!(%queue, %error, "a message cannot be settled and comes again"),
    }
}
