//! Drivers that quote their secrets. Must never leave out a method that can fail.

use super::*;

/// Says everything that it was given.
struct Talkative;

const QUOTING: &str = "AUTH correct-horse failed";

fn quoting<'a, T>() -> Reply<'a, T, CallError> {
    let remote = RemoteError {
        message: QUOTING.to_owned(),
        ..RemoteError::default()
    };
    Reply::wait(async { Err(CallError::Remote(Box::new(remote))) })
}

fn failed<'a, T>() -> Reply<'a, T, PubsubError> {
    Reply::ready(Err(PubsubError::Unavailable(QUOTING.to_owned())))
}

impl PubSub for Talkative {
    fn features(&self) -> Features {
        Features::default()
    }
    fn publish<'a>(&'a self, _: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        failed()
    }
    fn bulk_publish<'a>(&'a self, _: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        let entry_id = "1".to_owned();
        let error = PubsubError::Other(QUOTING.to_owned());
        Reply::ready(Ok(vec![BulkPublishFailure { entry_id, error }]))
    }
    fn subscribe(&self, _: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        failed()
    }
    fn ping(&self) -> Reply<'_, (), PubsubError> {
        failed()
    }
    fn close(&self) -> Reply<'_, (), PubsubError> {
        failed()
    }
}

impl SecretStore for Talkative {
    fn get<'a>(&'a self, _: &'a str, _: &'a Metadata) -> Reply<'a, Secret, CallError> {
        quoting()
    }
    fn get_all<'a>(&'a self, _: &'a Metadata) -> Reply<'a, BTreeMap<String, Secret>, CallError> {
        quoting()
    }
    fn close(&self) -> Reply<'_, (), CallError> {
        quoting()
    }
}

impl Binding for Talkative {
    fn ways(&self) -> Ways {
        Ways { out: true, into: true }
    }
    fn invoke<'a>(&'a self, _: &'a Operation) -> Reply<'a, Answered, BindingError> {
        let metadata = [("said".to_owned(), QUOTING.to_owned())].into();
        let error = CallError::Other(QUOTING.to_owned());
        Reply::ready(Err(BindingError { error, metadata }))
    }
    fn listen(&self, _: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        quoting()
    }
    fn close(&self) -> Reply<'_, (), CallError> {
        quoting()
    }
}

impl Middleware for Talkative {
    fn judge<'a>(&'a self, _: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        quoting()
    }
}

impl Conversation for Talkative {
    fn converse<'a>(&'a self, _: &'a Request) -> Reply<'a, Said, CallError> {
        quoting()
    }
    fn close(&self) -> Reply<'_, (), CallError> {
        quoting()
    }
}

impl ConfigurationStore for Talkative {
    fn get<'a>(&'a self, _: &'a Selection) -> Reply<'a, Items, CallError> {
        quoting()
    }
    fn subscribe<'a>(&'a self, _: &'a Selection, _: Arc<dyn Watcher>) -> Reply<'a, Watching, CallError> {
        quoting()
    }
    fn close(&self) -> Reply<'_, (), CallError> {
        quoting()
    }
}

impl LockStore for Talkative {
    fn try_lock<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> Reply<'a, bool, CallError> {
        quoting()
    }
    fn unlock<'a>(&'a self, _: &'a str, _: &'a str) -> Reply<'a, Unlocked, CallError> {
        quoting()
    }
    fn close(&self) -> Reply<'_, (), CallError> {
        quoting()
    }
}

impl CryptoProvider for Talkative {
    fn wrap_key<'a>(&'a self, _: &'a SecretSlice<u8>, _: &'a str, _: &'a str) -> Reply<'a, Vec<u8>, CallError> {
        quoting()
    }
    fn unwrap_key<'a>(&'a self, _: &'a [u8], _: &'a str, _: &'a str) -> Reply<'a, SecretSlice<u8>, CallError> {
        quoting()
    }
    fn close(&self) -> Reply<'_, (), CallError> {
        quoting()
    }
}

