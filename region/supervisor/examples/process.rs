//! A tiny program for the supervisor's tests: itself a supervisor, or a child that does what its configuration says.
//!
//! `run supervisor --config F`, `run <role> --config F`, `run --config F`. Must never be shipped.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use palladium_proto::supervisor::supervisor_client::SupervisorClient;
use palladium_proto::supervisor::{StartRequest, StopRequest, WatchRequest};
use palladium_tasks::{ReadyFile, Shutdown};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

/// What a child does.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Child {
    /// Its folder: `ready`, `input` (what came on standard input), `starts` (a line with the pid each time).
    data_folder: PathBuf,
    /// Ends with this code …
    exit_code: Option<u8>,
    /// … after this time.
    #[serde(default)]
    after_ms: u64,
    /// Does not stop when asked to.
    #[serde(default)]
    stubborn: bool,
    /// Acts as the agent on this socket: starts the Dapr Server with this configuration file, writes the table to `table`.
    agent: Option<(PathBuf, PathBuf)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let config = PathBuf::from(arguments.last().expect("--config F"));
    let shutdown = Shutdown::on_signals().expect("signals");
    if arguments[2] == "supervisor" {
        palladium_telemetry::init(&Default::default()).expect("logging");
        let config = palladium_config::load(&config).expect("configuration");
        return match palladium_supervisor::run(config, shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "the supervisor ends");
                ExitCode::from(error.exit_code())
            }
        };
    }
    let child: Child = palladium_config::load(&config).expect("configuration");
    run(child, shutdown).await
}

async fn run(child: Child, shutdown: Shutdown) -> ExitCode {
    let folder = &child.data_folder;
    let mut input = Vec::new();
    tokio::io::stdin().read_to_end(&mut input).await.expect("input");
    std::fs::write(folder.join("input"), input).expect("written");
    let mut starts = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("starts"))
        .expect("opened");
    writeln!(starts, "{}", std::process::id()).expect("written");
    let ready = ReadyFile::create(folder).expect("ready");
    if let Some((socket, config)) = &child.agent {
        let said = act(socket.clone(), config.display().to_string())
            .await
            .unwrap_or_else(|error| error.to_string());
        std::fs::write(folder.join("table"), said).expect("written");
    }
    if let Some(code) = child.exit_code {
        tokio::time::sleep(Duration::from_millis(child.after_ms)).await;
        return ExitCode::from(code);
    }
    shutdown.wait().await;
    std::fs::write(folder.join("stopped"), palladium_now()).expect("written");
    if child.stubborn {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    drop(ready);
    ExitCode::SUCCESS
}

async fn act(socket: PathBuf, config_file: String) -> Result<String, Box<dyn std::error::Error>> {
    let dial = tower::service_fn(move |_: tonic::transport::Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://supervisor")
        .connect_with_connector(dial)
        .await?;
    let mut client = SupervisorClient::new(channel);
    let elsewhere = StartRequest {
        name: "prj-a/evil".into(),
        config_file: "/etc/passwd".into(),
        ..Default::default()
    };
    let refused = client
        .start(elsewhere)
        .await
        .expect_err("outside of the folder of the App IDs");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let stop = StopRequest {
        name: "gateway".into(),
        grace_seconds: 0,
    };
    assert_eq!(
        client.stop(stop).await.expect_err("a platform role").code(),
        tonic::Code::PermissionDenied
    );
    let request = StartRequest {
        name: "prj-a/orders".into(),
        config_file,
        stdin: (&b"envelope"[..]).into(),
        ..Default::default()
    };
    let first = client.start(request.clone()).await?.into_inner();
    let again = client.start(request).await?.into_inner();
    assert_eq!(first.pid, again.pid, "started twice");
    let table = client
        .watch(WatchRequest {})
        .await?
        .into_inner()
        .message()
        .await?
        .ok_or("no table")?;
    let lines: Vec<_> = table
        .processes
        .iter()
        .map(|process| format!("{} {}", process.name, process.pid))
        .collect();
    Ok(lines.join("\n"))
}

fn palladium_now() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    now.as_micros().to_string()
}
