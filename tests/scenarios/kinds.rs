//! One file with every kind that lives in a project, applied as it is, twice, shown, refused and deleted.

use std::fs;

use anyhow::{Context, Result, ensure};
use palladium_tests::system::System;

/// In the worst order for whoever applies them one by one.
const ALL: &str = r#"
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: orders}
spec: {appConfig: strict}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: payments}
spec:
  baseUrl: https://payments.example
  headers: [{name: Authorization, value: Bearer canary-hunter2}]
scopes: [orders]
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: patient}
spec:
  policies: {retries: {slow: {policy: constant, duration: 1s, maxRetries: 3}}}
  targets: {apps: {payments: {retry: slow}}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: events}
spec: {pubsubname: pubsub, topic: orders, routes: {default: /orders}}
scopes: [orders]
---
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: strict}
spec: {accessControl: {defaultAction: deny, policies: [{appId: orders, defaultAction: allow}]}}
"#;

/// What the CLI calls each, with the name above.
const NOUNS: [(&str, &str); 4] = [
    ("configuration", "strict"),
    ("subscription", "events"),
    ("resiliency", "patient"),
    ("httpendpoint", "payments"),
];

#[tokio::test]
async fn one_file_holds_every_kind_and_is_applied_as_it_is() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    let file = system.home().join("all.yaml");
    fs::write(&file, ALL)?;
    let file = file.to_str().context("a path that is text")?.to_owned();
    for word in ["created", "replaced"] {
        let done = system
            .cli_with(&["apply", "-f", &file, "-p", "shop", "--wait"], "")
            .await?;
        ensure!(done.code == 0, "{done:?}");
        ensure!(
            done.out.lines().filter(|line| line.ends_with(word)).count() == 5,
            "{done:?}"
        );
        let first = done.out.lines().next().unwrap_or_default();
        ensure!(first.starts_with("Configuration strict"), "{done:?}");
    }
    for (noun, name) in NOUNS {
        let found = system.cli(&[noun, "get", name, "-p", "shop", "-o", "json"]).await?;
        ensure!(found["status"]["status"] == "ready", "{found}");
        ensure!(
            found["metadata"]["generation"] == 1,
            "applied twice, changed once: {found}"
        );
        ensure!(!found.to_string().contains("canary"), "{found}");
        let list = system.cli(&[noun, "list", "-p", "shop", "-o", "json"]).await?;
        ensure!(list["items"].as_array().map(Vec::len) == Some(1), "{list}");
    }
    let wrong = ALL.replace("/orders}", "orders}");
    let refused = system.cli_with(&["apply", "-f", "-", "-p", "shop"], &wrong).await?;
    ensure!(
        refused.code != 0 && refused.err.contains("spec.routes.default"),
        "{refused:?}"
    );
    let used = system
        .cli_with(&["configuration", "delete", "strict", "-p", "shop", "--yes"], "")
        .await?;
    ensure!(
        used.code != 0 && used.err.contains("App ID orders runs with it"),
        "{used:?}"
    );
    system
        .cli(&["appid", "delete", "orders", "-p", "shop", "--yes", "--wait"])
        .await?;
    for (noun, name) in NOUNS {
        system
            .cli(&[noun, "delete", name, "-p", "shop", "--yes", "--wait"])
            .await?;
        let gone = system.cli_with(&[noun, "get", name, "-p", "shop"], "").await?;
        ensure!(gone.code != 0, "{gone:?}");
    }
    system.finish().await
}
