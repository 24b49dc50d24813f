//! One question to one Dapr Server, on its gateway port, which tells the agent its metrics and nothing else.
//!
//! One idea: a Dapr Server is the process nearest to a tenant, so it may be slow, silent or talkative: there is one deadline for
//! all of it and one bound for what it says, and few are asked at a time. Each question has a connection of its own: nothing is
//! kept for Dapr Servers that come and go. Must never wait or hold beyond these bounds, nor believe anybody but the App ID's
//! own SPIFFE ID.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use palladium_spiffe::SpiffeId;
use palladium_tls::{Connector, SvidSource, TrustBundles, exactly, mtls_client_config};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::views::DaprServer;

/// Questions at a time, over all connections: so many answers are held at most.
pub(crate) const TURNS: usize = 4;
const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// What a question goes over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to an address at which this SPIFFE ID must answer.
pub(crate) type Dial = Arc<dyn Fn(String, SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Dials as the agent. The other side has proven who it is before a byte of the question leaves.
pub(crate) fn mutual_tls(svid: SvidSource, bundles: TrustBundles) -> Dial {
    Arc::new(move |spiffe_id: String, address: SocketAddr| {
        let (svid, bundles) = (svid.clone(), bundles.clone());
        async move {
            let expected = SpiffeId::parse(&spiffe_id).map_err(io::Error::other)?;
            let config = mtls_client_config(&svid, &bundles, exactly(&expected), HTTP1);
            let connector = Connector::mtls(config, bundles, Bounds::default().wait);
            let stream: Box<dyn Stream> = Box::new(connector.connect(address).await?);
            io::Result::Ok(stream)
        }
        .boxed()
    })
}

/// What one answer may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the first step to the last byte, waiting for one's turn included.
    pub(crate) wait: Duration,
    /// Of the body. Beyond it the App ID answers 503: `spec.metrics.http.increasedCardinality: false` or `pathMatching` in its
    /// Configuration keep it below.
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Half of what Prometheus waits for.
            wait: Duration::from_secs(5),
            bytes: 16 << 20,
        }
    }
}

/// Why nothing comes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// It was never started.
    #[error("it has no port yet")]
    NoPort,
    /// Nobody listens, or somebody else.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It does not speak HTTP, or has hung up.
    #[error("it broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// It has something else to say.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// Beyond the bound.
    #[error("it says more than {0} bytes")]
    TooMuch(usize),
    /// Beyond the deadline.
    #[error("it takes longer than {0:?}")]
    TooLong(Duration),
}

/// All questions of this process.
pub(crate) struct Questions {
    dial: Dial,
    /// What each of them may cost.
    pub(crate) bounds: Bounds,
    /// Held by an answer until it has gone out.
    pub(crate) turns: Arc<Semaphore>,
}

impl Questions {
    /// None is asked yet.
    pub(crate) fn new(dial: Dial) -> Self {
        Self {
            dial,
            bounds: Bounds::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// What this Dapr Server says.
    pub(crate) async fn ask(&self, server: DaprServer) -> Result<Bytes, NoAnswer> {
        let late = |_| Err(NoAnswer::TooLong(self.bounds.wait));
        timeout(self.bounds.wait, self.in_turn(server))
            .await
            .unwrap_or_else(late)
    }

    async fn in_turn(&self, server: DaprServer) -> Result<Bytes, NoAnswer> {
        let address = server.address.ok_or(NoAnswer::NoPort)?;
        // The semaphore is never closed, so a permit always comes.
        let turn = self.turns.clone().acquire_owned().await.ok();
        let stream = (self.dial)(server.spiffe_id, address).await?;
        let text = exchange(stream, self.bounds.bytes).await?;
        Ok(Bytes::from_owner(Held { text, _turn: turn }))
    }
}

/// An answer, and the turn that it takes for as long as it is held.
struct Held {
    text: BytesMut,
    _turn: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

async fn exchange(stream: impl Stream + 'static, most: usize) -> Result<BytesMut, NoAnswer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut question = Request::new(Empty::<Bytes>::new());
    *question.uri_mut() = Uri::from_static("/metrics");
    question
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("localhost"));
    let mut read = pin!(async move {
        let (head, mut body) = sender.send_request(question).await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(NoAnswer::Status(head.status));
        }
        // Copied together: many small pieces would cost far more than what they hold.
        let mut text = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else {
                continue;
            };
            if piece.len() > most - text.len() {
                return Err(NoAnswer::TooMuch(most));
            }
            text.extend_from_slice(&piece);
        }
        Ok(text)
    });
    tokio::select! {
        answer = &mut read => answer,
        // It may hang up behind its last byte, which is here already and still to be read.
        _ = connection => read.await,
    }
}
