//! Start, stop, start again; twice, in the way of others, and where it cannot.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, time::Instant};

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    api::Api,
    app::App,
    system::{GATEWAY, ROLES, START, SUPERVISOR, System},
    until,
};
use serde_json::json;
use tokio::process::Command;

const PROJECTS: &str = "/apis/cra.diagrid.io/v1beta1/projects";

/// What the first start makes is for its owner only, the API answers only to the key, and a second start finds the same:
/// key, project, App ID, token, values.
#[tokio::test]
async fn start_stop_and_start_again() -> Result<()> {
    let mut system = System::start().await?;
    let key = system.admin_key()?;
    for (name, mode) in [("", 0o700), ("admin.key", 0o600)] {
        let found = fs::metadata(system.data().join(name))?.permissions().mode() & 0o777;
        ensure!(found == mode, "`{name}` has mode {found:o}");
    }
    let stranger = Api::new(system.ports.control_plane(), &system.ca_file(), "not-a-key".to_owned())?;
    ensure!(stranger.get(PROJECTS).await?.status == 401);
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    ensure!(app.save("kvstore", "kept", &json!({"n": 1})).await?.status == 204);

    let (status, said) = system.run_up(&[]).await?;
    ensure!(
        status.code() == Some(69) && said.contains("already runs over"),
        "{status}: {said}"
    );

    let stopping = Instant::now();
    let status = system.stop().await?;
    ensure!(status.success(), "Ctrl-C ends with {status}");
    eprintln!("stopped in {:?}", stopping.elapsed());
    ensure!(system.processes().is_empty(), "something still runs");
    let starting = Instant::now();
    system.launch().await?;
    system.ready().await?;
    eprintln!("ready in {:?}", starting.elapsed());
    ensure!(system.admin_key()? == key, "the second start made another key");
    until(START, "the value is there", async || {
        let kept = app.load("kvstore", "kept").await?.good()?;
        ensure!(kept == json!({"n": 1}), "it is {kept}");
        Ok(())
    })
    .await?;
    let again = App::of(&system, "shop", "orders").await?;
    ensure!(again.token == app.token, "the App ID has another token");
    system.finish().await
}

/// `up` is in nobody's way: killed, all goes on; started again, it finds the very same processes, and Ctrl-C ends them.
#[tokio::test]
async fn a_killed_up_changes_nothing_and_the_next_one_takes_over() -> Result<()> {
    let mut system = System::start().await?;
    let pids = |system: &System| ROLES.iter().map(|role| system.pid(role)).collect::<Result<Vec<_>>>();
    let before = pids(&system)?;
    system.kill_up().await?;
    system.api()?.get(PROJECTS).await?.good()?;
    watch_again(&mut system).await?;
    ensure!(pids(&system)? == before, "something was restarted");
    // The supervisor that it did not start itself is watched all the same.
    let old = system.kill(SUPERVISOR)?;
    system.replaced(SUPERVISOR, old, START).await?;
    ensure!(pids(&system)?[1..] == before[1..], "the roles outlive their parent");
    // Both watchers at once: their ports are taken, but by what is ours.
    system.kill_up().await?;
    system.kill(SUPERVISOR)?;
    system.launch().await?;
    system.ready().await?;
    ensure!(
        pids(&system)?[1..] == before[1..],
        "the roles outlive both their watchers"
    );
    // Ctrl-C while nobody is there who could end them in order.
    system.kill(SUPERVISOR)?;
    system.finish().await
}

/// The lines that `up` prints to copy work as they are, in any shell, wherever this program and its data lie.
#[tokio::test]
async fn what_up_prints_to_copy_works() -> Result<()> {
    let python = std::env::var("PALLADIUM_PYTHON").context("PALLADIUM_PYTHON is set by `./dev test`")?;
    let mut system = System::start().await?;
    until(START, "it says what to try", async || {
        ensure!(system.said()?.contains("Ctrl-C stops"));
        Ok(())
    })
    .await?;
    let said = system.said()?;
    let lines = said.lines().skip_while(|line| *line != "Try it:").skip(1);
    let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    ensure!(lines.len() == 3, "{said}");
    for (line, expected) in lines.iter().zip(["hello", "\"id\":\"hello\"", "it works"]) {
        // curl tells a refusal only when it is asked to; Dapr's SDK is in an environment of its own.
        let line = line
            .replace("curl ", "curl -fsS ")
            .replace("python3 ", &format!("{python} "));
        let output = Command::new("sh")
            .args(["-c", &line])
            .env("HOME", system.home())
            .output()
            .await?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success() && said.contains(expected), "{line}\n{said}");
    }
    // Whoever closes the terminal does not mean to stop it.
    let roles = |system: &System| ROLES.iter().map(|role| system.pid(role)).collect::<Result<Vec<_>>>();
    let before = roles(&system)?;
    system.hang_up().await?;
    ensure!(roles(&system)? == before, "something ended with the terminal");
    watch_again(&mut system).await?;
    system.finish().await
}

