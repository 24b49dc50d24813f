//! The engine over a store that records what it is asked. Long because every call of the API is looked at over the same two
//! stores.

use std::sync::Mutex;

use bytes::Bytes;
use palladium_component::state::{Operation as Step, QueryRequest, TransactRequest, ValueForm};
use palladium_component::{BulkFailure, Reply};

use super::*;
use crate::Detail;

#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<String>>,
    failure: Mutex<Option<StateError>>,
    features: Features,
    max: Option<usize>,
}

impl Recorder {
    fn note<T: Default>(&self, call: String) -> Reply<'_, T> {
        self.calls.lock().unwrap().push(call);
        Reply::ready(
            self.failure
                .lock()
                .unwrap()
                .clone()
                .map_or_else(|| Ok(T::default()), Err),
        )
    }
}

impl StateStore for Recorder {
    fn features(&self) -> Features {
        self.features
    }
    fn max_transaction_operations(&self) -> Reply<'_, Option<usize>> {
        Reply::ready(Ok(self.max))
    }
    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        self.note(format!("get {}", request.key))
    }
    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        self.note(format!("set {}", request.key))
    }
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        self.note(format!("delete {}", request.key))
    }
    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], options: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        self.calls
            .lock()
            .unwrap()
            .push(format!("bulk_get by {}", options.parallelism));
        Reply::ready(Ok(requests
            .iter()
            .map(|request| BulkGetItem {
                key: request.key.clone(),
                ..BulkGetItem::default()
            })
            .collect()))
    }
    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], _: BulkOptions) -> Reply<'a, ()> {
        self.note(format!("bulk_set {}", requests.len()))
    }
    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], _: BulkOptions) -> Reply<'a, ()> {
        self.note(format!("bulk_delete {}", requests.len()))
    }
    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        self.note(format!(
            "transact {}",
            request.operations.iter().map(Step::key).collect::<Vec<_>>().join(",")
        ))
    }
    fn query<'a>(&'a self, request: &'a QueryRequest) -> Reply<'a, QueryResponse> {
        self.note(format!("query {:?} {}", request.filter, request.limit))
    }
    fn ping(&self) -> Reply<'_, ()> {
        Reply::ready(Ok(()))
    }
}

fn component(recorder: Recorder) -> (StateComponent, Arc<Recorder>) {
    let recorder = Arc::new(recorder);
    let component = StateComponent::new("mystore", "myapp", "", &Properties::new(), recorder.clone()).unwrap();
    (component, recorder)
}

/// Nothing is repeated.
fn none() -> Policy {
    Policy::default()
}

fn set(key: &str) -> SetRequest {
    SetRequest {
        key: key.into(),
        ..SetRequest::default()
    }
}

fn transactional() -> Features {
    Features::NONE.with(Feature::Transactional)
}

