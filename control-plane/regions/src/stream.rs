//! `Connect`: who it is, whether there is room for it, and the two ends of the stream.
//!
//! One idea: the region's name comes from the certificate of the connection; what `Hello` says is compared with it. The
//! session itself runs as a task of its own and ends with the stream. Must never believe a name that only a message
//! says, nor run a session that [`Sessions`] has not admitted.

use std::sync::Arc;
use std::time::Duration;

use palladium_proto::region::region_stream_server::RegionStream;
use palladium_proto::region::{ControlMessage, Hello, RegionMessage, region_message};
use palladium_spiffe::platform;
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::PeerInfo;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::join::{internal, now_ms};
use crate::log::Logs;
use crate::session::Session;
use crate::sessions::{Occupied, SessionInfo, Sessions};
use crate::store::{RegionConnection, RegionStore};

/// The first message must come within this.
const HELLO: Duration = Duration::from_secs(10);
/// How long a second session of a region is held before it is sent away.
const HELD: Duration = Duration::from_secs(60);
/// Bytes of a session id: it is kept and logged as long as the session lives.
const MAX_SESSION_ID: usize = 128;
/// Messages under way to a region before the session waits for it.
const QUEUE: usize = 32;

/// The service.
pub(crate) struct StreamService {
    pub(crate) store: Arc<dyn RegionStore>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) shutdown: Shutdown,
    pub(crate) tasks: Mutex<Tasks>,
}

#[tonic::async_trait]
impl RegionStream for StreamService {
    async fn connect(
        &self,
        request: Request<Streaming<RegionMessage>>,
    ) -> Result<Response<BoxStream<ControlMessage>>, Status> {
        let region = caller(&request)?;
        let known = self.store.region(&region).await.map_err(internal)?;
        if known.is_none_or(|known| known.key_spki.is_empty()) {
            return Err(Status::permission_denied("this region does not exist here"));
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (store, logs, sessions) = (self.store.clone(), self.logs.clone(), self.sessions.clone());
        let (shutdown, inbound) = (self.shutdown.clone(), request.into_inner());
        self.tasks.lock().await.spawn("region-session", async move {
            let served = serve(
                region.clone(),
                inbound,
                sender.clone(),
                &store,
                &logs,
                &sessions,
                &shutdown,
            );
            if let Some(Err(status)) = shutdown.unless(served).await {
                tracing::info!(region, reason = status.message(), "region session ended");
                // The region may be gone already.
                let _ = sender.try_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// The region's id from its certificate.
fn caller(request: &Request<Streaming<RegionMessage>>) -> Result<String, Status> {
    let peer = request
        .extensions()
        .get::<PeerInfo>()
        .and_then(|info| info.peer.as_ref());
    let names = peer.and_then(|peer| peer.id.namespace_and_name());
    match names {
        Some((platform::REGION_NAMESPACE, region)) => Ok(region.to_owned()),
        _ => Err(Status::unauthenticated("a region's certificate is needed; join first")),
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one session, named")]
async fn serve(
    region: String,
    mut inbound: Streaming<RegionMessage>,
    sender: mpsc::Sender<Result<ControlMessage, Status>>,
    store: &Arc<dyn RegionStore>,
    logs: &Arc<Logs>,
    sessions: &Arc<Sessions>,
    shutdown: &Shutdown,
) -> Result<(), Status> {
    let hello = hello(&region, &mut inbound).await?;
    let info = SessionInfo {
        session_id: hello.session_id.clone(),
        since_unix_ms: now_ms(),
        agent_version: hello.agent_version.clone(),
    };
    let mut ended = sessions.ended();
    let give_up = tokio::time::Instant::now() + HELD;
    let mut alarmed = false;
    let mut admitted = loop {
        match sessions.admit(&region, &info, shutdown) {
            Ok(admitted) => break admitted,
            Err(Occupied::Other) if !alarmed => {
                alarmed = true;
                let alarm = "a second agent claims to be this region; it is held until the first is gone";
                tracing::error!(
                    region,
                    session = hello.session_id,
                    alarm,
                    "two live sessions of one region"
                );
                // Nothing that a held agent says of itself: only the alarm is its doing.
                let held = RegionConnection {
                    connected: true,
                    alarm: alarm.to_owned(),
                    ..RegionConnection::default()
                };
                store.connection(&region, held).await.map_err(internal)?;
            }
            Err(_) => {}
        }
        tokio::select! {
            // What it sends meanwhile waits in the connection: it belongs to the session. Its going away ends the waiting.
            () = sender.closed() => return Ok(()),
            () = tokio::time::sleep_until(give_up) => {
                return Err(Status::already_exists("another agent of this region has a live session"));
            }
            _ = ended.changed() => {}
        }
    };
    store
        .connection(&region, connection(&hello, true, ""))
        .await
        .map_err(internal)?;
    tracing::info!(
        region,
        session = hello.session_id,
        epoch = hello.epoch,
        seq = hello.seq,
        "region connected"
    );
    let session = Session {
        region: &region,
        store,
        logs,
        sessions,
        sender,
    };
    let result = session.run(&hello, inbound, &mut admitted).await;
    store
        .connection(&region, connection(&hello, false, ""))
        .await
        .map_err(internal)?;
    // Only now: the next session says that it is connected, and this one's goodbye must not come after that.
    drop(admitted);
    result
}

async fn hello(region: &str, inbound: &mut Streaming<RegionMessage>) -> Result<Hello, Status> {
    let first = tokio::time::timeout(HELLO, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no Hello in time"))??;
    match first.and_then(|message| message.message) {
        Some(region_message::Message::Hello(hello)) if hello.region_id != region => Err(Status::permission_denied(
            "Hello names another region than the certificate",
        )),
        Some(region_message::Message::Hello(hello)) if !(1..=MAX_SESSION_ID).contains(&hello.session_id.len()) => Err(
            Status::invalid_argument(format!("Hello's session_id must have 1 to {MAX_SESSION_ID} bytes")),
        ),
        Some(region_message::Message::Hello(hello)) => Ok(hello),
        _ => Err(Status::failed_precondition("the first message must be Hello")),
    }
}

fn connection(hello: &Hello, connected: bool, alarm: &str) -> RegionConnection {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(512).collect();
    RegionConnection {
        connected,
        agent_version: clean(&hello.agent_version),
        gateway_url: clean(&hello.gateway_url),
        trust_anchors: std::str::from_utf8(&hello.workload_trust_anchors_pem)
            .unwrap_or_default()
            .to_owned(),
        alarm: alarm.to_owned(),
    }
}
