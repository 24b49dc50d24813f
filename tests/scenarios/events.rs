//! Managed publish/subscribe over a whole installation: one App ID publishes through the gateway, another one's application
//! receives, and everything that stands between them is killed meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    app::App,
    system::{START, STORE, System},
    until,
};
use serde_json::json;

use crate::callbacks::Echo;

const SOON: Duration = Duration::from_secs(60);
const BEFORE: usize = 40;
const WHILE: usize = 40;

/// Nothing that was acknowledged is lost, whether the store or the receiving Dapr Server is killed; one that is not in scope
/// has no such component.
#[tokio::test]
async fn no_acknowledged_event_is_lost_whoever_is_killed() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    let echo = Echo::start().await?;
    let create = [
        "appid",
        "create",
        "billing",
        "-p",
        "shop",
        "--app-endpoint",
        &echo.url,
        "--wait",
    ];
    system.cli(&create).await?;
    let billing = App::of(&system, "shop", "billing").await?;
    let orders = App::create(&system, "shop", "orders").await?;
    let stranger = App::create(&system, "shop", "stranger").await?;
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\n\
                spec: {type: pubsub.diagrid, version: v1, metadata: [{name: pubsub, value: pubsub}]}\n\
                scopes: [orders, billing]\n---\n\
                apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: events}\n\
                spec: {pubsubname: pubsub, topic: placed, routes: {default: /events}}\nscopes: [billing]\n";
    let done = system
        .cli_with(&["apply", "-f", "-", "-p", "shop", "--wait"], text)
        .await?;
    ensure!(done.code == 0, "{done:?}");
    let mut published = BTreeSet::new();
    until(SOON, "the first event is taken", || async { publish(&orders, 0).await }).await?;
    published.insert(0);
    let refused = publish(&stranger, 1).await.err().context("a stranger published")?;
    ensure!(refused.to_string().contains("ERR_PUBSUB_NOT_FOUND"), "{refused}");
    for number in 1..BEFORE {
        publish(&orders, number).await?;
        published.insert(number);
    }
    let old = system.kill(STORE)?;
    for number in BEFORE..BEFORE + WHILE {
        if publish(&orders, number).await.is_ok() {
            published.insert(number);
        }
        if number == BEFORE + WHILE / 2 {
            let server = billing.server();
            let old = system.kill(&server)?;
            system.replaced(&server, old, START).await?;
        }
    }
    system.replaced(STORE, old, START).await?;
    ensure!(published.len() > BEFORE, "only {} were taken", published.len());
    until(SOON, "every acknowledged event arrives", || async {
        let got: BTreeSet<usize> = echo
            .at("/events")
            .iter()
            .filter_map(|got| number_in(&got.body))
            .collect();
        let missing: Vec<_> = published.difference(&got).collect();
        ensure!(missing.is_empty(), "missing: {missing:?}");
        Ok(())
    })
    .await?;
    system
        .cli(&["component", "delete", "pubsub", "-p", "shop", "--yes", "--wait"])
        .await?;
    system.finish().await
}

async fn publish(app: &App, number: usize) -> Result<()> {
    let answer = app
        .gateway
        .post("/v1.0/publish/pubsub/placed", &json!({ "number": number }))
        .await?;
    answer.good().map(|_| ())
}

/// What [`publish`] put into an event.
fn number_in(event: &str) -> Option<usize> {
    let event: serde_json::Value = serde_json::from_str(event).ok()?;
    event.get("data")?.get("number")?.as_u64()?.try_into().ok()
}
