//! `palladium up` as a watcher: killed, started twice, in the way of others, and everything frozen for longer than its
//! certificates live.

use std::{net::TcpListener, time::Duration};

use anyhow::{Result, ensure};
use palladium_tests::{
    system::{ROLES, START, SUPERVISOR, System},
    until,
};
use rustix::process::Signal;

const PROJECTS: &str = "/apis/cra.diagrid.io/v1beta1/projects";

/// `up` is in nobody's way: killed, all goes on; started again, it finds the very same processes, and Ctrl-C ends them.
#[tokio::test]
async fn a_killed_up_changes_nothing_and_the_next_one_takes_over() -> Result<()> {
    let mut system = System::start().await?;
    let pids = |system: &System| ROLES.iter().map(|role| system.pid(role)).collect::<Result<Vec<_>>>();
    let before = pids(&system)?;
    system.kill_up().await?;
    system.api()?.get(PROJECTS).await?.good()?;
    system.launch().await?;
    until(START, "it says that it watches", async || {
        ensure!(system.said()?.contains("already running; watching it"));
        Ok(())
    })
    .await?;
    ensure!(pids(&system)? == before, "something was restarted");
    // The supervisor that it did not start itself is watched all the same.
    let old = system.kill(SUPERVISOR)?;
    system.replaced(SUPERVISOR, old, START).await?;
    ensure!(pids(&system)?[1..] == before[1..], "the roles outlive their parent");
    system.finish().await
}

/// The second one names the first, and changes nothing.
#[tokio::test]
async fn a_second_up_over_the_same_folder_is_refused() -> Result<()> {
    let system = System::start().await?;
    let (status, said) = system.run_up(&[]).await?;
    ensure!(status.code() == Some(69) && said.contains("already runs over"), "{status}: {said}");
    system.api()?.get(PROJECTS).await?.good()?;
    system.finish().await
}

/// A taken port is found before anything is started, and the message says what to do.
#[tokio::test]
async fn sec_147_a_taken_port_is_named_with_its_flag() -> Result<()> {
    let mut system = System::prepare()?;
    let port = system.ports.gateway();
    let taken = TcpListener::bind(("127.0.0.1", port))?;
    let (status, said) = system.run_up(&[]).await?;
    ensure!(status.code() == Some(69), "{status}: {said}");
    ensure!(said.contains(&format!("port {port}")) && said.contains("--port-gateway"), "{said}");
    drop(taken);
    system.launch().await?;
    system.ready().await?;
    system.finish().await
}

/// A folder in which nothing can be written.
#[tokio::test]
async fn sec_147_a_folder_that_cannot_be_made_is_named() -> Result<()> {
    let system = System::prepare()?;
    // A file in the way stops root too, unlike permissions.
    std::fs::write(system.data(), "")?;
    let (status, said) = system.run_up(&[]).await?;
    ensure!(status.code() == Some(69), "{status}: {said}");
    ensure!(said.contains("cannot create folder") && said.contains(&system.data().display().to_string()), "{said}");
    system.finish().await
}

/// A laptop that slept: every process is frozen for three lives of its certificate, and all comes back unaided.
#[tokio::test]
async fn everything_comes_back_after_a_freeze_past_the_life_of_its_certificates() -> Result<()> {
    let system = System::start_with(&["--leaf-ttl", "5"]).await?;
    system.api()?.get(PROJECTS).await?.good()?;
    system.signal_all(Signal::STOP)?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    system.signal_all(Signal::CONT)?;
    let serves = |path: &'static str| {
        let system = &system;
        until(START, "it serves again", async move || {
            let answer = system.api()?.get(path).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
    };
    serves(PROJECTS).await?;
    let connected = "/apis/cra.diagrid.io/v1beta1/regions";
    serves(connected).await?;
    let gateway = palladium_tests::api::Api::gateway(system.ports.gateway(), &system.ca_file(), "none".into())?;
    until(START, "the gateway serves again", async || {
        let answer = gateway.get("/v1.0/healthz").await?;
        ensure!(answer.status == 401, "{answer:?}");
        Ok(())
    })
    .await?;
    // Nothing is left in a loop of restarts: the same processes a moment later.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let pids = || ROLES.iter().map(|role| system.pid(role)).collect::<Result<Vec<_>>>();
    let settled = pids()?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(pids()? == settled, "something restarts again and again");
    system.finish().await
}
