//! A laptop that slept.

use std::time::Duration;

use anyhow::{Result, ensure};
use palladium_tests::{
    app::App,
    system::{ROLES, START, System},
    until,
};
use rustix::process::Signal;
use serde_json::json;

/// Every process is frozen for three lives of its certificate, and all comes back unaided.
#[tokio::test]
async fn everything_comes_back_after_a_freeze_past_the_life_of_its_certificates() -> Result<()> {
    let system = System::start_with(&["--leaf-ttl", "5"]).await?;
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    ensure!(app.save("kvstore", "before", &json!(1)).await?.status == 204);
    system.signal_all(Signal::STOP)?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    system.signal_all(Signal::CONT)?;
    until(START, "the App ID is served again", async || {
        let before = app.load("kvstore", "before").await?.good()?;
        ensure!(before == json!(1), "it reads {before}");
        app.save("kvstore", "after", &json!(2)).await?.good()
    })
    .await?;
    // From the command line to a Dapr Server of its own: control plane, stream, agent, supervisor and sentry.
    until(START, "an App ID can be created", async || {
        let made = system
            .cli_with(&["appid", "create", "late", "-p", "shop", "--wait"], "")
            .await?;
        let there = made.err.contains("already") || made.err.contains("exists");
        ensure!(made.code == 0 || there, "{}", made.err);
        App::of(&system, "shop", "late")
            .await?
            .load("kvstore", "x")
            .await?
            .good()
    })
    .await?;
    // Nothing is left in a loop of restarts: over more than a life of a certificate, the same processes.
    let server = app.server();
    let roles = ROLES.iter().copied().chain([server.as_str()]);
    let pids = || roles.clone().map(|role| system.pid(role)).collect::<Result<Vec<_>>>();
    let settled = pids()?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    ensure!(pids()? == settled, "something restarts again and again");
    app.load("kvstore", "after").await?.good()?;
    system.finish().await
}
