//! A connection that is made again when it is lost.
//!
//! One idea: whoever needs a channel asks for one; the first that finds the connection lost makes another, while the others
//! wait for it and share its failure. The library's own recovery stays off: what must be on the server again is known by the
//! drivers. Must never leave a connection behind that nobody holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use palladium_component::{MetadataError, OpenError};
use palladium_components_dial::{Certificates, Target};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::wire::{Cut, Wire, kit};
use crate::{Address, Fault};

/// How long it may take until a connection can be used.
const OPENING: Duration = Duration::from_secs(20);
/// How long the server may take for one word.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);
/// How long a goodbye may take.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);
/// How often a connection is tried for one call.
const TRIES: u32 = 3;

/// How a server is reached.
pub struct Reach {
    address: Address,
    target: Target,
    external: bool,
    /// Name of the connection, for people who look at the server; empty = none.
    pub client_name: String,
    /// Seconds between signs of life; 0 = as the server wishes.
    pub heartbeat: u16,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Reach {
    /// Puts address and certificates together. `external`: whether the server takes the user from the client's certificate.
    ///
    /// # Errors
    /// When certificates cannot be used, or would not be.
    pub async fn new(address: Address, certificates: Certificates<'_>, external: bool) -> Result<Self, OpenError> {
        let target = Target::new(&address.host, address.port(), address.tls, certificates).await?;
        if external && !target.shows_certificate() {
            let reason = "the user is taken from a certificate, and there is none";
            let remedy = "write 'amqps://…', and give clientCert and clientKey";
            return Err(MetadataError::new("saslExternal", reason, remedy).into());
        }
        Ok(Reach {
            heartbeat: address.heartbeat.unwrap_or(10),
            address,
            target,
            external,
            client_name: String::new(),
        })
    }
}

/// A connection, lost and found.
#[derive(Debug)]
pub struct Link {
    reach: Arc<Reach>,
    /// Until a lost connection is tried again.
    pub pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// How many connections there were.
    count: u64,
    failed: Option<(Instant, Fault)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

struct Live {
    connection: Connection,
    _cut: Cut,
}

impl Link {
    /// One that connects when a channel is asked for.
    pub fn new(reach: Arc<Reach>, pause: Duration) -> Self {
        Link {
            reach,
            pause,
            state: Mutex::default(),
        }
    }

    /// A channel of its own, and the number of the connection that it is on. Connects when there is no connection.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub async fn channel(&self) -> Result<(Channel, u64), Fault> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live
            && live.connection.status().connected()
        {
            match timeout(ANSWER, live.connection.create_channel()).await {
                Ok(Ok(channel)) => return Ok((channel, state.count)),
                Ok(Err(error)) => tracing::debug!(%error, "the connection does not hold"),
                Err(_) => tracing::warn!(server = %self.reach.address, "the server does not answer: connecting again"),
            }
        }
        state.live = None;
        if let Some((at, fault)) = &state.failed
            && *at > asked
        {
            return Err(fault.clone());
        }
        match self.connect().await {
            Ok((live, channel)) => {
                state.count += 1;
                state.live = Some(live);
                state.failed = None;
                Ok((channel, state.count))
            }
            Err(fault) => {
                state.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// As [`Link::channel`], and tries again, a few times, after a server that could not be reached.
    ///
    /// # Errors
    /// As [`Link::channel`].
    pub async fn channel_in_time(&self) -> Result<(Channel, u64), Fault> {
        let mut tries = 1;
        loop {
            match self.channel().await {
                Err(Fault::Lost(reason)) if tries < TRIES => {
                    tracing::debug!(server = %self.reach.address, reason, "not connected");
                    tries += 1;
                    sleep(self.pause).await;
                }
                ended => return ended,
            }
        }
    }

    async fn connect(&self) -> Result<(Live, Channel), Fault> {
        let reach = self.reach.clone();
        let address = &self.reach.address;
        let cut = Cut::new();
        let token = cut.token();
        let mut properties = ConnectionProperties::default();
        if !reach.client_name.is_empty() {
            properties = properties.with_connection_name(reach.client_name.clone().into());
        }
        let mut uri = address.uri(reach.heartbeat);
        if reach.external {
            uri.query.auth_mechanism = Some(lapin::uri::SASLMechanism::External);
        }
        let opening = async {
            let dial = async move |_, _| {
                let wire = Wire::open(&reach.target, token.clone()).await;
                wire.map(AsyncTcpStream::Plain).map_err(lapin::Error::from)
            };
            let connection = Connection::connector(uri, kit().into(), dial, properties).await?;
            let channel = connection.create_channel().await?;
            Ok::<_, lapin::Error>((connection, channel))
        };
        match timeout(OPENING, opening).await {
            Ok(Ok((connection, channel))) => Ok((Live { connection, _cut: cut }, channel)),
            Ok(Err(error)) => Err(match Fault::from(error) {
                Fault::Lost(reason) => Fault::Lost(format!("cannot connect to {address}: {reason}")),
                Fault::Refused(reason) => Fault::Refused(format!("{address} refuses the connection: {reason}")),
                other => other,
            }),
            Err(_) => Err(Fault::late(&format!("cannot connect to {address}"), OPENING)),
        }
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Fault> {
        let (channel, _) = self.channel().await?;
        close(&channel).await;
        Ok(())
    }

    /// Ends the connection.
    pub async fn close(&self) {
        let live = self.state.lock().await.live.take();
        if let Some(live) = live {
            let _ = timeout(GOODBYE, live.connection.close(GOOD, "closed".into())).await;
        }
    }
}

const GOOD: u16 = 200;

/// Ends a channel; what was not settled on it, the server gives out again.
pub(crate) async fn close(channel: &Channel) {
    let _ = timeout(GOODBYE, channel.close(GOOD, "done".into())).await;
}
