//! Bindings whose service is this test, and applications that want their events or not.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};

use palladium_component::bindings::{Binding, Ways};
use palladium_component::{CallError, Reply};
use palladium_tasks::Tasks;
use tokio::sync::Notify;

use super::*;
use crate::entry::{Block, Entry};
use crate::metrics::Counted;
use crate::server::Registered;
use crate::testing::{application, nobody, server, use_components};

const SOON: Duration = Duration::from_secs(20);

/// A service that hands out events when it is told to.
#[derive(Default)]
struct Service {
    listener: Mutex<Option<Arc<dyn Listener>>>,
    begun: AtomicU32,
    ended: Arc<AtomicU32>,
    fails: AtomicBool,
}

struct Ends(Arc<AtomicU32>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service {
    fn event(&self, data: &'static str) -> BoxFuture<'static, Result<Option<Bytes>, String>> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listener.expect("somebody listens").event(Event {
            data: data.into(),
            ..Event::default()
        })
    }

    fn counts(&self) -> (u32, u32) {
        (self.begun.load(Ordering::SeqCst), self.ended.load(Ordering::SeqCst))
    }

    async fn until(&self, counts: (u32, u32)) {
        let reached = async {
            while self.counts() != counts {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, reached)
            .await
            .unwrap_or_else(|_| panic!("{:?}, not {counts:?}", self.counts()));
    }
}

impl Binding for Service {
    fn ways(&self) -> Ways {
        Ways { out: false, into: true }
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        if self.fails.load(Ordering::SeqCst) {
            return Reply::ready(Err(CallError::Unavailable("away".to_owned())));
        }
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
        self.begun.fetch_add(1, Ordering::SeqCst);
        Reply::ready(Ok(Box::new(Ends(self.ended.clone()))))
    }
}

/// A binding `in` over a service; its route is `/events`.
fn binding(server: &Server, service: &Arc<Service>) -> Arc<BindingEntry> {
    Arc::new(BindingEntry {
        out: Block {
            name: "in".to_owned(),
            driver: service.clone(),
            calls: server.metrics.calls(Counted::OutputBinding, "in"),
        },
        events: server.metrics.calls(Counted::InputBinding, "in"),
        is_output: false,
        is_input: true,
        unasked: false,
        route: "events".to_owned(),
    })
}

fn about() -> Registered {
    Registered {
        name: "in".to_owned(),
        kind: "bindings.test".to_owned(),
        version: "v1".to_owned(),
        capabilities: Vec::new(),
    }
}

/// An application that wants the events, and answers each once it may.
async fn wanting(answers: Arc<Notify>) -> Arc<AppChannel> {
    application(move |request| {
        let answers = answers.clone();
        async move {
            if request.starts_with("POST /base/events ") {
                answers.notified().await;
                return (200, "done".to_owned());
            }
            (200, String::new())
        }
    })
    .await
}

#[tokio::test]
async fn events_come_while_they_are_wanted_and_what_is_under_way_may_finish() {
    let (server, service, answers) = (server(), Arc::new(Service::default()), Arc::new(Notify::new()));
    use_components(&server, [(Entry::Binding(binding(&server, &service)), about())]);
    let stop = Shutdown::new();
    let mut tasks = Tasks::new();
    tasks.spawn("keeper", keep(server.clone(), stop.clone()));
    server.app.store(Some(wanting(answers.clone()).await));
    server.bindings.ring();
    service.until((1, 0)).await;
    answers.notify_one();
    assert_eq!(service.event("1").await, Ok(Some("done".into())));

    // Its component goes while an event is under way.
    let under_way = tokio::spawn(service.event("2"));
    let gate_is_busy = async {
        // The application has it as soon as somebody waits for leave to answer.
        while service.counts() == (1, 0) && !under_way.is_finished() {
            use_components(&server, []);
            sleep(Duration::from_millis(20)).await;
            answers.notify_one();
        }
    };
    timeout(SOON, gate_is_busy).await.expect("it ends");
    assert_eq!(under_way.await.unwrap(), Ok(Some("done".into())));
    service.until((1, 1)).await;
    assert_eq!(service.event("3").await, Err("input binding is closed".to_owned()));
    stop.trigger();
    tasks.drain(SOON).await.unwrap();
}

#[tokio::test]
async fn who_does_not_want_events_is_not_asked_again_and_who_cannot_be_asked_is() {
    let (server, service) = (server(), Arc::new(Service::default()));
    let entry = binding(&server, &service);
    let refusing = application(|_| std::future::ready((404, String::new()))).await;
    let one = start(&server, &refusing, &entry).await;
    assert!(one.listening.is_none() && one.again.is_none());
    let one = start(&server, &nobody().await, &entry).await;
    assert!(one.listening.is_none() && one.again.is_some(), "nobody has said no");
    let wanting = wanting(Arc::default()).await;
    service.fails.store(true, Ordering::SeqCst);
    let one = start(&server, &wanting, &entry).await;
    assert!(one.listening.is_none() && one.again.is_some(), "the service may come");
    service.fails.store(false, Ordering::SeqCst);
    let one = start(&server, &wanting, &entry).await;
    assert!(one.listening.is_some() && one.again.is_none());
    assert_eq!(service.counts(), (1, 0));
}

#[test]
fn a_closed_gate_lets_nobody_in_and_counts_who_is_inside() {
    let gate = Arc::new(Gate::default());
    let inside = gate.enter().expect("open");
    gate.closed.store(true, Ordering::SeqCst);
    assert!(gate.enter().is_none());
    assert_eq!(gate.under_way.load(Ordering::SeqCst), 1);
    drop(inside);
    assert_eq!(gate.under_way.load(Ordering::SeqCst), 0);
}
