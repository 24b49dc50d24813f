//! The two plain HTTP ports of the drop-in form: health and metrics.
//!
//! Health is served only once everything else is, so its answer is always 200. Never anything secret.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use palladium_tasks::Shutdown;
use tokio::net::TcpListener;

use super::metrics::Metrics;
use crate::Error;

/// Listens at a Dapr listen address: empty means all addresses of the machine.
pub(super) async fn bind(address: &str, port: u16) -> Result<TcpListener, Error> {
    let failed = |source| Error::Listen {
        address: format!("{address}:{port}"),
        source,
    };
    if !address.is_empty() {
        return TcpListener::bind((address, port)).await.map_err(failed);
    }
    let all6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match TcpListener::bind(all6).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(failed(error)),
        // A machine without IPv6.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map_err(failed),
        listening => listening.map_err(failed),
    }
}

/// `GET /healthz`.
pub(super) async fn serve_health(listener: TcpListener, shutdown: Shutdown) {
    serve(listener, Router::new().route("/healthz", get(async || "ok")), shutdown).await;
}

/// The metrics, at whatever path.
pub(super) async fn serve_metrics(listener: TcpListener, metrics: Arc<Metrics>, shutdown: Shutdown) {
    let handler = async move || {
        (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            metrics.text(),
        )
    };
    serve(listener, Router::new().fallback(get(handler)), shutdown).await;
}

async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let until = shutdown.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { until.wait().await });
    if let Err(error) = server.await {
        tracing::error!(%error, "HTTP server failed");
    }
}
