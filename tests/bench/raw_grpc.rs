//! gRPC calls on one HTTP/2 connection in the fewest steps: head and message go out in one piece, one call at a time.
//!
//! One idea: as with HTTP/1.1, the client must be much cheaper than the server. It announces windows that never close, keeps
//! the server's, says a header that it said before by its number, and reads headers with a library. What a Dapr Server does not do it refuses; it must never
//! pass over the status of a call.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use loona_hpack::Decoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::destination::Stream;
use crate::raw::Answer;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes before the content of a frame.
const HEAD: usize = 9;
/// The longest content of a frame that either side sends.
const LONGEST: usize = 16 * 1024;
/// Bytes that a side may send before it is told more, at the start.
const WINDOW: u32 = 65_535;
/// The widest window there is.
const WIDE: u32 = (1 << 31) - 1;
/// Received bytes after which the server is told that it may send as many again.
const TOLD: u32 = 1 << 29;

/// Headers that have a number from the start.
const FIXED: usize = 61;

// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PROMISE: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

// Flags of frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Padding or a priority before the content.
const PADDED_OR_RANKED: u8 = 0x28;

// Settings.
const TABLE_SIZE: u16 = 1;
const PUSH: u16 = 2;
const INITIAL_WINDOW: u16 = 4;

/// A connection.
pub struct RawGrpc {
    stream: Box<dyn Stream>,
    /// What came and was not looked at yet.
    received: BytesMut,
    /// What goes out with the next call.
    out: BytesMut,
    said: Said,
    decoder: Decoder<'static>,
    /// Of the last call.
    id: u32,
    /// Bytes of messages that the server takes yet.
    window: i64,
    /// The same of each new stream.
    initial_window: u32,
    /// Bytes of messages since the server was told.
    taken: u32,
}

