//! The Unix socket: the agent asks for Dapr Servers, and sees the process table.
//!
//! One idea: who connects is judged by the kernel's word before a byte is read, and again at each call: the pid must be the
//! agent's, and the pidfd that the supervisor holds of the agent must say that it still runs. The agent chooses names, limits
//! and a configuration file below one folder; must never choose a program.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use palladium_os::{Limits, Process};
use palladium_proto::supervisor as wire;
use palladium_proto::supervisor::supervisor_server::{Supervisor as Api, SupervisorServer};
use tokio::net::{UnixListener, UnixStream, unix::UCred};
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::codegen::BoxStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::ledger::{Entry, State};
use crate::roles::describe;
use crate::supervisor::{Start, Supervisor};

const AGENT: &str = "agent";
const MAX_GRACE: u64 = 60;
/// Private memory of a Dapr Server for which the agent names no bound: what it holds of bodies, some times over, and what its
/// drivers keep. One that needs more ends, and is started again.
const SERVER_MEMORY: u64 = 2 << 30;

/// Binds the socket, mode 0600. The folder is private, so nobody connects in between.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Socket {
        path: path.to_owned(),
        source,
    };
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves until the supervisor stops.
pub(crate) async fn serve(supervisor: Arc<Supervisor>, listener: UnixListener) {
    let judge = supervisor.clone();
    let agents = UnixListenerStream::new(listener).filter(move |accepted| {
        let refused = matches!(accepted, Ok(stream) if !judge.may_connect(stream));
        if refused {
            tracing::warn!("a process that is not the agent tried the supervisor's socket");
        }
        std::future::ready(!refused)
    });
    let stopping = supervisor.stopping.clone();
    let server = tonic::transport::Server::builder().add_service(SupervisorServer::new(Socket(supervisor)));
    if let Err(error) = server.serve_with_incoming_shutdown(agents, stopping.wait()).await {
        tracing::error!(%error, "the supervisor's socket is closed");
    }
}

struct Socket(Arc<Supervisor>);

#[tonic::async_trait]
impl Api for Socket {
    async fn start(&self, request: Request<wire::StartRequest>) -> Result<Response<wire::Process>, Status> {
        self.0.authorize(&request)?;
        let request = request.into_inner();
        let process = self.0.start_server(&request).await.map_err(|error| match error {
            Error::Config(reason) => Status::invalid_argument(reason),
            error => Status::unavailable(error.to_string()),
        })?;
        tracing::debug!(name = request.name, pid = process.pid(), "answered");
        let entry = self
            .0
            .table
            .get(&request.name)
            .ok_or_else(|| Status::aborted("it was stopped meanwhile"))?;
        Ok(Response::new(entry.into()))
    }

    async fn stop(&self, request: Request<wire::StopRequest>) -> Result<Response<wire::StopResponse>, Status> {
        self.0.authorize(&request)?;
        let wire::StopRequest { name, grace_seconds } = request.into_inner();
        if !name.contains('/') {
            return Err(Status::permission_denied("only Dapr Servers are stopped here"));
        }
        // A start under way comes first, so that it is stopped too.
        let process = self.0.present(&name).await;
        if let Some(process) = &process {
            let grace = Duration::from_secs(u64::from(grace_seconds).min(MAX_GRACE));
            let stopped = process.stop(grace).await;
            stopped.map_err(|error| Status::internal(error.to_string()))?;
        }
        let removed = self.0.table.change(|table| {
            // Meanwhile it may have a successor, which nobody asked to stop.
            if table.get(&name).is_some_and(|entry| entry.is_of(process.as_ref())) {
                table.remove(&name);
            }
        });
        removed.await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(wire::StopResponse {}))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<BoxStream<wire::ProcessTable>>, Status> {
        self.0.authorize(&request)?;
        let tables = WatchStream::new(self.0.table.subscribe()).map(|table| {
            Ok(wire::ProcessTable {
                processes: table.into_values().map(Into::into).collect(),
            })
        });
        Ok(Response::new(Box::pin(tables)))
    }
}

impl Supervisor {
    fn may_connect(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| self.is_agent(&peer))
    }

    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let peer = request
            .extensions()
            .get::<UdsConnectInfo>()
            .and_then(|info| info.peer_cred);
        let refused = || Status::permission_denied("only the agent may speak here");
        peer.filter(|peer| self.is_agent(peer)).map(|_| ()).ok_or_else(refused)
    }

    fn is_agent(&self, peer: &UCred) -> bool {
        let agent = self.table.get(AGENT).and_then(|entry| entry.process);
        agent.is_some_and(|agent| {
            peer.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(agent.pid()) && agent.is_running()
        })
    }

    async fn start_server(self: &Arc<Self>, request: &wire::StartRequest) -> Result<Arc<Process>, Error> {
        let file = Path::new(&request.config_file);
        let plain = file
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !plain || !file.starts_with(&self.config.apps_folder) {
            return Err(Error::Config(
                "config_file must lie in the folder of the App IDs".to_owned(),
            ));
        }
        let part = |part: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(good)
        };
        if !request
            .name
            .split_once('/')
            .is_some_and(|(project, app)| part(project) && part(app))
        {
            return Err(Error::Config("name must be <project id>/<app id>".to_owned()));
        }
        let known = self.table.get(&request.name);
        if let Some(running) = known.as_ref().and_then(|entry| entry.process.clone())
            && running.is_running()
        {
            return Ok(running);
        }
        let entry = Entry {
            name: request.name.clone(),
            spiffe_id: request.spiffe_id.clone(),
            state: State::Running,
            fingerprint: None,
            reason: String::new(),
            restarts: known.map_or(0, |entry| entry.restarts + 1),
            started_at_unix_ms: 0,
            exit_code: 0,
            log_file: self
                .config
                .log_folder
                .join(format!("{}.log", request.name.replace('/', "."))),
            process: None,
        };
        let some = |limit: u64| (limit > 0).then_some(limit);
        let memory = some(request.memory_limit_bytes).unwrap_or(SERVER_MEMORY);
        let start = Start {
            entry,
            program: &self.config.dapr_server,
            arguments: vec!["run".into(), "--config".into(), file.into()],
            limits: Limits {
                memory_bytes: Some(memory),
                open_files: some(request.open_files_limit.into()),
            },
            stdin: &request.stdin,
        };
        let process = self.start(start).await?;
        self.spawn(
            "dapr-server",
            self.clone().await_server(request.name.clone(), process.clone()),
        );
        Ok(process)
    }

    /// Notes the end of a Dapr Server, unless it was stopped by order or has a successor.
    pub(crate) async fn await_server(self: Arc<Self>, name: String, process: Arc<Process>) {
        let (code, reason) = describe(process.ended().await);
        if self.note_end(&name, Some(&process), State::Exited, code, &reason).await {
            tracing::warn!(name, reason, "a Dapr Server ended");
        }
    }
}

impl From<Entry> for wire::Process {
    fn from(entry: Entry) -> Self {
        let state = match entry.state {
            State::Running => wire::State::Running,
            State::BackingOff => wire::State::BackingOff,
            State::Exited => wire::State::Exited,
        };
        Self {
            name: entry.name,
            spiffe_id: entry.spiffe_id,
            pid: entry.fingerprint.map_or(0, |fingerprint| fingerprint.pid),
            state: state.into(),
            reason: entry.reason,
            restarts: entry.restarts,
            started_at_unix_ms: entry.started_at_unix_ms,
            exit_code: entry.exit_code,
            log_file: entry.log_file.display().to_string(),
        }
    }
}
