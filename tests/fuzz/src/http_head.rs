//! HTTP/1.1 heads and bodies, as every listener of the product reads them.
//!
//! One idea: the bytes go through the product's own accept loop, framing guard and HTTP library, and by a plain reading of
//! the standard ([`reference`]); whatever an application would have been shown, both have read alike, however the bytes
//! were cut up. Must never go by a socket: nothing but the input decides what happens.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use palladium_http::{Accept, Arrival, Connection, Limits, Server, Upload};
use palladium_tasks::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::{panics, reference};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte says how the rest is cut up.
pub(crate) fn run(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    panics::watch();
    let before = panics::count();
    let whole = served(vec![bytes.to_vec()]);
    let size = usize::from(cut % 64) + 1;
    let pieces = served(bytes.chunks(size).map(<[u8]>::to_vec).collect());
    assert_eq!(panics::count(), before, "a task panicked: {}", panics::last());
    if bytes.starts_with(HTTP2) {
        return;
    }
    assert_eq!(
        complete(&whole),
        complete(&pieces),
        "how the bytes were cut up made a difference"
    );
    for served in [whole, pieces] {
        agree(&served, &reference::requests(bytes));
    }
}

fn complete(served: &[reference::Request]) -> Vec<&reference::Request> {
    served.iter().filter(|request| request.body.is_some()).collect()
}

/// What was shown is how the standard reads the bytes.
fn agree(served: &[reference::Request], expected: &[reference::Request]) {
    assert!(
        served.len() <= expected.len(),
        "a request that is none: {served:?} {expected:?}"
    );
    for (served, expected) in served.iter().zip(expected) {
        assert_eq!(served.method, expected.method);
        assert_eq!(served.headers, expected.headers);
        // Other forms than that of a path are rewritten by the library; a fragment is no part of a target.
        let path = expected.target.split(|byte| *byte == b'#').next().unwrap_or_default();
        if path.starts_with(b"/") {
            assert_eq!(served.target, path);
        }
        // One that broke off may be shown, but never as whole.
        if served.body.is_some() {
            assert_eq!(served.body, expected.body);
        }
    }
}

/// What a service behind the product's accept loop is shown of these bytes.
fn served(pieces: Vec<Vec<u8>>) -> Vec<reference::Request> {
    let seen: Arc<Mutex<Vec<reference::Request>>> = Arc::default();
    let shutdown = Shutdown::new();
    let wire = Wire {
        pieces: pieces.into(),
        over: shutdown.clone(),
    };
    let server = Server::new(Once(Mutex::new(Some(wire))), Limits::default());
    let noted = seen.clone();
    let make = move |_| {
        let seen = noted.clone();
        service_fn(move |request| note(seen.clone(), request))
    };
    RUNTIME.with(|runtime| runtime.block_on(server.serve(make, &shutdown)));
    std::mem::take(&mut seen.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn note(
    seen: Arc<Mutex<Vec<reference::Request>>>,
    request: Request<Upload>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut headers: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in &parts.headers {
        let values = headers.entry(name.as_str().to_owned()).or_default();
        values.push(value.as_bytes().to_vec());
    }
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let at = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(reference::Request {
            method: parts.method.as_str().to_owned(),
            target: target.as_bytes().to_vec(),
            headers,
            body: None,
        });
        seen.len() - 1
    };
    let mut answer = Response::new(Empty::new());
    match body.collect().await {
        Ok(body) => {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen[at].body = Some(body.to_bytes().to_vec());
        }
        Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

/// Accepts one connection.
struct Once(Mutex<Option<Wire>>);

impl Accept for Once {
    type Stream = Wire;

    async fn accept(&self) -> io::Result<Arrival<Wire>> {
        let wire = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(wire) = wire else {
            return std::future::pending().await;
        };
        Ok(Arrival {
            remote: None,
            opening: Box::pin(async move { Ok((wire, Connection::default())) }),
        })
    }
}

/// Gives its pieces, then the end; takes everything.
struct Wire {
    pieces: VecDeque<Vec<u8>>,
    /// Told when the connection is gone.
    over: Shutdown,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.trigger();
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(piece) = self.pieces.front_mut() {
            let count = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..count]);
            piece.drain(..count);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
