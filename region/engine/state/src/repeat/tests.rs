//! Repetition over a store whose failures are written down beforehand.

use std::collections::VecDeque;

use palladium_component::state::{BulkGetItem, Features, GetRequest, GetResponse, TransactRequest};
use palladium_engine_resiliency::{ComponentKind, Direction, Resiliency};
use serde_json::json;

use super::*;

/// What becomes of the next call; those after the last succeed.
enum Next {
    Fails(StateError),
    Hangs,
}

#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<Next>>,
    calls: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Next>) -> Self {
        Self {
            script: Mutex::new(script.into_iter().collect()),
            ..Self::default()
        }
    }

    fn next<T: Default + Send + 'static>(&self, call: String) -> Reply<'_, T> {
        self.calls.lock().unwrap().push(call);
        match self.script.lock().unwrap().pop_front() {
            None => Reply::ready(Ok(T::default())),
            Some(Next::Fails(error)) => Reply::ready(Err(error)),
            Some(Next::Hangs) => Reply::wait(std::future::pending()),
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl StateStore for Scripted {
    fn features(&self) -> Features {
        Features::NONE
    }
    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        self.next(format!("get {}", request.key))
    }
    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        self.next(request.key.clone())
    }
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        self.next(request.key.clone())
    }
    fn bulk_get<'a>(&'a self, _: &'a [GetRequest], _: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        self.next("bulk_get".to_owned())
    }
    fn bulk_set<'a>(&'a self, all: &'a [SetRequest], _: BulkOptions) -> Reply<'a, ()> {
        let keys: Vec<&str> = all.iter().map(|one| one.key.as_str()).collect();
        self.next(keys.join("+"))
    }
    fn bulk_delete<'a>(&'a self, all: &'a [DeleteRequest], _: BulkOptions) -> Reply<'a, ()> {
        self.next(format!("{} deletions", all.len()))
    }
    fn transact<'a>(&'a self, _: &'a TransactRequest) -> Reply<'a, ()> {
        self.next("transact".to_owned())
    }
    fn ping(&self) -> Reply<'_, ()> {
        Reply::ready(Ok(()))
    }
}

/// Three repetitions, a second for each attempt.
fn policy() -> Policy {
    let mut all = Resiliency::default();
    let spec = json!({
        "policies": {
            "timeouts": {"t": "1s"},
            "retries": {"r": {"policy": "constant", "duration": "10ms", "maxRetries": 3}},
        },
        "targets": {"components": {"store": {"outbound": {"timeout": "t", "retry": "r"}}}},
    });
    all.add("test", "", spec).unwrap();
    all.component("store", ComponentKind::Statestore, Direction::Outbound)
}

fn write(key: &str, etag: Option<&str>) -> SetRequest {
    SetRequest {
        key: key.to_owned(),
        etag: etag.map(str::to_owned),
        ..SetRequest::default()
    }
}

fn away() -> Next {
    Next::Fails(StateError::Unavailable("away".to_owned()))
}

fn some(failures: &[(&str, StateError)]) -> Next {
    let failure = |(key, error): &(&str, StateError)| BulkFailure {
        key: (*key).to_owned(),
        error: error.clone(),
    };
    Next::Fails(StateError::Bulk(failures.iter().map(failure).collect()))
}

/// The store after one conditional or unconditional write.
async fn after(script: Vec<Next>, etag: Option<&str>) -> (usize, Result<(), String>) {
    let store = Scripted::new(script);
    let outcome = bulk(&policy(), &store, vec![write("a", etag)]).await;
    (store.calls().len(), outcome.map_err(|error| error.to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_condition_is_repeated() {
    assert_eq!(after(vec![away(), Next::Hangs], None).await, (3, Ok(())));
    let (calls, outcome) = after(vec![away(), away(), away(), away()], None).await;
    assert_eq!((calls, outcome), (4, Err("away".to_owned())));
    assert_eq!(
        after(vec![Next::Fails(StateError::Invalid("no".to_owned()))], None).await,
        (1, Err("no".to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_whose_outcome_is_unknown_is_not() {
    assert_eq!(after(vec![away()], Some("1")).await, (1, Err("away".to_owned())));
    let late = Err("context deadline exceeded".to_owned());
    assert_eq!(after(vec![Next::Hangs], Some("1")).await, (1, late.clone()));
    let refused = || Next::Fails(StateError::Other("busy".to_owned()));
    assert_eq!(
        after(vec![refused()], Some("1")).await,
        (2, Ok(())),
        "the store said no"
    );

    let store = Scripted::new([Next::Hangs]);
    let request = TransactRequest {
        operations: vec![Operation::Set(write("a", None)), Operation::Set(write("b", Some("1")))],
        ..TransactRequest::default()
    };
    let conditional = request.operations.iter().any(Conditional::is_conditional);
    let outcome = run(&policy(), conditional, || store.transact(&request)).await;
    assert_eq!(outcome.map_err(|error| error.to_string()), late);
    assert_eq!(store.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_many_only_what_failed_is_repeated_and_no_failure_is_forgotten() {
    let store = Scripted::new([
        some(&[
            ("a", StateError::EtagMismatch(None)),
            ("b", StateError::Other("busy".to_owned())),
            ("c", StateError::Other("busy".to_owned())),
        ]),
        some(&[("c", StateError::Other("busy".to_owned()))]),
    ]);
    let writes = ["a", "b", "c", "d"].map(|key| write(key, Some("1")));
    let error = bulk(&policy(), &store, writes.to_vec()).await.unwrap_err();
    assert_eq!(store.calls(), ["a+b+c+d", "b+c", "c"]);
    let StateError::Bulk(failures) = error else {
        panic!("{error}")
    };
    assert!(failures.len() == 1 && failures[0].key == "a" && failures[0].error.is_etag());
}

#[tokio::test(start_paused = true)]
async fn after_a_silence_only_what_has_no_condition_is_repeated() {
    for first in [Next::Hangs, away()] {
        let store = Scripted::new([first]);
        let writes = vec![write("a", None), write("b", Some("1")), write("c", None)];
        let error = bulk(&policy(), &store, writes).await.unwrap_err();
        assert_eq!(store.calls(), ["a+b+c", "a+c"]);
        let StateError::Bulk(failures) = error else {
            panic!("{error}")
        };
        assert!(failures.len() == 1 && failures[0].key == "b", "{failures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reads_are_repeated_and_an_empty_policy_changes_nothing() {
    let store = Scripted::new([away(), Next::Hangs]);
    let request = GetRequest::default();
    assert!(run(&policy(), false, || store.get(&request)).await.is_ok());
    assert_eq!(store.calls().len(), 3);
    let store = Scripted::new([away()]);
    assert!(bulk(&Policy::default(), &store, vec![write("a", None)]).await.is_err());
    assert_eq!(store.calls().len(), 1);
}
