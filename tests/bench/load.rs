//! The load: a fixed number of connections, one request at a time on each, as fast as the server answers.
//!
//! One idea: requests are made once and sent again and again, so that the client costs little beside the server. An
//! answer that is not the expected one ends the measurement: errors must never count as speed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use crate::{destination::Destination, raw::Raw};

/// The protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Dapr's HTTP API over HTTP/1.1 with keep-alive.
    Http,
    /// Dapr's gRPC API.
    Grpc,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read one key.
    Get,
    /// Write one key.
    Save,
}

/// Bytes of a value.
const VALUE: usize = 1024;

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

/// Opens the connections; each writes its key once, so that a read finds it.
pub async fn connect(to: &Destination, wire: Wire, action: Action, count: usize) -> Result<Load> {
    let mut connections = Vec::with_capacity(count);
    for index in 0..count {
        let key = format!("bench-{index}");
        let call = |action| Call::new(wire, action, to, &key);
        let mut connection = Connection::open(to, wire, call(Action::Save)).await?;
        connection.once().await.context("first write")?;
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

/// A request to repeat and the answer to expect.
struct Call {
    path: String,
    /// HTTP: the whole request; gRPC: the body.
    bytes: Bytes,
    status: u16,
    /// The least number of bytes in the answer.
    least: usize,
}

impl Call {
    fn new(wire: Wire, action: Action, to: &Destination, key: &str) -> Self {
        let (authority, more) = (&to.authority, &to.headers);
        let value = "v".repeat(VALUE);
        let (path, bytes, status) = match (wire, action) {
            (Wire::Http, Action::Get) => {
                let path = format!("/v1.0/state/statestore/{key}");
                let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n");
                (path, Bytes::from(request), 200)
            }
            (Wire::Http, Action::Save) => {
                let path = "/v1.0/state/statestore".to_owned();
                let body = format!(r#"[{{"key":"{key}","value":"{value}"}}]"#);
                let head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n{more}Content-Type: application/json");
                let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                (path, Bytes::from(request), 204)
            }
            (Wire::Grpc, Action::Get) => {
                let message = [field(1, b"statestore"), field(2, key.as_bytes())].concat();
                ("/dapr.proto.runtime.v1.Dapr/GetState".to_owned(), frame(&message), 200)
            }
            (Wire::Grpc, Action::Save) => {
                let item = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
                let message = [field(1, b"statestore"), field(2, &item)].concat();
                ("/dapr.proto.runtime.v1.Dapr/SaveState".to_owned(), frame(&message), 200)
            }
        };
        Self {
            path,
            bytes,
            status,
            least: if action == Action::Get { VALUE } else { 0 },
        }
    }

    /// An answer is the expected one.
    fn check(&self, status: u16, length: usize) -> Result<()> {
        ensure!(status == self.status, "{} answers {status}", self.path);
        ensure!(length >= self.least, "{} answers {length} bytes", self.path);
        Ok(())
    }
}

/// A length-delimited field of a protobuf message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

/// A gRPC message, not compressed.
fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

/// One connection.
struct Connection {
    sender: Sender,
    call: Call,
}

enum Sender {
    Http(Raw),
    Grpc(SendRequest<Full<Bytes>>),
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
                let request = request
                    .header("content-type", "application/grpc")
                    .header("te", "trailers");
                sender.ready().await?;
                let response = sender
                    .send_request(request.body(Full::new(call.bytes.clone()))?)
                    .await?;
                let status = response.status().as_u16();
                let mut grpc_status = response.headers().get("grpc-status").cloned();
                let (mut body, mut length) = (response.into_body(), 0);
                while let Some(frame) = body.frame().await {
                    let frame = frame?;
                    if let Some(data) = frame.data_ref() {
                        length += data.len();
                    } else if let Ok(trailers) = frame.into_trailers() {
                        grpc_status = trailers.get("grpc-status").cloned();
                    }
                }
                let good = grpc_status.as_ref().is_some_and(|s| s.as_bytes() == b"0");
                ensure!(good, "{} answers gRPC status {grpc_status:?}", call.path);
                call.check(status, length)
            }
        }
    }
}
