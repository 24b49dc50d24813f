//! One session of the region stream, seen from the region.
//!
//! The one idea: the region answers for itself. It says where its copy of the log ends, takes in what verifies, one thing
//! at a time and durable before the acknowledgement, and says what it made of each object. Whatever does not verify ends
//! the session; nothing in force changes. Must never acknowledge what a crash could still take away.

use std::sync::Arc;
use std::time::Duration;

use palladium_proto::region::region_stream_client::RegionStreamClient;
use palladium_proto::region::{
    Ack, ControlMessage, Heartbeat, Hello, RegionMessage, control_message, region_message::Message,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::Error;
use crate::desired::{Position, Refusal};
use crate::read_back;
use crate::region::{Region, TakeError, now_ms};

use super::credentials::{Control, status};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// A control plane that is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// Messages under way to the control plane.
const QUEUE: usize = 32;
/// Statuses sent between two looks at what came in.
const BATCH: usize = 16;

/// Why a session is over.
#[derive(Debug)]
pub(super) enum End {
    Unreachable(String),
    Closed,
    /// The region wants a fresh snapshot.
    LongLog,
    Refused(Refusal),
    Disk(Error),
}

pub(super) struct Session<'a> {
    pub(super) region: &'a Arc<Region>,
    pub(super) session_id: &'a str,
}

impl Session<'_> {
    /// Runs until either side ends it. `from_snapshot`: pretend to have nothing, so that a snapshot comes.
    pub(super) async fn run(&self, control: Control, from_snapshot: bool) -> Result<(), End> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut client =
            RegionStreamClient::new(control.channel).max_decoding_message_size(palladium_stream::MAX_MESSAGE);
        send(&sender, Message::Hello(self.hello(from_snapshot).await)).await?;
        let connect = tokio::time::timeout(CONNECT, client.connect(ReceiverStream::new(receiver))).await;
        let mut inbound = connect
            .map_err(|_| End::Unreachable("no answer in time".to_owned()))?
            .map_err(|error| End::Unreachable(status(error)))?
            .into_inner();
        tracing::info!("connected to the control plane");
        self.region.statuses.say_again();
        self.confirm_again();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                message = inbound.message() => {
                    let Some(message) = message.map_err(|error| End::Unreachable(status(error)))? else {
                        return Ok(());
                    };
                    heard = tokio::time::Instant::now();
                    self.take(message, &sender).await?;
                }
                () = self.region.statuses.added() => self.say(&sender).await?,
                _ = heartbeat.tick() => {
                    send(&sender, Message::Heartbeat(Heartbeat { sent_at_unix_ms: now_ms() })).await?;
                    if heard.elapsed() > SILENCE {
                        return Err(End::Unreachable("the control plane fell silent".to_owned()));
                    }
                }
            }
        }
    }

    async fn hello(&self, from_snapshot: bool) -> Hello {
        let config = &self.region.config;
        let (position, _) = self.region.position();
        let Position { epoch, seq, head } = if from_snapshot { Position::default() } else { position };
        let roots = tokio::fs::read(&config.identity.roots_file).await.unwrap_or_default();
        Hello {
            region_id: config.region_id.clone(),
            session_id: self.session_id.to_owned(),
            epoch,
            seq,
            head,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway_url: config.gateway_url.clone(),
            workload_trust_anchors_pem: roots.into(),
            hpke_key_id: self.region.secrets.key().public().key_id(),
        }
    }

    async fn take(&self, message: ControlMessage, sender: &mpsc::Sender<RegionMessage>) -> Result<(), End> {
        match message.message {
            Some(control_message::Message::Entry(entry)) => {
                self.acknowledge(sender, move |region| region.take_entry(&entry))
                    .await?;
                if self.region.position().1 {
                    return Err(End::LongLog);
                }
                Ok(())
            }
            Some(control_message::Message::Snapshot(snapshot)) => {
                self.acknowledge(sender, move |region| region.take_snapshot(&snapshot))
                    .await
            }
            Some(control_message::Message::ReadBack(request)) => {
                let region = self.region.clone();
                let answer = tokio::task::spawn_blocking(move || read_back::answer(&region, request)).await;
                match answer {
                    Ok(answer) => send(sender, Message::ReadBack(answer)).await,
                    Err(error) => {
                        tracing::error!(%error, "a read-back was not answered");
                        Ok(())
                    }
                }
            }
            Some(control_message::Message::Heartbeat(_)) | None => Ok(()),
        }
    }

    async fn acknowledge(
        &self,
        sender: &mpsc::Sender<RegionMessage>,
        work: impl FnOnce(&Region) -> Result<Position, TakeError> + Send + 'static,
    ) -> Result<(), End> {
        let region = self.region.clone();
        let taken = tokio::task::spawn_blocking(move || work(&region)).await;
        let position = match taken {
            Ok(Ok(position)) => position,
            Ok(Err(TakeError::Refused(refusal))) => {
                let (region, what) = (self.region.clone(), refusal.to_string());
                let audit = move || region.audit_event("control-plane", "desiredState.receive", &what, "refused");
                if let Err(error) = tokio::task::spawn_blocking(audit).await {
                    tracing::error!(%error, "a refusal was not recorded");
                }
                return Err(End::Refused(refusal));
            }
            Ok(Err(TakeError::Disk(error))) => return Err(End::Disk(error)),
            Err(error) => return Err(End::Unreachable(format!("taking in an entry failed: {error}"))),
        };
        send(
            sender,
            Message::Ack(Ack {
                epoch: position.epoch,
                seq: position.seq,
            }),
        )
        .await
    }

    async fn say(&self, sender: &mpsc::Sender<RegionMessage>) -> Result<(), End> {
        loop {
            let outgoing = self.region.statuses.take(BATCH);
            if outgoing.statuses.is_empty() && outgoing.confirmations.is_empty() {
                return Ok(());
            }
            for confirmation in outgoing.confirmations {
                send(sender, Message::SealedConfirmation(confirmation)).await?;
            }
            for status in outgoing.statuses {
                send(sender, Message::ObjectStatus(status)).await?;
            }
        }
    }

    /// Says again which sealed values are stored: the last session may have broken after they were sent.
    fn confirm_again(&self) {
        let desired = self.region.desired();
        for object in desired.admitted() {
            for sealed in &object.sealed {
                if let Some(confirmation) = self.region.secrets.holds(&object.meta.uid, sealed) {
                    self.region.statuses.confirm(confirmation);
                }
            }
        }
    }
}

async fn send(sender: &mpsc::Sender<RegionMessage>, message: Message) -> Result<(), End> {
    let sent = tokio::time::timeout(SILENCE, sender.send(RegionMessage { message: Some(message) })).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Closed),
        Err(_) => Err(End::Unreachable("the control plane does not read".to_owned())),
    }
}