#[tokio::test]
async fn keys_are_prefixed_and_restored() {
    let (component, recorder) = component(Recorder::default());
    component
        .get(
            &none(),
            GetRequest {
                key: "k".into(),
                ..GetRequest::default()
            },
        )
        .await
        .unwrap();
    let items = component
        .bulk_get(&none(), &["a".into(), "b".into()], &Metadata::new(), 0)
        .await
        .unwrap();
    assert_eq!(
        items.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(*recorder.calls.lock().unwrap(), ["get myapp||k", "bulk_get by 100"]);
}

#[tokio::test]
async fn one_item_is_not_a_bulk_call() {
    let (component, recorder) = component(Recorder::default());
    component.save(&none(), vec![]).await.unwrap();
    component.save(&none(), vec![set("a")]).await.unwrap();
    component.save(&none(), vec![set("a"), set("b")]).await.unwrap();
    component
        .bulk_delete(
            &none(),
            vec![DeleteRequest {
                key: "a".into(),
                ..DeleteRequest::default()
            }],
        )
        .await
        .unwrap();
    assert_eq!(
        *recorder.calls.lock().unwrap(),
        ["set myapp||a", "bulk_set 2", "delete myapp||a"]
    );
}

#[tokio::test]
async fn nothing_is_written_when_one_key_is_illegal() {
    let (component, recorder) = component(Recorder::default());
    let error = component
        .save(&none(), vec![set("a"), set("ke||y1")])
        .await
        .unwrap_err();
    let report = error.grpc();
    assert_eq!(
        (report.http_status, report.grpc_code, report.tag.as_str()),
        (400, 3, "ERR_MALFORMED_REQUEST")
    );
    assert_eq!(report.message, "input key/keyPrefix 'ke||y1' can't contain '||'");
    assert_eq!(report.details.len(), 3);
    assert!(report.details.contains(&Detail::BadRequest {
        field: "ke||y1".into(),
        description: report.message.clone()
    }));
    assert_eq!(
        error.http().message,
        format!("api error: code = InvalidArgument desc = {}", report.message)
    );
    assert!(recorder.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn etag_failures_of_a_bulk_call_are_one_etag_failure() {
    let failure = |error| BulkFailure {
        key: "myapp||a".into(),
        error,
    };
    let (component, recorder) = component(Recorder::default());
    let run = async |failures| {
        *recorder.failure.lock().unwrap() = Some(StateError::Bulk(failures));
        let report = component.save(&none(), vec![set("a"), set("b")]).await.unwrap_err();
        (report.http().http_status, report.grpc().grpc_code)
    };
    assert_eq!(run(vec![failure(StateError::EtagMismatch(None))]).await, (409, 10));
    assert_eq!(
        run(vec![
            failure(StateError::EtagMismatch(None)),
            failure(StateError::EtagInvalid(None))
        ])
        .await,
        (400, 3)
    );
    // Beside other failures an etag decides too, and over HTTP it is all that is told.
    let mixed = vec![
        failure(StateError::Other("disk".into())),
        failure(StateError::EtagMismatch(None)),
    ];
    assert_eq!(run(mixed.clone()).await, (409, 10));
    *recorder.failure.lock().unwrap() = Some(StateError::Bulk(mixed));
    let error = component.save(&none(), vec![set("a"), set("b")]).await.unwrap_err();
    assert_eq!(
        error.http().message,
        "failed saving state in state store mystore: possible etag mismatch. error from state store"
    );
    assert!(error.grpc().message.contains("disk"));
    assert_eq!(run(vec![failure(StateError::Other("disk".into()))]).await, (500, 13));
}

#[tokio::test]
async fn transactions_need_the_feature_and_the_room() {
    let (plain, _) = component(Recorder::default());
    let report = plain
        .transact(&none(), vec![], Metadata::new())
        .await
        .unwrap_err()
        .grpc();
    assert_eq!(
        (report.grpc_code, report.http_status, report.details.len()),
        (12, 500, 3)
    );
    assert_eq!(report.message, "state store mystore doesn't support transactions");

    let (component, recorder) = component(Recorder {
        features: transactional(),
        max: Some(1),
        ..Recorder::default()
    });
    let delete = || {
        Step::Delete(DeleteRequest {
            key: "b".into(),
            ..DeleteRequest::default()
        })
    };
    let report = component
        .transact(&none(), vec![Step::Set(set("a")), delete()], Metadata::new())
        .await
        .unwrap_err()
        .http();
    assert_eq!(
        (report.http_status, report.tag.as_str()),
        (400, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS")
    );
    assert_eq!(
        report.message,
        "the transaction contains 2 operations, which is more than what the state store supports: 1"
    );
    component
        .transact(&none(), vec![delete()], Metadata::new())
        .await
        .unwrap();
    assert_eq!(*recorder.calls.lock().unwrap(), ["transact myapp||b"]);
    // An etag mismatch inside a transaction is an internal error, as upstream has it.
    *recorder.failure.lock().unwrap() = Some(StateError::EtagMismatch(None));
    let error = component
        .transact(&none(), vec![delete()], Metadata::new())
        .await
        .unwrap_err();
    assert_eq!((error.http().http_status, error.grpc().grpc_code), (500, 13));
    assert_eq!(
        error.http().message,
        "error while executing state transaction: possible etag mismatch. error from state store"
    );
}

#[tokio::test]
async fn queries_need_a_store_that_can() {
    let (plain, _) = component(Recorder::default());
    let report = plain.query(&none(), "{}", Metadata::new()).await.unwrap_err().http();
    assert_eq!(
        (report.http_status, report.tag.as_str(), report.details.len()),
        (500, "ERR_STATE_STORE_NOT_SUPPORTED", 2)
    );
    let (component, recorder) = component(Recorder {
        features: Features::NONE.with(Feature::QueryApi),
        ..Recorder::default()
    });
    let document = r#"{"filter":{"EQ":{"state":"CA"}},"sort":[{"key":"person.id","order":"DESC"}],"page":{"limit":3}}"#;
    component.query(&none(), document, Metadata::new()).await.unwrap();
    assert!(recorder.calls.lock().unwrap()[0].contains("EQ"));
    let report = component.query(&none(), "[", Metadata::new()).await.unwrap_err().http();
    assert!(
        report
            .message
            .starts_with("state store mystore query failed: failed to parse JSON query body"),
        "{}",
        report.message
    );
    *recorder.failure.lock().unwrap() = Some(StateError::Other("boom".into()));
    assert_eq!(
        component
            .query(&none(), document, Metadata::new())
            .await
            .unwrap_err()
            .http()
            .tag,
        "ERR_STATE_QUERY"
    );
}

#[test]
fn stores_tell_none_from_not_this_one() {
    let empty = Stores::default().find("x", "myapp").unwrap_err();
    assert_eq!((empty.http().http_status, empty.grpc().grpc_code), (500, 9));
    assert_eq!(
        empty.http().details,
        [Detail::ErrorInfo {
            reason: "DAPR_STATE_NOT_CONFIGURED".into(),
            domain: "dapr.io".into(),
            metadata: vec![("appID", "myapp".into())]
        }]
    );
    let (component, _) = component(Recorder::default());
    let stores = Stores::new([Arc::new(component)]);
    let missing = stores.find("x", "myapp").unwrap_err();
    assert_eq!((missing.http().http_status, missing.grpc().grpc_code), (400, 3));
    assert_eq!(missing.grpc().message, "state store x is not found");
    assert_eq!(
        missing.grpc().details,
        [Detail::ErrorInfo {
            reason: "DAPR_STATE_NOT_FOUND".into(),
            domain: "dapr.io".into(),
            metadata: vec![]
        }]
    );
    assert!(stores.find("mystore", "myapp").is_ok());
}

#[tokio::test]
async fn a_remote_stores_own_answer_goes_through() {
    use palladium_component::{RemoteAnswer, RemoteError};
    let (component, recorder) = component(Recorder::default());
    let answer = RemoteAnswer {
        http_status: 506,
        tag: "get-tag".into(),
        reason: "get-reason".into(),
        domain: "get-domain".into(),
    };
    let remote = RemoteError {
        grpc_code: 15,
        message: "get-error".into(),
        answer: Some(answer),
    };
    *recorder.failure.lock().unwrap() = Some(StateError::Remote(Box::new(remote)));
    let error = component
        .get(
            &none(),
            GetRequest {
                key: "key1".into(),
                ..GetRequest::default()
            },
        )
        .await
        .unwrap_err();
    let http = error.http();
    assert_eq!(
        (http.http_status, http.tag.as_str(), http.details.len()),
        (506, "ERR_STATE_GET", 0)
    );
    assert_eq!(
        http.message,
        "fail to get key1 from state store mystore: api error: code = DataLoss desc = get-error"
    );
    assert_eq!(
        (error.grpc().grpc_code, error.grpc().message.as_str()),
        (15, "get-error")
    );
}

#[test]
fn an_illegal_prefix_is_refused() {
    let properties: Properties = [("keyPrefix", "a||b")].into_iter().collect();
    let error = StateComponent::new("s", "app", "", &properties, Arc::new(Recorder::default())).unwrap_err();
    assert!(error.to_string().contains("'a||b' can't contain '||'"));
}

/// A store that keeps what it is given, as it is given.
#[derive(Default)]
struct Drawer(Mutex<HashMap<String, (Bytes, ValueForm)>>);

impl Drawer {
    fn put(&self, request: &SetRequest) {
        let value = (request.value.clone(), request.form);
        self.0.lock().unwrap().insert(request.key.clone(), value);
    }
    fn found(&self, key: &str) -> Option<Bytes> {
        self.0.lock().unwrap().get(key).map(|(value, _)| value.clone())
    }
}

impl StateStore for Drawer {
    fn features(&self) -> Features {
        Features::NONE.with(Feature::Transactional).with(Feature::QueryApi)
    }
    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        let value = self.found(&request.key);
        Reply::ready(Ok(GetResponse {
            value,
            ..GetResponse::default()
        }))
    }
    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        self.put(request);
        Reply::ready(Ok(()))
    }
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        self.0.lock().unwrap().remove(&request.key);
        Reply::ready(Ok(()))
    }
    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], _: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        let item = |request: &GetRequest| BulkGetItem {
            key: request.key.clone(),
            value: self.found(&request.key),
            etag: Some("1".into()),
            ..BulkGetItem::default()
        };
        Reply::ready(Ok(requests.iter().map(item).collect()))
    }
    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], _: BulkOptions) -> Reply<'a, ()> {
        requests.iter().for_each(|request| self.put(request));
        Reply::ready(Ok(()))
    }
    fn bulk_delete<'a>(&'a self, _: &'a [DeleteRequest], _: BulkOptions) -> Reply<'a, ()> {
        Reply::ready(Ok(()))
    }
    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        for operation in &request.operations {
            if let Step::Set(request) = operation {
                self.put(request);
            }
        }
        Reply::ready(Ok(()))
    }
    fn ping(&self) -> Reply<'_, ()> {
        Reply::ready(Ok(()))
    }
}

