//! The load: a fixed number of connections, one request at a time on each, as fast as the server answers.
//!
//! One idea: requests are made once and sent again and again, so that the client costs little beside the server. An
//! answer that is not the expected one ends the measurement: errors must never count as speed.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use crate::{
    destination::Destination,
    raw::Raw,
    requests::{Action, Call, Wire},
};

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
        connection.once().await.context("first call")?;
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
        while let Some(done) = tasks.join_next().await {
            let (connection, latencies) = done??;
            self.connections.push(connection);
            outcome.latencies.extend(latencies);
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        Ok(outcome)
    }
}

/// A body of no known length, as gRPC's clients have it: the original takes a length for that of the message in it.
struct Once(Option<Bytes>);

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// One connection.
struct Connection {
    sender: Sender,
    call: Call,
}

enum Sender {
    Http(Raw),
    Grpc(SendRequest<Once>),
}

impl Connection {
    async fn open(to: &Destination, wire: Wire, call: Call) -> Result<Self> {
        let stream = to.connect().await?;
        let sender = match wire {
            Wire::Http => Sender::Http(Raw::new(stream)),
            Wire::Grpc => {
                let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                // It ends when its sender is dropped with the load.
                tokio::spawn(driver);
                Sender::Grpc(sender)
            }
        };
        Ok(Self { sender, call })
    }

    /// Sends the request and takes the whole answer.
    async fn once(&mut self) -> Result<()> {
        let call = &self.call;
        match &mut self.sender {
            Sender::Http(raw) => {
                let answer = raw.call(&call.bytes).await?;
                call.check(answer.status, answer.length)
            }
            Sender::Grpc(sender) => {
                let request = Request::post(format!("http://bench{}", call.path));
                let mut request = request
                    .header("content-type", "application/grpc")
                    .header("te", "trailers");
                if let Some(app_id) = call.app_id {
                    request = request.header("dapr-app-id", app_id);
                }
                sender.ready().await?;
                let response = sender
                    .send_request(request.body(Once(Some(call.bytes.clone())))?)
                    .await?;
                let status = response.status().as_u16();
                let told = |headers: &HeaderMap| ["grpc-status", "grpc-message"].map(|name| headers.get(name).cloned());
                let mut outcome = told(response.headers());
                let (mut body, mut length) = (response.into_body(), 0);
                while let Some(frame) = body.frame().await {
                    let frame = frame?;
                    if let Some(data) = frame.data_ref() {
                        length += data.len();
                    } else if let Ok(trailers) = frame.into_trailers() {
                        outcome = told(&trailers);
                    }
                }
                let good = outcome[0].as_ref().is_some_and(|status| status == "0");
                ensure!(good, "{} answers gRPC status {outcome:?}", call.path);
                call.check(status, length)
            }
        }
    }
}
