//! What an application says of itself once it is there: so far only the types of its actors matter.
//!
//! One idea: it is asked once, when it is healthy for the first time, as Dapr does it; an answer that is none says nothing.
//! Must never hold up the start for long: whoever waits for it sets a bound.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::AppChannel;

/// How often it is looked whether the application is healthy.
const LOOK: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of the longest answer.
const LONGEST: usize = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    entities: Option<Vec<String>>,
}

/// Asks as soon as the application is healthy. One that speaks gRPC has no such call.
pub async fn ask(app: &AppChannel) {
    if app.speaks_grpc() {
        return;
    }
    while !app.is_healthy() {
        sleep(LOOK).await;
    }
    let entities = timeout(DEADLINE, entities(app)).await.ok().flatten();
    match entities.as_deref() {
        None => {}
        Some([]) => tracing::info!("Application configuration loaded"),
        Some(types) => tracing::warn!("The application has actors, which cannot be hosted yet: {types:?}"),
    }
}

async fn entities(app: &AppChannel) -> Option<Vec<String>> {
    let answer = app.ask("/dapr/config").await.ok()?;
    if answer.status() != StatusCode::OK {
        return Some(Vec::new());
    }
    let bytes = app.read(answer.into_body(), LONGEST).await.ok()?;
    let said: Said = serde_json::from_slice(&bytes).ok()?;
    Some(said.entities.unwrap_or_default())
}