#[tokio::test]
async fn every_way_to_a_store_is_encrypted_and_every_way_back_readable() {
    let drawer = Arc::new(Drawer::default());
    let with_key = |digit: &str, secret: &str| {
        let mut properties = Properties::new();
        properties.insert_resolved("primaryEncryptionKey", digit.repeat(32), secret);
        StateComponent::new("mystore", "myapp", "", &properties, drawer.clone()).unwrap()
    };
    let component = with_key("a", "key-1");
    let json = |key: &str, value: &str| SetRequest {
        value: value.to_string().into(),
        form: ValueForm::Json,
        ..set(key)
    };
    component.save(&none(), vec![json("one", "\"value1\"")]).await.unwrap();
    component
        .save(&none(), vec![json("two", "[2]"), json("three", "3")])
        .await
        .unwrap();
    let steps = vec![Step::Set(json("four", "\"value4\""))];
    component.transact(&none(), steps, Metadata::new()).await.unwrap();
    {
        let kept = drawer.0.lock().unwrap();
        assert_eq!(kept.len(), 4);
        for (key, (value, form)) in kept.iter() {
            assert!(value.ends_with(b"||key-1") && *form == ValueForm::Binary, "{key}");
            assert!(!value.windows(5).any(|five| five == b"value"), "{key}");
        }
    }
    let read = async |component: &StateComponent, key: &str| {
        let request = GetRequest {
            key: key.into(),
            ..GetRequest::default()
        };
        component.get(&none(), request).await
    };
    for (key, expected) in [("one", "value1"), ("two", "[2]"), ("three", "3"), ("four", "value4")] {
        assert_eq!(read(&component, key).await.unwrap().value.unwrap(), expected);
    }
    assert!(read(&component, "absent").await.unwrap().value.is_none());
    let keys: Vec<String> = ["one", "absent", "two"].map(String::from).to_vec();
    let items = component.bulk_get(&none(), &keys, &Metadata::new(), 0).await.unwrap();
    let values: Vec<Option<&[u8]>> = items.iter().map(|item| item.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"value1"[..]), None, Some(b"[2]")]);

    // Another key opens nothing, and says so.
    let other = with_key("b", "key-1");
    let error = read(&other, "one").await.unwrap_err().http();
    assert_eq!((error.http_status, error.tag.as_str()), (500, "ERR_STATE_GET"));
    assert_eq!(
        error.message,
        "fail to get one from state store mystore: could not decrypt data for state store mystore: message authentication failed"
    );
    let items = other.bulk_get(&none(), &keys[..1], &Metadata::new(), 0).await.unwrap();
    assert!(items[0].value.is_none() && items[0].key == "one");
    assert!(
        items[0]
            .error
            .as_ref()
            .unwrap()
            .contains("message authentication failed")
    );

    let report = component
        .query(&none(), "{}", Metadata::new())
        .await
        .unwrap_err()
        .http();
    assert_eq!(
        report.message,
        "state store mystore query failed: cannot query encrypted store"
    );
}

#[test]
fn a_bad_encryption_key_is_refused() {
    let properties: Properties = [("primaryEncryptionKey", "hunter2")].into_iter().collect();
    let error = StateComponent::new("s", "app", "", &properties, Arc::new(Recorder::default())).unwrap_err();
    assert!(error.to_string().contains("'primaryEncryptionKey'") && !error.to_string().contains("hunter2"));
}
