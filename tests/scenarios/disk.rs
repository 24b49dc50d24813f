//! A full disk.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use palladium_tests::{
    app::App,
    system::{AGENT, CONTROL_PLANE, GATEWAY, ROLES, START, STORE, System},
    until,
};
use serde_json::json;

/// Store and control plane say clearly that they cannot write, and go on reading; a process that dies meanwhile waits for
/// space; nothing acknowledged is lost or half there; and all works when there is space again. Needs root.
#[tokio::test]
async fn sec_147_a_full_disk_is_said_corrupts_nothing_and_passes() -> Result<()> {
    let mut system = System::prepare_on_disk(64)?;
    system.launch().await?;
    system.ready().await?;
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    let value = |n: u32| json!({"n": n, "filling": "x".repeat(20_000)});
    app.save("kvstore", "key-0", &value(0)).await?.good()?;

    system.disk()?.fill()?;
    // Files that are there already may still hold some.
    let mut kept = 1;
    let refusal = loop {
        let answer = app.save("kvstore", &format!("key-{kept}"), &value(kept)).await?;
        if answer.status != 204 {
            break answer;
        }
        kept += 1;
        ensure!(kept < 2_000, "the disk is never full");
    };
    ensure!(
        refusal.status == 500 && refusal.body["errorCode"] == "ERR_STATE_SAVE",
        "{refusal:?}"
    );
    ensure!(
        refusal.body["message"].as_str().context("no message")?.contains("full"),
        "{refusal:?}"
    );
    let refusal = 'full: {
        for n in 0..2_000 {
            let done = system.cli_with(&["project", "create", &format!("p{n}")], "").await?;
            if done.code != 0 {
                break 'full done;
            }
        }
        bail!("the control plane never finds the disk full");
    };
    ensure!(
        refusal.err.contains("disk") && refusal.err.contains("full"),
        "{refusal:?}"
    );
    // Both still read.
    system.cli(&["project", "get", "shop"]).await?;
    let whole = async |kept| {
        for n in 0..kept {
            let found = app.load("kvstore", &format!("key-{n}")).await?.good()?;
            ensure!(found == value(n), "key-{n} was acknowledged, and is {found}");
        }
        Ok(())
    };
    whole(kept).await?;
    ensure!(
        app.load("kvstore", &format!("key-{kept}")).await?.status == 204,
        "a refused key is there"
    );
    for role in [STORE, GATEWAY, AGENT, CONTROL_PLANE] {
        system.kill(role)?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;

    system.disk()?.empty()?;
    system.ready().await?;
    until(START, "everything acknowledged is there", async || whole(kept).await).await?;
    app.save("kvstore", "late", &json!(1)).await?.good()?;
    until(START, "an App ID can be made", async || {
        let made = system
            .cli_with(&["appid", "create", "late", "-p", "shop", "--wait"], "")
            .await?;
        App::of(&system, "shop", "late")
            .await?
            .load("kvstore", "x")
            .await?
            .good()
            .context(made.err)
    })
    .await?;
    let settled = ROLES.map(|role| system.pid(role).ok());
    system.stop().await?;
    system.launch().await?;
    system.ready().await?;
    ensure!(
        settled.iter().all(Option::is_some),
        "something did not come back: {settled:?}"
    );
    until(START, "everything is there after a restart", async || whole(kept).await).await?;
    system.finish().await
}
