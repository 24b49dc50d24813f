//! The requests of the bench: what is asked, in bytes, and the answer that is expected.
//!
//! One idea: a request is made once and sent again and again. It must never need a client library: what a request costs
//! its sender must be little beside what it costs the server.

use anyhow::{Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};

use crate::destination::Destination;

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
    /// Publish one event to a topic.
    Publish,
    /// Call this App ID, whose application sends back what it is sent, by Dapr's API.
    Invoke(&'static str),
    /// Call this App ID by a header: over gRPC a service of its own, over HTTP a path that answers with much.
    Proxy(&'static str),
}

/// Bytes of a value.
const VALUE: usize = 1024;
/// Bytes of a large answer.
pub const LARGE: usize = 8 << 20;

/// A request to repeat and the answer to expect.
pub struct Call {
    /// Where it goes.
    pub path: String,
    /// HTTP: the whole request; gRPC: the body.
    pub bytes: Bytes,
    /// gRPC: the App ID that is called past Dapr's API.
    pub app_id: Option<&'static str>,
    status: u16,
    /// The least number of bytes in the answer.
    least: usize,
}

impl Action {
    /// What has to be done once on a connection before this can be.
    pub fn first(self) -> Self {
        if self == Self::Get { Self::Save } else { self }
    }
}

impl Call {
    /// The key tells connections apart.
    pub fn new(wire: Wire, action: Action, to: &Destination, key: &str) -> Self {
        let value = "v".repeat(VALUE);
        let (path, bytes) = match wire {
            Wire::Http => http(action, to, key, &value),
            Wire::Grpc => grpc(action, key, &value),
        };
        Self {
            path,
            bytes,
            app_id: match action {
                Action::Proxy(app_id) => Some(app_id),
                _ => None,
            },
            status: match (wire, action) {
                (Wire::Http, Action::Save | Action::Publish) => 204,
                _ => 200,
            },
            least: match (wire, action) {
                (_, Action::Save | Action::Publish) => 0,
                (Wire::Http, Action::Proxy(_)) => LARGE,
                _ => VALUE,
            },
        }
    }

    /// An answer is the expected one.
    pub fn check(&self, status: u16, length: usize) -> Result<()> {
        ensure!(status == self.status, "{} answers {status}", self.path);
        ensure!(length >= self.least, "{} answers {length} bytes", self.path);
        Ok(())
    }
}

/// Path and whole request.
fn http(action: Action, to: &Destination, key: &str, value: &str) -> (String, Bytes) {
    let (authority, more) = (&to.authority, &to.headers);
    let (path, body) = match action {
        Action::Get => (format!("/v1.0/state/statestore/{key}"), None),
        Action::Save => {
            let body = format!(r#"[{{"key":"{key}","value":"{value}"}}]"#);
            ("/v1.0/state/statestore".to_owned(), Some(body))
        }
        Action::Publish => {
            let body = format!(r#"{{"order":"{value}"}}"#);
            ("/v1.0/publish/pubsub/orders".to_owned(), Some(body))
        }
        Action::Invoke(app_id) => {
            let body = format!(r#"{{"order":"{value}"}}"#);
            (format!("/v1.0/invoke/{app_id}/method/echo"), Some(body))
        }
        Action::Proxy(_) => ("/large".to_owned(), None),
    };
    let app_id = match action {
        Action::Proxy(app_id) => format!("dapr-app-id: {app_id}\r\n"),
        _ => String::new(),
    };
    let request = match body {
        None => format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{more}{app_id}\r\n"),
        Some(body) => {
            let head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n{more}Content-Type: application/json");
            format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    };
    (path, request.into())
}

/// Path and framed message; field numbers are those of Dapr's protocol.
fn grpc(action: Action, key: &str, value: &str) -> (String, Bytes) {
    let dapr = |method: &str| format!("/dapr.proto.runtime.v1.Dapr/{method}");
    match action {
        Action::Get => {
            let message = [field(1, b"statestore"), field(2, key.as_bytes())].concat();
            (dapr("GetState"), frame(&message))
        }
        Action::Save => {
            let item = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
            let message = [field(1, b"statestore"), field(2, &item)].concat();
            (dapr("SaveState"), frame(&message))
        }
        Action::Publish => {
            let message = [field(1, b"pubsub"), field(2, b"orders"), field(3, value.as_bytes())].concat();
            (dapr("PublishEvent"), frame(&message))
        }
        Action::Invoke(app_id) => {
            const POST: &[u8] = &[1 << 3, 3];
            let data = field(2, value.as_bytes());
            let message = [
                field(1, b"echo"),
                field(2, &data),
                field(3, b"text/plain"),
                field(4, POST),
            ]
            .concat();
            let message = [field(1, app_id.as_bytes()), field(3, &message)].concat();
            (dapr("InvokeService"), frame(&message))
        }
        Action::Proxy(_) => ("/bench.Echo/Call".to_owned(), frame(&field(1, value.as_bytes()))),
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
