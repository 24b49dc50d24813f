//! The caller's end of a stream: which answer is whose.

use palladium_engine_pubsub::{Event, Message, Metadata};
use tokio::time::sleep;

use super::*;
use crate::entry::Entry;
use crate::testing::{open, server};

async fn caller() -> (Arc<Caller>, mpsc::Receiver<Sent>) {
    let server = server();
    let (Entry::Pubsub(metrics), _) = open(&server, "events", "pubsub.in-memory", &[]).await else {
        panic!("a pub/sub component")
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let caller = Caller {
        sender,
        waiting: Mutex::default(),
        gone: Shutdown::new(),
        metrics,
    };
    (Arc::new(caller), receiver)
}

fn incoming(id: &str, data: &str) -> Incoming {
    let message = Message {
        data: format!(r#"{{"id":"{id}","data":"{data}","datacontenttype":"text/plain"}}"#).into(),
        ..Message::default()
    };
    Incoming {
        event: Event::read(&message, false, "t", "events").unwrap(),
        topic: "t".to_owned(),
        pubsub: "events".to_owned(),
        path: "/".to_owned(),
        metadata: Metadata::new(),
    }
}

fn deliver(caller: &Arc<Caller>, id: &'static str, data: &'static str) -> tokio::task::JoinHandle<Verdict> {
    let to = ToCaller(caller.clone(), Policies::default());
    tokio::spawn(async move { to.deliver(&incoming(id, data)).await })
}

/// The data of the next event that the caller gets.
async fn next(receiver: &mut mpsc::Receiver<Sent>) -> String {
    let sent = receiver.recv().await.unwrap().unwrap();
    match sent.subscribe_topic_events_response_type {
        Some(Told::EventMessage(event)) => String::from_utf8_lossy(&event.data).into_owned(),
        other => panic!("{other:?}"),
    }
}

const SUCCESS: i32 = 0;
const DROP: i32 = 2;

#[tokio::test(start_paused = true)]
async fn events_of_one_id_are_under_way_one_after_the_other() {
    let (caller, mut receiver) = caller().await;
    let first = deliver(&caller, "1", "a");
    assert_eq!(next(&mut receiver).await, "a");
    let (second, other) = (deliver(&caller, "1", "b"), deliver(&caller, "2", "c"));
    assert_eq!(next(&mut receiver).await, "c", "another id does not wait");
    sleep(Duration::from_secs(1)).await;
    assert!(receiver.try_recv().is_err(), "the same id does");
    caller.answered("1", DROP);
    caller.answered("1", DROP);
    assert_eq!(first.await.unwrap(), Verdict::Drop);
    assert_eq!(next(&mut receiver).await, "b");
    caller.answered("1", SUCCESS);
    caller.answered("2", SUCCESS);
    assert_eq!(
        (second.await.unwrap(), other.await.unwrap()),
        (Verdict::Success, Verdict::Success)
    );
    assert!(caller.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_given_up_leaves_its_turn_to_the_next() {
    let (caller, mut receiver) = caller().await;
    let first = deliver(&caller, "1", "a");
    assert_eq!(next(&mut receiver).await, "a");
    let second = deliver(&caller, "1", "b");
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(next(&mut receiver).await, "b");
    caller.answered("nobody", SUCCESS);
    caller.answered("1", SUCCESS);
    assert_eq!(second.await.unwrap(), Verdict::Success);
    assert!(caller.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nobody_waits_for_an_answer() {
    let (caller, mut receiver) = caller().await;
    let (first, second) = (deliver(&caller, "1", "a"), deliver(&caller, "1", "b"));
    next(&mut receiver).await;
    caller.gone.trigger();
    assert_eq!(
        (first.await.unwrap(), second.await.unwrap()),
        (Verdict::Closed, Verdict::Closed)
    );
    drop(receiver);
    let (caller, receiver) = self::caller().await;
    drop(receiver);
    assert_eq!(deliver(&caller, "1", "a").await.unwrap(), Verdict::Closed);
    assert!(caller.waiting().is_empty());
}
