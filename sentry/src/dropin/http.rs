//! The two plain HTTP ports of the drop-in form: health and metrics.
//!
//! Health is served only once everything else is, so its answer is always 200. Never anything secret.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use palladium_http::BindError;
use palladium_tasks::Shutdown;
use tokio::net::TcpListener;

use super::metrics::Metrics;
use crate::Error;

/// Listens at a Dapr listen address: empty means all addresses of the machine.
pub(super) async fn bind(address: &str, port: u16, remedy: &'static str) -> Result<TcpListener, Error> {
    let bind = |address| palladium_http::bind("sentry", address, remedy);
    if !address.is_empty() {
        let found = tokio::net::lookup_host((address, port))
            .await
            .ok()
            .and_then(|mut all| all.next());
        let found = found.ok_or_else(|| Error::Config(format!("{address:?} is no address to listen on")))?;
        return Ok(bind(found)?);
    }
    match bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        // A machine without IPv6.
        Err(BindError::Refused { .. }) => Ok(bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?),
        listening => Ok(listening?),
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