/// The headers that were said on a connection, in the order in which the server numbers them: the newest is number one
/// behind the [`FIXED`] ones of the protocol. The few of the bench always find room.
#[derive(Default)]
struct Said(Vec<(&'static str, String)>);

impl Said {
    fn compress(&mut self, headers: Vec<(&'static str, &str)>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (name, value) in headers {
            let same = |(n, v): &(&str, String)| *n == name && v == value;
            if let Some(number) = self.0.iter().rev().position(same) {
                out.push(0x80 | (FIXED + 1 + number) as u8);
                continue;
            }
            // To be remembered, name and value in full.
            out.push(0x40);
            for text in [name, value] {
                ensure!(text.len() < 127, "longer than one byte says: {text}");
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
            self.0.push((name, value.to_owned()));
        }
        Ok(out)
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    content: Bytes,
}

impl RawGrpc {
    /// On a connected stream.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        let mut out = BytesMut::from(PREFACE);
        let settings: Vec<u8> = [(PUSH, 0), (INITIAL_WINDOW, WIDE)]
            .into_iter()
            .flat_map(|(name, value): (u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        put(&mut out, SETTINGS, 0, 0, &settings);
        put(&mut out, WINDOW_UPDATE, 0, 0, &(WIDE - WINDOW).to_be_bytes());
        Self {
            stream,
            received: BytesMut::with_capacity(LONGEST),
            out,
            said: Said::default(),
            decoder: Decoder::new(),
            // The next one is the first that a client may use.
            id: u32::MAX,
            window: WINDOW.into(),
            initial_window: WINDOW,
            taken: 0,
        }
    }

    /// Sends a framed message and takes the whole answer, whose status must be "ok".
    pub async fn call(&mut self, path: &str, app_id: Option<&str>, message: &Bytes) -> Result<Answer> {
        let length = u32::try_from(message.len())?;
        ensure!(message.len() <= LONGEST, "a message longer than a frame");
        // From here on a word about the last call is about one that is over.
        self.id = self.id.wrapping_add(2);
        while self.window < length.into() || self.initial_window < length {
            self.flush().await?;
            let frame = self.frame().await?;
            self.look_after(&frame)?;
        }
        self.window -= i64::from(length);
        let mut head = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "bench"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        head.extend(app_id.map(|app_id| ("dapr-app-id", app_id)));
        let head = self.said.compress(head)?;
        put(&mut self.out, HEADERS, END_HEADERS, self.id, &head);
        put(&mut self.out, DATA, END_STREAM, self.id, message);
        self.flush().await?;
        self.answer().await.with_context(|| path.to_owned())
    }

    async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).await?;
        // TLS may hold some of it back.
        self.stream.flush().await?;
        self.out.clear();
        Ok(())
    }

    async fn answer(&mut self) -> Result<Answer> {
        let (mut status, mut length, mut outcome, mut message) = (None, 0, None, String::new());
        loop {
            let frame = self.frame().await?;
            match frame.kind {
                DATA | HEADERS => {
                    ensure!(frame.stream == self.id, "an answer to another call");
                    ensure!(frame.flags & PADDED_OR_RANKED == 0, "padding or a priority");
                }
                _ => {
                    self.look_after(&frame)?;
                    continue;
                }
            }
            if frame.kind == DATA {
                length += frame.content.len();
                self.taken += u32::try_from(frame.content.len())?;
            } else {
                ensure!(frame.flags & END_HEADERS != 0, "headers in pieces");
                let headers = self.decoder.decode(&frame.content);
                for (name, value) in headers.map_err(|error| anyhow::anyhow!("{error:?}"))? {
                    match &name[..] {
                        b":status" => status = Some(String::from_utf8(value)?.parse()?),
                        b"grpc-status" => outcome = Some(String::from_utf8(value)?),
                        b"grpc-message" => message = String::from_utf8(value)?,
                        _ => {}
                    }
                }
            }
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        if self.taken >= TOLD {
            put(&mut self.out, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
        ensure!(outcome.as_deref() == Some("0"), "gRPC status {outcome:?}: {message}");
        let status = status.context("no status")?;
        Ok(Answer { status, length })
    }

    /// Whatever belongs to the connection rather than to a call. What has to be said to it goes out with the next call.
    fn look_after(&mut self, frame: &Frame) -> Result<()> {
        let mut content = &frame.content[..];
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                while content.len() >= 6 {
                    match (content.get_u16(), content.get_u32()) {
                        (INITIAL_WINDOW, window) => self.initial_window = window,
                        (TABLE_SIZE, size) => ensure!(size >= 4096, "a smaller table of headers"),
                        _ => {}
                    }
                }
                put(&mut self.out, SETTINGS, ACK, 0, &[]);
            }
            PING if frame.flags & ACK == 0 => put(&mut self.out, PING, ACK, 0, content),
            // Of a stream it says nothing to a client that sends one message on each.
            WINDOW_UPDATE if frame.stream == 0 && content.len() == 4 => {
                self.window += i64::from(content.get_u32() & WIDE)
            }
            // Of a call that is answered: the server says that it needs no more of its message.
            RESET if frame.stream != self.id => {}
            RESET | GO_AWAY => bail!("the server ends the call or the connection: {content:?}"),
            DATA | HEADERS | PROMISE | CONTINUATION => bail!("a frame of type {} out of place", frame.kind),
            // Acknowledgements, windows of streams, and what is not known is to be passed over.
            _ => {}
        }
        Ok(())
    }

    async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(head) = self.received.get(..HEAD) {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                ensure!(length <= LONGEST, "a frame of {length} bytes");
                if self.received.len() >= HEAD + length {
                    let mut head = self.received.split_to(HEAD);
                    head.advance(3);
                    return Ok(Frame {
                        kind: head.get_u8(),
                        flags: head.get_u8(),
                        stream: head.get_u32() & WIDE,
                        content: self.received.split_to(length).freeze(),
                    });
                }
            }
            self.received.reserve(LONGEST);
            let read = self.stream.read_buf(&mut self.received).await?;
            ensure!(read > 0, "the server closed the connection");
        }
    }
}

fn put(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    out.put_uint(content.len() as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.put_slice(content);
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderValue, Request, Response};
    use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
    use hyper::{body::Incoming, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    #[test]
    fn headers_are_read_as_they_were_said() {
        let (mut said, mut decoder) = (Said::default(), Decoder::new());
        let mut lengths = Vec::new();
        for path in ["/save", "/get", "/get", "/save"] {
            let head = vec![(":path", path), ("te", "trailers")];
            let out = said.compress(head.clone()).expect("short");
            lengths.push(out.len());
            let read = decoder.decode(&out).expect("good");
            let wanted = head.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
            assert_eq!(read, wanted.collect::<Vec<_>>());
        }
        assert_eq!(lengths[2..], [2, 2], "by number");
    }

    /// Sends back what it is sent, with the status that the path names.
    async fn echo(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let status = HeaderValue::from_str(&request.uri().path()[1..]).expect("a number");
        let body = request.into_body().collect().await.expect("whole").to_bytes();
        let trailers = HeaderMap::from_iter([
            (http::HeaderName::from_static("grpc-status"), status),
            (
                http::HeaderName::from_static("grpc-message"),
                HeaderValue::from_static("why"),
            ),
        ]);
        let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
        Ok(Response::new(body.boxed()))
    }

    #[tokio::test]
    async fn calls_of_a_server_whose_windows_are_small() {
        let (ours, theirs) = tokio::io::duplex(700);
        tokio::spawn(
            http2::Builder::new(TokioExecutor::new())
                .initial_connection_window_size(70_000)
                .initial_stream_window_size(9_000)
                .serve_connection(TokioIo::new(theirs), service_fn(echo)),
        );
        let mut raw = RawGrpc::new(Box::new(ours));
        let message = Bytes::from(vec![7; 9_000]);
        for _ in 0..50 {
            let answer = raw.call("/0", None, &message).await.expect("good");
            assert_eq!((answer.status, answer.length), (200, message.len()));
        }
        let failed = raw.call("/13", Some("app"), &message).await.err().expect("it failed");
        assert!(format!("{failed:#}").contains(r#"Some("13"): why"#), "{failed:#}");
        let again = raw.call("/0", None, &Bytes::new()).await.expect("good");
        assert_eq!(again.length, 0);
    }
}
