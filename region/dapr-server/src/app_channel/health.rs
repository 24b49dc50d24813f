//! Whether the application can be called: its port first, its health probes then.
//!
//! One idea: unhealthy until the first good probe, unhealthy again after `threshold` bad ones in a row. Must never overlap
//! two probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use palladium_tasks::Shutdown;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::Code;

use super::AppChannel;
use crate::config::HealthSettings;
use crate::http::Body;

/// Returns when something listens on the application's port, however long that takes.
pub async fn wait_for_port(host: &str, port: u16) {
    let mut silence = 0u32;
    loop {
        if let Ok(Ok(_)) = timeout(Duration::from_secs(1), TcpStream::connect((host, port))).await {
            tracing::info!("Application discovered on port {port}");
            return;
        }
        if silence.is_multiple_of(100) {
            tracing::info!("Waiting for application to listen on port {port}");
        }
        silence = silence.wrapping_add(1);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Probes until `shutdown`; `probed` is dropped after the first probe, however that ended.
pub async fn watch(
    channel: Arc<AppChannel>,
    settings: HealthSettings,
    probed: oneshot::Sender<()>,
    shutdown: Shutdown,
) {
    let mut probed = Some(probed);
    let mut ticks = interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = 0u32;
    while shutdown.unless(ticks.tick()).await.is_some() {
        let good = probe(&channel, &settings).await;
        failures = if good { 0 } else { failures.saturating_add(1) };
        let was = channel.is_healthy();
        let healthy = good || (was && failures < settings.threshold);
        channel.healthy.store(healthy, Ordering::Release);
        if was != healthy {
            channel.health.notify_one();
        }
        probed.take();
        match (was, healthy) {
            (false, true) => tracing::info!("App is healthy"),
            (true, false) => tracing::warn!("App is not healthy: {failures} health probes failed in a row"),
            _ => {}
        }
    }
}

async fn probe(channel: &AppChannel, settings: &HealthSettings) -> bool {
    let (start, server) = (Instant::now(), channel.behind.upgrade());
    if let Some(grpc) = channel.grpc() {
        let answer = timeout(settings.timeout, grpc.health());
        let code = answer.await.unwrap_or(Code::DeadlineExceeded);
        if let Some(server) = server {
            server.metrics.grpc_probe(code, start.elapsed());
        }
        return code == Code::Ok;
    }
    let answer = channel.exchange(Method::GET, &settings.path, HeaderMap::new(), Body::Empty);
    let answer = timeout(settings.timeout, answer).await;
    // The original says so of an application that does not answer.
    let status = answer.map_or(500, |answer| answer.map_or(500, |answer| answer.status().as_u16()));
    if let Some(server) = server {
        server.metrics.http_probe(status, start.elapsed());
    }
    (200..300).contains(&status)
}