/// Starts `up` over what runs. Before it says that it watches, Ctrl-C may reach it while it is no more than a new process.
async fn watch_again(system: &mut System) -> Result<()> {
    system.launch().await?;
    until(START, "it says that it watches", async || {
        ensure!(system.said()?.contains("already running; watching it"));
        Ok(())
    })
    .await
}

/// An `up` that finds an installation which it cannot see ready says so, ends, and leaves the rest alone.
#[tokio::test]
async fn an_up_that_fails_stops_nothing_that_it_found() -> Result<()> {
    let mut system = System::start().await?;
    system.kill_up().await?;
    let others: Vec<_> = ROLES.into_iter().filter(|role| *role != GATEWAY).collect();
    let pids = |system: &System| others.iter().map(|role| system.pid(role)).collect::<Result<Vec<_>>>();
    let before = pids(&system)?;
    fs::write(system.data().join("region/config/gateway.json"), "{}")?;
    system.kill(GATEWAY)?;
    let (status, said) = system.run_up(&[]).await?;
    ensure!(
        !status.success() && said.contains("gateway is not ready") && said.contains("what was found running goes on"),
        "{status}: {said}"
    );
    ensure!(pids(&system)? == before, "something was stopped");
    // A new supervisor gets its files anew.
    system.kill(SUPERVISOR)?;
    system.launch().await?;
    system.ready().await?;
    ensure!(pids(&system)?[1..] == before[1..], "something was restarted");
    system.finish().await
}

/// What is in the way is found before anything is started, and the message says what to do: a taken port, public or
/// internal, a folder that cannot be made, one that cannot be written.
#[tokio::test]
async fn sec_147_what_is_in_the_way_is_named() -> Result<()> {
    let mut system = System::prepare()?;
    let refused = async |system: &System, words: &[&str]| {
        let (status, said) = system.run_up(&[]).await?;
        ensure!(status.code() == Some(69), "{status}: {said}");
        ensure!(
            words.iter().all(|word| said.contains(word)),
            "{words:?} are not all in: {said}"
        );
        ensure!(system.processes().is_empty(), "something was started");
        Ok(())
    };
    // A file in the way stops root too, unlike permissions.
    fs::write(system.data(), "")?;
    let folder = system.data().display().to_string();
    refused(&system, &["cannot create folder", &folder]).await?;
    fs::remove_file(system.data())?;

    for (port, flag) in [
        (system.ports.control_plane(), "--port-control-plane"),
        (system.ports.stream(), "--port-stream"),
        (system.ports.gateway(), "--port-gateway"),
    ] {
        let _taken = TcpListener::bind(("127.0.0.1", port))?;
        refused(&system, &[&format!("port {port}"), flag]).await?;
        ensure!(
            !system.data().join("ports.json").exists(),
            "a port that is taken was recorded"
        );
    }
    system.launch().await?;
    system.ready().await?;
    system.stop().await?;
    // Recorded by now, so it is no longer free to choose another.
    let internal = system.ports.internal();
    let taken = TcpListener::bind(("127.0.0.1", internal))?;
    refused(&system, &[&format!("port {internal}"), "--internal-ports-from"]).await?;
    drop(taken);
    system.finish().await
}

/// A read-only file system, before the first start and after it. Needs root.
#[tokio::test]
async fn sec_147_a_read_only_data_folder_is_named() -> Result<()> {
    let mut system = System::prepare_on_disk(64)?;
    let refused = async |system: &System| {
        system.disk()?.read_only(true)?;
        let (status, said) = system.run_up(&[]).await?;
        ensure!(status.code() == Some(69), "{status}: {said}");
        ensure!(said.contains("Read-only file system"), "{said}");
        ensure!(said.contains(&system.data().display().to_string()), "{said}");
        ensure!(system.processes().is_empty(), "something was started");
        system.disk()?.read_only(false)
    };
    refused(&system).await?;
    system.launch().await?;
    system.ready().await?;
    system.stop().await?;
    refused(&system).await?;
    system.launch().await?;
    system.ready().await?;
    system.finish().await
}
