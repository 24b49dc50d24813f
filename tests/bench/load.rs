//! The load: a fixed number of connections, one request at a time on each, as fast as the server answers.
//!
//! One idea: requests are made once and sent again and again, so that the client costs little beside the server. An
//! answer that is not the expected one ends the measurement: errors must never count as speed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet};

use crate::target::Server;

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
pub struct Outcome {
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Nanoseconds of each request.
    latencies: Vec<u64>,
    sorted: bool,
}

impl Outcome {
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
pub async fn connect(server: &Server, wire: Wire, action: Action, count: usize) -> Result<Load> {
    let mut connections = Vec::with_capacity(count);
    for index in 0..count {
        let key = format!("bench-{index}");
        let mut connection = Connection::open(server, wire, Call::new(wire, Action::Save, &key)).await?;
        connection.once().await.context("first write")?;
        connection.call = Call::new(wire, action, &key);
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
        let mut outcome = Outcome { seconds: 0.0, latencies: Vec::new(), sorted: false };
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
    method: http::Method,
    path: String,
    body: Bytes,
    status: StatusCode,
    /// The least number of bytes in the answer.
    least: usize,
}

impl Call {
    fn new(wire: Wire, action: Action, key: &str) -> Self {
        let value = "v".repeat(VALUE);
        let (method, path, body, status) = match (wire, action) {
            (Wire::Http, Action::Get) => ("GET", format!("/v1.0/state/statestore/{key}"), Bytes::new(), 200),
            (Wire::Http, Action::Save) => {
                let body = format!(r#"[{{"key":"{key}","value":"{value}"}}]"#);
                ("POST", "/v1.0/state/statestore".to_owned(), Bytes::from(body), 204)
            }
            (Wire::Grpc, Action::Get) => {
                let message = [field(1, b"statestore"), field(2, key.as_bytes())].concat();
                ("POST", "/dapr.proto.runtime.v1.Dapr/GetState".to_owned(), frame(&message), 200)
            }
            (Wire::Grpc, Action::Save) => {
                let item = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
                let message = [field(1, b"statestore"), field(2, &item)].concat();
                ("POST", "/dapr.proto.runtime.v1.Dapr/SaveState".to_owned(), frame(&message), 200)
            }
        };
        let method = http::Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let status = StatusCode::from_u16(status).unwrap_or_default();
        Self { method, path, body, status, least: if action == Action::Get { VALUE } else { 0 } }
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
    authority: String,
    call: Call,
}

enum Sender {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(server: &Server, wire: Wire, call: Call) -> Result<Self> {
        let address = if wire == Wire::Http { server.http } else { server.grpc };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        // The connection's driver ends when its sender is dropped with the load.
        let sender = match wire {
            Wire::Http => {
                let (sender, driver) = http1::handshake(stream).await?;
                tokio::spawn(driver);
                Sender::Http(sender)
            }
            Wire::Grpc => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(driver);
                Sender::Grpc(sender)
            }
        };
        Ok(Self { sender, authority: address.to_string(), call })
    }

    /// Sends the request and takes the whole answer.
    async fn once(&mut self) -> Result<()> {
        let call = &self.call;
        let request = Request::builder().method(call.method.clone());
        let body = Full::new(call.body.clone());
        match &mut self.sender {
            Sender::Http(sender) => {
                let request = request.uri(&call.path).header("host", &self.authority);
                let request = request.header("content-type", "application/json").body(body)?;
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                check(response, call, false).await
            }
            Sender::Grpc(sender) => {
                let request = request.uri(format!("http://{}{}", self.authority, call.path));
                let request = request.header("content-type", "application/grpc").header("te", "trailers").body(body)?;
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                check(response, call, true).await
            }
        }
    }
}

/// The answer is the expected one, to its last byte.
async fn check(response: Response<Incoming>, call: &Call, grpc: bool) -> Result<()> {
    let status = response.status();
    let mut grpc_status = response.headers().get("grpc-status").cloned();
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            length += data.len();
        } else if let Ok(trailers) = frame.into_trailers() {
            grpc_status = trailers.get("grpc-status").cloned();
        }
    }
    ensure!(status == call.status, "{} answers {status}", call.path);
    ensure!(length >= call.least, "{} answers {length} bytes", call.path);
    if grpc && grpc_status.as_ref().is_none_or(|s| s.as_bytes() != b"0") {
        bail!("{} answers gRPC status {grpc_status:?}", call.path);
    }
    Ok(())
}
