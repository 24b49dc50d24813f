//! A stand-in for a Dapr Server: real mutual TLS, and a note of everything that reaches it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::service::service_fn;
use palladium_http::{Connection, Limits, Server, TlsListener, Upload, bind};
use palladium_tasks::Shutdown;
use palladium_tls::{ALPN_HTTP, Acceptor, exactly, mtls_server_config};
use tokio::task::JoinHandle;

use super::pki::Ca;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub target: String,
    pub version: Version,
    pub headers: HeaderMap,
    /// Address of the gateway's end: tells connections apart.
    pub from: SocketAddr,
    /// Whose certificate the gateway showed.
    pub peer: String,
}

pub struct Dapr {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Dapr {
    /// Serves as `/ns/<project>/<app>`; port 0 for any.
    pub fn start(ca: &Ca, project: &str, app: &str, port: u16) -> Self {
        let bundles = ca.bundles();
        let gateway = exactly(&ca.id("/ns/palladium/gateway"));
        let config = mtls_server_config(&ca.svid(&format!("/ns/{project}/{app}")), &bundles, gateway, ALPN_HTTP);
        let listener = bind("a Dapr Server", SocketAddr::from(([127, 0, 0, 1], port)), "-").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TlsListener::new(listener, Acceptor::mtls(config, bundles, Duration::from_secs(5)));
        let (seen, shutdown) = (Arc::new(Mutex::new(Vec::new())), Shutdown::new());
        let (note, stop, name) = (seen.clone(), shutdown.clone(), format!("{project}/{app}"));
        let task = tokio::spawn(async move {
            let make = move |connection: Arc<Connection>| {
                let (note, name) = (note.clone(), name.clone());
                service_fn(move |request| answer(request, note.clone(), name.clone(), connection.clone()))
            };
            let limits = Limits {
                drain: Duration::from_millis(50),
                ..Limits::default()
            };
            Server::new(listener, limits).serve(make, &stop).await;
        });
        Self {
            address,
            seen,
            shutdown,
            task,
        }
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    /// Gone when this returns, connections and all.
    pub async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap();
    }
}

/// What a test asks for in the first segment of the path.
async fn answer(
    request: Request<Upload>,
    note: Arc<Mutex<Vec<Seen>>>,
    name: String,
    connection: Arc<Connection>,
) -> Result<Response<BoxBody<Bytes, std::io::Error>>, Infallible> {
    note.lock().unwrap().push(Seen {
        target: request.uri().path_and_query().unwrap().to_string(),
        version: request.version(),
        headers: request.headers().clone(),
        from: connection.remote.unwrap(),
        peer: connection.peer.as_ref().unwrap().to_string(),
    });
    let path = request.uri().path().to_owned();
    let mut words = path.trim_start_matches('/').split('/');
    let body = match (words.next(), words.next().and_then(|word| word.parse::<u64>().ok())) {
        (Some("echo"), _) => request.into_body().map_err(std::io::Error::other).boxed(),
        (Some("count"), _) => {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            text(count.to_string())
        }
        (Some("send"), Some(bytes)) => Parts {
            left: bytes,
            then: Then::End,
            pause: None,
        }
        .boxed(),
        (Some("die"), Some(bytes)) => Parts {
            left: bytes,
            then: Then::Die,
            pause: None,
        }
        .boxed(),
        (Some("hang"), Some(bytes)) => Parts {
            left: bytes,
            then: Then::Hang,
            pause: None,
        }
        .boxed(),
        (Some("sleep"), Some(millis)) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            text(name)
        }
        _ => text(name),
    };
    Ok(Response::new(body))
}

fn text(text: String) -> BoxBody<Bytes, std::io::Error> {
    http_body_util::Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed()
}

/// So many bytes in pieces, and then an end of some kind.
struct Parts {
    left: u64,
    then: Then,
    /// So that what was sent is on its way before the end.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Clone, Copy)]
enum Then {
    End,
    Die,
    Hang,
}

impl Body for Parts {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
        if self.left > 0 {
            let size = usize::try_from(self.left).unwrap().min(PIECE.len());
            self.left -= size as u64;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE[..size])))));
        }
        match self.then {
            Then::End => Poll::Ready(None),
            Then::Die => {
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(100))));
                pause
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(std::io::Error::other("died"))))
            }
            Then::Hang => Poll::Pending,
        }
    }
}