struct Nobody;

impl Watcher for Nobody {
    fn changed(&self, _: Items) -> palladium_component::reply::BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Listener for Nobody {
    fn event(
        &self,
        _: palladium_component::bindings::Event,
    ) -> palladium_component::reply::BoxFuture<'static, Result<Option<Bytes>, String>> {
        Box::pin(async { Ok(None) })
    }
}

fn secrets() -> Secrets {
    Secrets::these(["correct-horse".to_owned()])
}

async fn of_the_others() -> [String; 9] {
    fn words<T>(outcome: Result<T, CallError>) -> String {
        outcome.err().expect("fails").to_string()
    }
    let settings = Guarded::new(Arc::new(Talkative) as Arc<dyn ConfigurationStore>, secrets());
    let locks = Guarded::new(Arc::new(Talkative) as Arc<dyn LockStore>, secrets());
    let keys = Guarded::new(Arc::new(Talkative) as Arc<dyn CryptoProvider>, secrets());
    let all = Selection::default();
    [
        words(settings.get(&all).await),
        words(settings.subscribe(&all, Arc::new(Nobody)).await),
        words(settings.close().await),
        words(locks.try_lock("r", "o", Duration::from_secs(1)).await),
        words(locks.unlock("r", "o").await),
        words(locks.close().await),
        words(keys.wrap_key(&vec![1].into(), "A256KW", "k").await),
        words(keys.unwrap_key(&[1], "A256KW", "k").await),
        words(keys.close().await),
    ]
}

#[tokio::test]
async fn sec_066_no_driver_quotes_its_secrets() {
    let mut said = Vec::new();
    let bus = Guarded::new(Arc::new(Talkative) as Arc<dyn PubSub>, secrets());
    said.push(
        bus.publish(&PublishRequest::default())
            .await
            .expect_err("fails")
            .to_string(),
    );
    let failures = bus.bulk_publish(&BulkPublishRequest::default()).await.expect("partly");
    said.extend(failures.iter().map(|failure| failure.error.to_string()));
    let subscribed = bus.subscribe(SubscribeRequest::default()).await;
    said.push(subscribed.expect_err("fails").to_string());
    said.push(bus.ping().await.expect_err("fails").to_string());
    said.push(bus.close().await.expect_err("fails").to_string());
    let store = Guarded::new(Arc::new(Talkative) as Arc<dyn SecretStore>, secrets());
    said.push(
        store
            .get("name", &Metadata::new())
            .await
            .expect_err("fails")
            .to_string(),
    );
    said.push(store.get_all(&Metadata::new()).await.expect_err("fails").to_string());
    said.push(store.close().await.expect_err("fails").to_string());
    let out = Guarded::new(Arc::new(Talkative) as Arc<dyn Binding>, secrets());
    let failed = out.invoke(&Operation::default()).await.expect_err("fails");
    said.push(failed.to_string());
    said.extend(failed.metadata.into_values());
    said.push(out.listen(Arc::new(Nobody)).await.err().expect("fails").to_string());
    said.push(out.close().await.expect_err("fails").to_string());
    let piece = Guarded::new(Arc::new(Talkative) as Arc<dyn Middleware>, secrets());
    let (mut head, ()) = http::Request::new(()).into_parts();
    said.push(piece.judge(&mut head).await.expect_err("fails").to_string());
    let model = Guarded::new(Arc::new(Talkative) as Arc<dyn Conversation>, secrets());
    said.push(
        model
            .converse(&Request::default())
            .await
            .expect_err("fails")
            .to_string(),
    );
    said.push(model.close().await.expect_err("fails").to_string());
    said.extend(of_the_others().await);
    assert_eq!(said.len(), 24);
    for text in said {
        assert!(text.contains("AUTH *** failed"), "{text}");
    }
}
