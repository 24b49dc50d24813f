//! Which region has a session, and the way into it for read-backs.
//!
//! The one idea: a region has one session. The same agent process that comes back (same session id) replaces its own
//! dead connection at once; another process is held until the first is gone, and an alarm is raised: two of them mean a
//! copied region. Must never let a second process displace a live session, keep a secret after handing it to the asker,
//! or hold the lock over an await.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_proto::region::read_back_request::What;
use palladium_proto::region::{ControlMessage, ReadBackRequest, ReadBackResponse, control_message::Message};
use palladium_sealing::{SecretString, random_bytes};
use palladium_tasks::Shutdown;
use tokio::sync::{mpsc, oneshot, watch};

use crate::ReadBackError;

/// Read-backs under way in one session.
const MAX_READ_BACKS: usize = 64;
const READ_BACK_DEADLINE: Duration = Duration::from_secs(5);

/// What is known of a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Random per start of the agent.
    pub session_id: String,
    /// Milliseconds since 1970.
    pub since_unix_ms: i64,
    /// Version of the agent.
    pub agent_version: String,
}

struct Live {
    info: SessionInfo,
    /// Number of this connection; a session id can have several one after the other.
    connection: u64,
    requests: mpsc::Sender<ControlMessage>,
    waiting: HashMap<String, oneshot::Sender<ReadBackResponse>>,
    end: Shutdown,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    live: Mutex<HashMap<String, Live>>,
    ended: watch::Sender<u64>,
}

/// What a session gets when it is admitted; the place is free again when this is dropped.
pub(crate) struct Admitted<'a> {
    sessions: &'a Sessions,
    region: String,
    connection: u64,
    pub(crate) requests: mpsc::Receiver<ControlMessage>,
    pub(crate) end: Shutdown,
}

/// Why a session has to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// The same process has an older connection; it was told to end.
    Own,
    /// Another process has a live session.
    Other,
}

impl Sessions {
    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The region's session, if it has one.
    pub(crate) fn info(&self, region: &str) -> Option<SessionInfo> {
        self.live().get(region).map(|live| live.info.clone())
    }

    /// Takes the region's place, or says who has it. `parent` ends the session too.
    pub(crate) fn admit(&self, region: &str, info: &SessionInfo, parent: &Shutdown) -> Result<Admitted<'_>, Occupied> {
        let mut live = self.live();
        if let Some(holder) = live.get(region) {
            if holder.info.session_id != info.session_id {
                return Err(Occupied::Other);
            }
            holder.end.trigger();
            return Err(Occupied::Own);
        }
        let (sender, requests) = mpsc::channel(MAX_READ_BACKS);
        let (end, connection) = (parent.child(), u64::from_be_bytes(random_bytes()));
        live.insert(
            region.to_owned(),
            Live {
                info: info.clone(),
                connection,
                requests: sender,
                waiting: HashMap::new(),
                end: end.clone(),
            },
        );
        Ok(Admitted {
            sessions: self,
            region: region.to_owned(),
            connection,
            requests,
            end,
        })
    }

    /// Grows whenever a session ends.
    pub(crate) fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Ends the region's session: its key was replaced.
    pub(crate) fn close(&self, region: &str) {
        if let Some(live) = self.live().get(region) {
            live.end.trigger();
        }
    }

    /// Asks the region for a secret.
    pub(crate) async fn read_back(&self, region: &str, what: What, actor: &str) -> Result<SecretString, ReadBackError> {
        let request_id: String = random_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let (sender, answer) = oneshot::channel();
        let requests = {
            let mut live = self.live();
            let live = live.get_mut(region).ok_or(ReadBackError::NotConnected)?;
            live.waiting.retain(|_, waiting| !waiting.is_closed());
            if live.waiting.len() >= MAX_READ_BACKS {
                return Err(ReadBackError::Busy);
            }
            live.waiting.insert(request_id.clone(), sender);
            live.requests.clone()
        };
        let request = ReadBackRequest {
            request_id,
            actor: actor.to_owned(),
            what: Some(what),
        };
        let exchange = async {
            let message = ControlMessage {
                message: Some(Message::ReadBack(request)),
            };
            requests.send(message).await.map_err(|_| ReadBackError::NotConnected)?;
            answer.await.map_err(|_| ReadBackError::NotConnected)
        };
        let response = tokio::time::timeout(READ_BACK_DEADLINE, exchange)
            .await
            .map_err(|_| ReadBackError::Timeout)??;
        match response.error.as_str() {
            "" => String::from_utf8(response.value.to_vec())
                .map(SecretString::from)
                .map_err(|_| ReadBackError::Refused("the secret is not text".to_owned())),
            "denied-by-guard-rails" => Err(ReadBackError::Denied),
            "not-found" => Err(ReadBackError::NotFound),
            other => Err(ReadBackError::Refused(
                other.chars().filter(|c| !c.is_control()).take(200).collect(),
            )),
        }
    }

    /// Hands an answer to whoever waits for it. Answers nobody asked for are dropped.
    pub(crate) fn answered(&self, region: &str, response: ReadBackResponse) {
        let waiting = self
            .live()
            .get_mut(region)
            .and_then(|live| live.waiting.remove(&response.request_id));
        if let Some(waiting) = waiting {
            // The asker may have given up by now.
            let _ = waiting.send(response);
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut live = self.sessions.live();
        if live
            .get(&self.region)
            .is_some_and(|live| live.connection == self.connection)
        {
            live.remove(&self.region);
        }
        drop(live);
        self.sessions.ended.send_modify(|count| *count += 1);
    }
}
