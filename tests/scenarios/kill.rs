//! kill -9 of everything, one by one and all at once, under load.

use anyhow::{Result, ensure};
use palladium_tests::{
    app::App,
    load::Load,
    system::{AGENT, CONTROL_PLANE, CONTROL_SENTRY, GATEWAY, REGION_SENTRY, ROLES, START, STORE, SUPERVISOR, System},
    until,
};
use serde_json::json;

const WRITERS: u64 = 3;
/// Keys between two blows: the load has felt the first one and gone on.
const BETWEEN: u64 = 15;

/// No acknowledged write is lost, no answer is wrong, and all comes back without a hand.
#[tokio::test]
async fn no_acknowledged_write_is_lost_whatever_is_killed() -> Result<()> {
    let mut system = System::start().await?;
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    let server = app.server();
    let load = Load::start(&app, "kvstore", WRITERS);
    load.goes_on(BETWEEN).await?;

    for role in [
        SUPERVISOR,
        AGENT,
        GATEWAY,
        STORE,
        REGION_SENTRY,
        CONTROL_SENTRY,
        CONTROL_PLANE,
        &server,
    ] {
        let others: Vec<_> = ROLES
            .iter()
            .copied()
            .chain([server.as_str()])
            .filter(|other| *other != role)
            .collect();
        let pids = || others.iter().map(|other| system.pid(other)).collect::<Result<Vec<_>>>();
        let before = pids()?;
        let old = system.kill(role)?;
        system.replaced(role, old, START).await?;
        load.goes_on(BETWEEN).await?;
        ensure!(pids()? == before, "others than {role} were restarted");
    }
    // What was away is in touch again: from the command line to a new Dapr Server and back.
    App::create(&system, "shop", "late")
        .await?
        .save("kvstore", "x", &json!(1))
        .await?
        .good()?;

    system.kill_all().await?;
    system.launch().await?;
    system.ready().await?;
    load.goes_on(BETWEEN).await?;
    let written = load.stop().await?;
    written.check().await?;
    eprintln!("{} keys, {} calls made again", written.keys(), written.repeated);
    // The same when nothing of it is in memory.
    system.stop().await?;
    system.launch().await?;
    system.ready().await?;
    until(START, "all keys are there", async || written.check().await).await?;
    system.finish().await
}
