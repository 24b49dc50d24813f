//! A region without its control plane.

use anyhow::{Result, ensure};
use palladium_tests::{
    app::App,
    load::Load,
    system::{AGENT, CONTROL_PLANE, CONTROL_SENTRY, GATEWAY, REGION_SENTRY, START, STORE, SUPERVISOR, System},
    until,
};
use serde_json::json;

/// Applications feel nothing; every process of the region restarts from what it knew last, alone and all together; and the
/// control plane is told the truth when it is back.
#[tokio::test]
async fn sec_138_sec_139_a_region_serves_and_restarts_without_its_control_plane() -> Result<()> {
    let mut system = System::start().await?;
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    app.save("kvstore", "before", &json!(1)).await?.good()?;
    let dead = [CONTROL_PLANE, CONTROL_SENTRY].map(|role| system.keep_dead(role));
    until(START, "it is gone", async || {
        ensure!(system.pid(CONTROL_PLANE).is_err() && system.pid(CONTROL_SENTRY).is_err());
        Ok(())
    })
    .await?;

    let revoked = system
        .cli_with(&["appid", "token", "revoke", "orders", "-p", "shop"], "")
        .await?;
    let address = format!("localhost:{}", system.ports.control_plane());
    ensure!(revoked.code != 0 && revoked.err.contains(&address), "{revoked:?}");

    let load = Load::start(&app, "kvstore", 2);
    let server = app.server();
    for role in [&server, GATEWAY, AGENT, REGION_SENTRY, STORE] {
        let old = system.kill(role)?;
        system.replaced(role, old, START).await?;
        load.goes_on(5).await?;
    }
    // The machine is switched off and on again.
    system.kill_all().await?;
    system.launch().await?;
    system
        .ready_are(&[SUPERVISOR, REGION_SENTRY, AGENT, STORE, GATEWAY, &server])
        .await?;
    load.goes_on(10).await?;
    let written = load.stop().await?;
    written.check().await?;
    ensure!(app.load("kvstore", "before").await?.good()? == json!(1));
    until(START, "`palladium up` says what is missing, and stays", async || {
        ensure!(
            system.said()?.contains("served without the control plane"),
            "{}",
            system.said()?
        );
        Ok(())
    })
    .await?;

    drop(dead);
    system.ready().await?;
    until(START, "the region is in touch again", async || {
        system
            .cli(&["appid", "token", "revoke", "orders", "-p", "shop", "--wait"])
            .await
    })
    .await?;
    ensure!(
        app.load("kvstore", "before").await?.status == 401,
        "the old token still works"
    );
    let again = App::of(&system, "shop", "orders").await?;
    ensure!(again.load("kvstore", "before").await?.good()? == json!(1));
    system.finish().await
}
