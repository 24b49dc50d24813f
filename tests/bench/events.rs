//! Events: published through a server over a broker and delivered by it to an application; and what many subscriptions weigh.
//!
//! One idea: an event counts when the application has it, so what is measured is the whole way, with nothing lost. It must
//! never count an event that was only published.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use palladium_peers::{rabbitmq_server::RabbitServer, redis_server::RedisServer};
use palladium_tests::until;

use crate::{
    Options,
    app::App,
    destination::Destination,
    load, process,
    report::Measures,
    requests::{Action, Wire},
    target::{IN_MEMORY, Setup, Target},
};

const REDIS: &str = "HTTP publish and delivery over Redis";
const RABBITMQ: &str = "HTTP publish and delivery over RabbitMQ";
const SUBSCRIPTIONS: &str = "memory with 10,000 subscriptions, MB";
const CONNECTIONS: usize = 16;
/// Until the last event has come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures everything once.
pub async fn visit(target: &Target, options: &Options) -> Result<Measures> {
    let mut measures = Measures::default();
    if options.wants(REDIS) {
        let server = RedisServer::start().await;
        let component = component("pubsub.redis", &server.metadata());
        delivery(REDIS, &component, target, options.span(), &mut measures)
            .await
            .context(REDIS)?;
    }
    if options.wants(RABBITMQ) {
        let server = RabbitServer::start().await;
        let component = component("pubsub.rabbitmq", &[("connectionString".to_owned(), server.address(0))]);
        delivery(RABBITMQ, &component, target, options.span(), &mut measures)
            .await
            .context(RABBITMQ)?;
    }
    if options.wants(SUBSCRIPTIONS) {
        let megabytes = subscriptions(target).await.context(SUBSCRIPTIONS)?;
        measures.add(SUBSCRIPTIONS, megabytes);
    }
    Ok(measures)
}

async fn delivery(name: &str, component: &str, target: &Target, span: Duration, measures: &mut Measures) -> Result<()> {
    let app = App::start()?;
    let resources = format!("{component}---\n{}", subscription("orders"));
    let (server, _) = target.start(&listening(&app, &resources)).await?;
    let to = Destination::plain(server.http);
    let mut load = load::connect(&to, Wire::Http, Action::Publish, CONNECTIONS).await?;
    let all_came = async |published: usize| {
        until(PATIENCE, "the last event", async || {
            let came = app.events();
            ensure!(came >= published, "{came} of {published}");
            Ok(())
        })
        .await
    };
    // Each connection has published once; when these have come, the subscription is there.
    all_came(CONNECTIONS).await?;
    let (before, started) = (process::cpu_seconds(&[&server.process])?, Instant::now());
    let published = load.run(span).await?.requests();
    all_came(CONNECTIONS + published).await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu_seconds(&[&server.process])? - before;
    measures.add(format!("{name}, per CPU-second"), published as f64 / cpu);
    measures.add(format!("{name}, per second"), published as f64 / seconds);
    server.stop().await
}

async fn subscriptions(target: &Target) -> Result<f64> {
    let app = App::start()?;
    let mut resources = IN_MEMORY.to_owned();
    for index in 1..10_000 {
        write!(resources, "---\n{}", subscription(&format!("topic-{index}")))?;
    }
    write!(resources, "---\n{}", subscription("orders"))?;
    let (server, _) = target.start(&listening(&app, &resources)).await?;
    let to = Destination::plain(server.http);
    // The bus in memory forgets what nobody is there for; what is published here is subscribed to last.
    until(PATIENCE, "an event", async || {
        load::connect(&to, Wire::Http, Action::Publish, 1).await?;
        ensure!(app.events() > 0, "none came");
        Ok(())
    })
    .await?;
    let megabytes = server.process.resident_megabytes()?;
    server.stop().await?;
    Ok(megabytes)
}

fn listening<'a>(app: &App, resources: &'a str) -> Setup<'a> {
    Setup {
        app: Some((app.address.port(), "http")),
        resources,
        ..Setup::default()
    }
}

/// With the broker's own defaults but for where it is.
fn component(type_name: &str, metadata: &[(String, String)]) -> String {
    let mut text = format!(
        "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: pubsub}}
spec:
  type: {type_name}
  version: v1
  metadata:
"
    );
    for (name, value) in metadata {
        text.push_str(&format!("  - {{name: {name}, value: '{value}'}}\n"));
    }
    text
}

fn subscription(topic: &str) -> String {
    format!(
        "\
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {{name: {topic}}}
spec:
  pubsubname: pubsub
  topic: {topic}
  routes: {{default: /event}}
"
    )
}
