//! Values of secret stores: how many are asked for at a time, and where they end up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use palladium_component::secrets::Secret;
use palladium_component::state::Metadata;
use palladium_component::{CallError, Reply};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::*;
use crate::resources::References;

/// A store that takes a second for each value, and whose secrets have one value, their own name; `gone` is none of them.
#[derive(Default)]
struct Slow {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl SecretStore for Slow {
    fn get<'a>(&'a self, name: &'a str, _: &'a Metadata) -> Reply<'a, Secret, CallError> {
        Reply::wait(async move {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            match name {
                "gone" => Err(CallError::Other("there is no such secret".to_owned())),
                name => Ok(Secret([("k".to_owned(), name.to_owned())].into())),
            }
        })
    }

    fn get_all<'a>(&'a self, _: &'a Metadata) -> Reply<'a, BTreeMap<String, Secret>, CallError> {
        Reply::ready(Ok(BTreeMap::new()))
    }
}

fn opener(store: &Arc<Slow>) -> Opener {
    let opener = Opener {
        app_id: "app".to_owned(),
        namespace: "ns".to_owned(),
        hosting: Hosting::SelfHosted,
        managed: None,
        pluggable: Vec::new(),
        secrets: SecretStores::default(),
    };
    opener.secrets.add("vault", store.clone());
    opener
}

fn component(secrets: &[String]) -> Component {
    let items: Vec<_> = secrets
        .iter()
        .map(|secret| json!({ "name": format!("of-{secret}"), "secretKeyRef": { "name": secret, "key": "k" } }))
        .collect();
    let document = json!({
        "metadata": { "name": "c" }, "auth": { "secretStore": "vault" },
        "spec": { "type": "state.in-memory", "version": "v1", "metadata": items },
    });
    let read = Component::read(document, "app", "ns", References::Resolved);
    read.expect("sound").expect("in scope")
}

#[tokio::test(start_paused = true)]
async fn a_components_secrets_are_asked_for_side_by_side_and_not_all_at_once() {
    let store = Arc::new(Slow::default());
    let opener = opener(&store);
    let secrets: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let before = Instant::now();
    let resolved = opener.resolve(&component(&secrets)).await.expect("all are there");
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    assert_eq!(store.most.load(Ordering::Relaxed), AT_ONCE);
    for secret in &secrets {
        assert_eq!(resolved.properties.get(&format!("of-{secret}")), Some(secret.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_secret_that_is_not_there_is_told() {
    let opener = opener(&Arc::new(Slow::default()));
    let declared = component(&["a".to_owned(), "gone".to_owned(), "b".to_owned()]);
    let Err(error) = opener.resolve(&declared).await else {
        panic!("one is not there")
    };
    assert!(
        matches!(&error, LoadError::Secret { field, .. } if field == "of-gone"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn endpoints_wait_for_their_secrets_side_by_side() {
    let opener = opener(&Arc::new(Slow::default()));
    let mut endpoints: Vec<HttpEndpoint> = (0..20)
        .map(|n| {
            let secret = if n == 7 { "gone" } else { "there" };
            let headers: Vec<_> = ["x-a", "x-b"]
                .iter()
                .map(|header| json!({ "name": header, "secretKeyRef": { "name": secret, "key": "k" } }))
                .collect();
            let document = json!({
                "metadata": { "name": format!("e{n}") }, "auth": { "secretStore": "vault" },
                "spec": { "version": "v1alpha1", "baseUrl": "https://a.example", "headers": headers },
            });
            let read = HttpEndpoint::read(document, "app", "ns", References::Resolved);
            read.expect("sound").expect("in scope")
        })
        .collect();
    let before = Instant::now();
    opener.complete(&mut endpoints).await;
    assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
    for (n, endpoint) in endpoints.iter().enumerate() {
        assert_eq!(endpoint.unusable.is_some(), n == 7, "{n}");
        assert_eq!(endpoint.headers.len(), if n == 7 { 0 } else { 2 }, "{n}");
    }
}
