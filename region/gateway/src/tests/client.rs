//! Applications as clients: raw bytes over TLS, and HTTP/1.1 and HTTP/2 by hyper.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palladium_tls::pem_roots_client_config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::World;

/// TLS with `sni` as server name.
pub async fn tls(world: &World, sni: &str, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let config = pem_roots_client_config(world.roots.as_bytes(), alpn).unwrap();
    let stream = TcpStream::connect(world.gateway.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    TlsConnector::from(config)
        .connect(sni.to_owned().try_into().unwrap(), stream)
        .await
        .unwrap()
}

/// Sends bytes and reads until the gateway closes, or nothing comes for a while.
pub async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = tls(world, "localhost", &[]).await;
    stream.write_all(bytes).await.unwrap();
    read_all(&mut stream).await
}

pub async fn read_all(stream: &mut TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_millis(400), stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `Err` when it broke off.
    pub body: Result<Bytes, String>,
    pub trailers: HeaderMap,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap().to_vec()).unwrap()
    }

    /// Where gRPC says its status: in the head, or in trailers.
    pub fn grpc(&self) -> Option<&str> {
        self.trailers
            .get("grpc-status")
            .or(self.headers.get("grpc-status"))?
            .to_str()
            .ok()
    }
}

pub async fn whole(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let (body, trailers) = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned().unwrap_or_default();
            (Ok(collected.to_bytes()), trailers)
        }
        Err(error) => (Err(error.to_string()), HeaderMap::new()),
    };
    Answer {
        status: head.status,
        headers: head.headers,
        body,
        trailers,
    }
}

/// A connection for any number of requests.
pub enum Client<B> {
    Http1(http1::SendRequest<B>),
    Http2(http2::SendRequest<B>),
}

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
{
    pub async fn http1(world: &World) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(tls(world, "localhost", &[b"http/1.1"]).await))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    pub async fn http2(world: &World) -> Self {
        Self::http2_to(world, "localhost").await
    }

    pub async fn http2_to(world: &World, sni: &str) -> Self {
        let io = TokioIo::new(tls(world, sni, &[b"h2"]).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub async fn begin(&mut self, request: Request<B>) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }

    pub async fn send(&mut self, request: Request<B>) -> Answer {
        whole(self.begin(request).await.unwrap()).await
    }
}

/// A request to `localhost`, for either protocol.
pub fn request<B>(http2: bool, method: &str, path: &str, token: &str, body: B) -> Request<B> {
    let target = if http2 {
        format!("https://localhost{path}")
    } else {
        path.to_owned()
    };
    let mut request = Request::builder().method(method).uri(target);
    if !http2 {
        request = request.header("host", "localhost");
    }
    request.header("dapr-api-token", token).body(body).unwrap()
}

/// One GET over HTTP/1.1 on a connection of its own.
pub async fn get(world: &World, path: &str, token: &str) -> Answer {
    Client::http1(world)
        .await
        .send(request(false, "GET", path, token, Empty::<Bytes>::new()))
        .await
}

/// One POST over HTTP/1.1 on a connection of its own.
pub async fn post(world: &World, path: &str, token: &str, body: impl Into<Bytes>) -> Answer {
    Client::http1(world)
        .await
        .send(request(false, "POST", path, token, Full::new(body.into())))
        .await
}
