//! Towards the control plane: join once, then a session whenever it can be had, for ever.
//!
//! The one idea: this loop only ever adds to what the region has. Without a control plane it waits, with growing and
//! jittered pauses, and nothing else in the agent notices. Must never take anything out of force because the
//! control plane is away.

mod credentials;
mod session;

use std::sync::Arc;
use std::time::Duration;

use palladium_tasks::{Backoff, Shutdown};

use crate::desired::Refusal;
use crate::region::Region;
use credentials::Credentials;
use session::{End, Session};

/// A session that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Runs until `shutdown`.
pub(crate) async fn link(region: Arc<Region>, shutdown: Shutdown) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut credentials = Credentials::new(region.clone());
    // The same over all connections of this process: the control plane tells a reconnect from a second agent by it.
    let session_id: String = palladium_sealing::random_bytes::<16>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut from_snapshot = false;
    loop {
        let began = tokio::time::Instant::now();
        let attempt = async {
            let control = credentials.ready().await.map_err(End::Unreachable)?;
            Session {
                region: &region,
                session_id: &session_id,
            }
            .run(control, from_snapshot)
            .await
        };
        let end = match shutdown.unless(attempt).await {
            None => return,
            Some(Ok(())) => End::Closed,
            Some(Err(end)) => end,
        };
        from_snapshot = matches!(&end, End::Refused(refusal) if refusal.wants_snapshot()) || region.position().1;
        report(&end);
        if began.elapsed() >= GOOD || matches!(end, End::LongLog) {
            backoff.reset();
        }
        if shutdown
            .unless(tokio::time::sleep(backoff.next_delay()))
            .await
            .is_none()
        {
            return;
        }
    }
}

fn report(end: &End) {
    match end {
        End::Unreachable(reason) => tracing::info!(reason, "control plane not available; serving from what is here"),
        End::Closed => tracing::info!("the control plane closed the session"),
        End::LongLog => tracing::info!("asking for a fresh snapshot: the log is long"),
        End::Disk(error) => tracing::error!(%error, "desired state cannot be kept; serving from what is here"),
        End::Refused(refusal @ (Refusal::Gap { .. } | Refusal::Fork)) => {
            tracing::warn!(%refusal, "asking for a snapshot");
        }
        End::Refused(refusal) => tracing::error!(%refusal, "refused what the control plane sent"),
    }
}
