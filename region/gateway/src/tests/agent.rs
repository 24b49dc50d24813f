//! A stand-in for the agent: serves `WatchRoutes` from a channel and collects reports.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palladium_proto::region::workload_server::{Workload, WorkloadServer};
use palladium_proto::region::{AppServerState, ReportRequest, ReportResponse, RouteTable, WatchRequest};
use palladium_tls::{ALPN_H2, Acceptor, Limits, exactly, incoming, mtls_server_config};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::pki::Ca;

#[derive(Clone)]
pub struct Agent {
    pub table: watch::Sender<RouteTable>,
    pub reports: Arc<Mutex<Vec<ReportRequest>>>,
}

pub struct Serving {
    pub agent: Agent,
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Serving {
    /// Gone when this returns, connections and all.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Serves as `path`, to the gateway only, in a runtime of its own so that it can be killed whole; port 0 for any.
pub fn serve(ca: &Ca, path: &str, port: u16) -> Serving {
    let agent = Agent {
        table: watch::Sender::new(RouteTable::default()),
        reports: Arc::default(),
    };
    let bundles = ca.bundles();
    let gateway = exactly(&ca.id("/ns/palladium/gateway"));
    let config = mtls_server_config(&ca.svid(path), &bundles, gateway, ALPN_H2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let stream = incoming(
        listener,
        Acceptor::mtls(config, bundles, Duration::from_secs(5)),
        Limits::default(),
    );
    let service = WorkloadServer::new(agent.clone());
    runtime.spawn(async move {
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(stream)
            .await
            .unwrap();
    });
    drop(inside);
    Serving {
        agent,
        address,
        runtime: Some(runtime),
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Workload for Agent {
    async fn watch_routes(&self, _: Request<WatchRequest>) -> Result<Response<Answers<RouteTable>>, Status> {
        Ok(Response::new(Box::pin(
            WatchStream::new(self.table.subscribe()).map(Ok),
        )))
    }

    async fn watch_app_server(&self, _: Request<WatchRequest>) -> Result<Response<Answers<AppServerState>>, Status> {
        Err(Status::not_found("no such App ID"))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.reports.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ReportResponse {}))
    }
}
