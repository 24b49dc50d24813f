//! Receiving: one member of a consumer group, for all topics of a component.
//!
//! One idea: takers say what they want and when they have enough of it; one task is the member, joins with the topics that are
//! wanted at the time, and begins anew when it is lost. Must never be two members: a group shares its partitions among them;
//! nor take in a topic that cannot be, because the member would have none of the others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use krafka::ConsumerRecord;
use palladium_component::reply::BoxFuture;
use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::news::News;
use crate::receive::run;
use crate::routes::Routes;
use crate::{Fault, Reach, Reading};

/// How long joining may take until it goes on by itself.
const READY: Duration = Duration::from_secs(20);
/// How long ending may take: records that are with takers, the last commit, leaving.
const END: Duration = Duration::from_secs(8);

/// Bytes of a topic's name.
const NAME: usize = 249;

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is done with.
    Done,
    /// It was not handled.
    Failed,
    /// Nobody said anything: it must come again.
    Unsaid,
}

/// Whom records are for.
pub trait Taker: Send + Sync + 'static {
    /// Takes one record, waiting for room, and says how it will end; `None` when no more are taken.
    fn take<'a>(&'a self, record: &'a ConsumerRecord) -> BoxFuture<'a, Option<BoxFuture<'static, Ending>>>;

    /// Returns once no more are taken.
    fn unwanted(&self) -> BoxFuture<'_, ()>;
}

/// What the member and the takers share.
pub(crate) struct Shared {
    pub(crate) reach: Reach,
    pub(crate) reading: Reading,
    pub(crate) routes: Arc<Routes>,
    pub(crate) stop: Shutdown,
    /// Topics of the last assignment.
    pub(crate) joined: watch::Sender<BTreeSet<String>>,
    /// What went wrong last, until it goes well again.
    pub(crate) fault: watch::Sender<Option<Fault>>,
    pub(crate) news: News,
}

/// A way in.
pub struct Intake {
    shared: Arc<Shared>,
    /// Empty until somebody wants something.
    tasks: Mutex<Tasks>,
}

/// Whether Kafka takes it for a topic's name.
fn is_topic(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME).contains(&name.len()) && name.bytes().all(is_plain) && name != "." && name != ".."
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intake")
    }
}

impl Intake {
    /// One that connects when somebody wants something.
    pub fn new(reach: Reach, reading: Reading) -> Self {
        Intake {
            shared: Arc::new(Shared {
                reach,
                reading,
                routes: Arc::new(Routes::new()),
                stop: Shutdown::new(),
                joined: watch::Sender::new(BTreeSet::new()),
                fault: watch::Sender::new(None),
                news: News::default(),
            }),
            tasks: Mutex::default(),
        }
    }

    /// Begins to receive topics for a taker; returns when the group has them, or goes on joining after a while.
    ///
    /// # Errors
    /// When a name can be no topic's, or the cluster cannot be reached, or refuses.
    pub async fn add(&self, topics: &[String], taker: Arc<dyn Taker>) -> Result<(), Fault> {
        if let Some(topic) = topics.iter().find(|topic| !is_topic(topic)) {
            return Err(Fault::Invalid(format!(
                "{topic:?} can be no topic: use 1 to {NAME} letters, digits, '.', '_' and '-', and not '.' or '..' alone"
            )));
        }
        let shared = self.shared.clone();
        let (mut joined, mut faults) = (shared.joined.subscribe(), shared.fault.subscribe());
        let number = shared.routes.add(topics, &taker);
        self.start(number, taker);
        let all_joined = async {
            let is_in = |joined: &BTreeSet<String>| topics.iter().all(|topic| joined.contains(topic));
            let _ = joined.wait_for(is_in).await;
        };
        let refused = async {
            let is_refused = |fault: &Option<Fault>| fault.as_ref().is_some_and(Fault::is_final);
            faults.mark_unchanged();
            loop {
                if faults.changed().await.is_err() || is_refused(&faults.borrow_and_update()) {
                    return;
                }
            }
        };
        let waiting = async {
            tokio::select! {
                () = all_joined => true,
                () = refused => false,
            }
        };
        let is_in_time = timeout(READY, waiting).await;
        if is_in_time == Ok(true) {
            return Ok(());
        }
        let fault = shared.fault.borrow().clone();
        match fault {
            Some(fault) => {
                shared.routes.remove(number);
                Err(fault)
            }
            None => {
                tracing::warn!(
                    group = shared.reading.group,
                    "still joining: messages come when others have let go"
                );
                Ok(())
            }
        }
    }

    /// The member, if there is none yet, and who takes note when a taker has enough.
    fn start(&self, number: u64, taker: Arc<dyn Taker>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            tasks.spawn("kafka-group", run(self.shared.clone()));
        }
        let shared = self.shared.clone();
        tasks.spawn("kafka-taker", async move {
            tokio::select! {
                () = taker.unwanted() => {}
                () = shared.stop.wait() => {}
            }
            shared.routes.remove(number);
        });
    }

    /// Hands nothing out from now on; what is with takers may still be settled.
    pub fn pause(&self) {
        self.shared.routes.pause();
    }

    /// Ends it; what was not settled by then stays with the cluster and comes again.
    pub async fn close(&self) {
        self.shared.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(overdue) = tasks.drain(END).await {
            tracing::debug!(%overdue, "closed with messages under way");
        }
        // Takers are told by this that nothing more comes.
        self.shared.routes.clear();
    }
}

#[cfg(test)]
mod tests {
    use palladium_component::{ComponentMetadata as _, OpenContext};

    use super::*;
    use crate::{KafkaMetadata, Settings};

    struct Nobody;

    impl Taker for Nobody {
        fn take<'a>(&'a self, _: &'a ConsumerRecord) -> BoxFuture<'a, Option<BoxFuture<'static, Ending>>> {
            Box::pin(async { None })
        }

        fn unwanted(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn what_can_be_no_topic_never_reaches_the_member() {
        palladium_tls::install_crypto_provider();
        let pairs = [("brokers", "127.0.0.1:1"), ("authType", "none")];
        let context = OpenContext::new("c", "app", pairs.into_iter().collect());
        let metadata = KafkaMetadata::parse(&context.properties).unwrap();
        let settings = Settings::read(&metadata, None, &context, true).await.unwrap();
        let intake = Intake::new(settings.reach, settings.reading);
        let long = "x".repeat(NAME + 1);
        for name in ["", ".", "..", "a/b", "a b", "ü", long.as_str()] {
            let topics = ["good".to_owned(), name.to_owned()];
            let error = intake.add(&topics, Arc::new(Nobody)).await.unwrap_err();
            assert!(matches!(&error, Fault::Invalid(_)), "{name}: {error}");
        }
        assert!(intake.shared.routes.topics(|_| true).is_empty());
        for name in ["...", "A-1_b.c", &long[1..]] {
            assert!(is_topic(name), "{name}");
        }
    }
}
