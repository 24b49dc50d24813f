//! The application behind a Dapr Server: sends back what it is sent, over HTTP/1.1 and as a gRPC service, and counts the
//! events that it is given.
//!
//! One idea: one thread of its own, so that it never stands in the way of the load, and as little work as can be, so that
//! two cores are enough for all. It must never judge what it is sent.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime, sync::oneshot};

use crate::requests::LARGE;

static LARGE_ANSWER: LazyLock<Bytes> = LazyLock::new(|| vec![b'v'; LARGE].into());

/// It ends when this is dropped.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    events: Arc<AtomicUsize>,
    _stop: oneshot::Sender<Infallible>,
}

impl App {
    /// Starts it on a free port.
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let events = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = events.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serve(listener, counted) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            address,
            events,
            _stop: stop,
        })
    }

    /// How many events it was given so far.
    pub fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }
}

async fn serve(listener: std::net::TcpListener, events: Arc<AtomicUsize>) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let events = events.clone();
        // It ends with its connection, or with the runtime.
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, events.clone()));
            let server = auto::Builder::new(TokioExecutor::new());
            // A peer that hangs up has nobody to be told.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    events: Arc<AtomicUsize>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let content_type = parts.headers.get("content-type").cloned();
    let is_grpc = content_type
        .as_ref()
        .is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    let mut response = match parts.uri.path() {
        path if is_grpc => Response::new(grpc(path, body)),
        "/echo" => Response::new(Full::new(body).boxed()),
        "/large" => Response::new(Full::new(LARGE_ANSWER.clone()).boxed()),
        "/event" => {
            events.fetch_add(1, Ordering::Relaxed);
            Response::new(Full::default().boxed())
        }
        _ => {
            let mut response = Response::new(Full::default().boxed());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    if let Some(content_type) = content_type {
        response.headers_mut().insert("content-type", content_type);
    }
    Ok(response)
}

/// Its own service sends back what it is sent; of Dapr's callbacks it has none.
fn grpc(path: &str, body: Bytes) -> BoxBody<Bytes, Infallible> {
    let (body, status) = if path.starts_with("/bench.") {
        (body, HeaderValue::from_static("0"))
    } else {
        (Bytes::new(), HeaderValue::from_static("12"))
    };
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), status)]);
    Full::new(body).with_trailers(async move { Some(Ok(trailers)) }).boxed()
}
