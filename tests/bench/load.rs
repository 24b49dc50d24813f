//! The load: a fixed number of connections, one request at a time on each, as fast as the server answers.
//!
//! One idea: requests are made once and sent again and again, so that the client costs little beside the server. An
//! answer that is not the expected one ends the measurement: errors must never count as speed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use crate::{
    destination::Destination,
    raw::Raw,
    raw_grpc::RawGrpc,
    requests::{Action, Call, Wire},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Open connections with the request that each repeats.
pub struct Load {
    connections: Vec<Connection>,
}

/// What a measurement saw.
#[derive(Default)]
pub struct Outcome {
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Nanoseconds of each request.
    latencies: Vec<u64>,
    sorted: bool,
}

impl Outcome {
    /// Adds another measurement.
    pub fn append(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.latencies.extend(other.latencies);
        self.sorted = false;
    }

    /// Answers.
    pub fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// The latency below which this share of the requests stayed.
    pub fn microseconds(&mut self, share: f64) -> f64 {
        if !self.sorted {
            self.latencies.sort_unstable();
            self.sorted = true;
        }
        let index = (self.latencies.len().saturating_sub(1) as f64 * share) as usize;
        self.latencies.get(index).map_or(0.0, |nanos| *nanos as f64 / 1e3)
    }
}

/// Opens the connections; each does once what its request needs or is, so that nothing is found out under load.
pub async fn connect(to: &Destination, wire: Wire, action: Action, count: usize) -> Result<Load> {
    let mut connections = Vec::with_capacity(count);
    for index in 0..count {
        let key = format!("bench-{index}");
        let call = |action| Call::new(wire, action, to, &key);
        let mut connection = Connection::open(to, wire, call(action.first())).await?;
        let first = timeout(PATIENCE, connection.once()).await;
        first.context("no answer")?.context("first call")?;
        connection.call = call(action);
        connections.push(connection);
    }
    Ok(Load { connections })
}

impl Load {
    /// Loads the server for this long.
    pub async fn run(&mut self, span: Duration) -> Result<Outcome> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(1 << 16);
                while started.elapsed() < span {
                    let sent = Instant::now();
                    connection.once().await?;
                    latencies.push(u64::try_from(sent.elapsed().as_nanos())?);
                }
                anyhow::Ok((connection, latencies))
            });
        }
        let mut outcome = Outcome::default();
        let end = tokio::time::Instant::now() + span + PATIENCE;
        while let Some(done) = timeout_at(end, tasks.join_next()).await.context("no answer")? {
            let (connection, latencies) = done??;
            self.connections.push(connection);
            outcome.latencies.extend(latencies);
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        Ok(outcome)
    }
}

/// One connection.
struct Connection {
    sender: Sender,
    call: Call,
}

enum Sender {
    Http(Raw),
    Grpc(RawGrpc),
}

impl Connection {
    async fn open(to: &Destination, wire: Wire, call: Call) -> Result<Self> {
        let stream = to.connect().await?;
        let sender = match wire {
            Wire::Http => Sender::Http(Raw::new(stream)),
            Wire::Grpc => Sender::Grpc(RawGrpc::new(stream)),
        };
        Ok(Self { sender, call })
    }

    /// Sends the request and takes the whole answer.
    async fn once(&mut self) -> Result<()> {
        let call = &self.call;
        let answer = match &mut self.sender {
            Sender::Http(raw) => raw.call(&call.bytes).await?,
            Sender::Grpc(raw) => raw.call(&call.path, call.app_id, &call.bytes).await?,
        };
        call.check(answer.status, answer.length)
    }
}
