//! One question to one Dapr Server, on its gateway port, which tells the agent its metrics and nothing else.
//!
//! One idea: a Dapr Server is the process nearest to a tenant, so it may be slow, silent or talkative: there is one deadline for
//! all of it and one bound for what it says, and few are asked at a time. One that took long has to share a
//! part of the turns with its like until it is quick again: all others find a turn. Each question has a connection of its
//! own: nothing else is kept for Dapr Servers that come and go. Must never wait or hold beyond these bounds, nor believe
//! anybody but the App ID's own SPIFFE ID.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use palladium_launch::METRICS_PAGE;
use palladium_spiffe::SpiffeId;
use palladium_tls::{Connector, SvidSource, TrustBundles, exactly, mtls_client_config};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::views::DaprServer;

/// Questions at a time, over all connections: so many answers are held at most.
pub(crate) const TURNS: usize = 4;
/// Of these turns, those for Dapr Servers that took long when they were asked last: half, so that all others find one.
const SLOW_TURNS: usize = 2;
/// SPIFFE IDs that are kept of such ones, since nobody says when one is gone. When there are more, all are forgotten.
const MOST_SLOW: usize = 1024;
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
    /// Of the body. A Dapr Server keeps its page below by itself (`region/dapr-server/src/metrics/budget.rs`); beyond it the
    /// App ID answers 503.
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Half of what Prometheus waits for.
            wait: Duration::from_secs(5),
            bytes: METRICS_PAGE,
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
    /// Held, beside a turn, while one is asked that is slow.
    slow_turns: Semaphore,
    /// Who took long when it was asked last: SPIFFE IDs.
    slow: Mutex<HashSet<String>>,
}

impl Questions {
    /// None is asked yet.
    pub(crate) fn new(dial: Dial) -> Self {
        Self {
            dial,
            bounds: Bounds::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
            slow_turns: Semaphore::new(SLOW_TURNS),
            slow: Mutex::default(),
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
        let DaprServer { spiffe_id, address } = server;
        let address = address.ok_or(NoAnswer::NoPort)?;
        // The semaphores are never closed, so a permit always comes.
        let slow_turn = match self.is_slow(&spiffe_id) {
            true => self.slow_turns.acquire().await.ok(),
            false => None,
        };
        let turn = self.turns.clone().acquire_owned().await.ok();
        // Not before: waiting for a turn is nobody's fault.
        let mut asked = Asked {
            questions: self,
            spiffe_id: spiffe_id.clone(),
            begun: Instant::now(),
            is_over: false,
        };
        let answer = async {
            let stream = (self.dial)(spiffe_id, address).await?;
            exchange(stream, self.bounds.bytes).await
        };
        let answer = answer.await;
        asked.is_over = true;
        drop((asked, slow_turn));
        Ok(Bytes::from_owner(Held {
            text: answer?,
            _turn: turn,
        }))
    }

    /// Whether a Dapr Server took long when it was asked last.
    pub(crate) fn is_slow(&self, spiffe_id: &str) -> bool {
        self.slow().contains(spiffe_id)
    }

    fn slow(&self) -> MutexGuard<'_, HashSet<String>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that has a turn. However that ends, at the deadline or because nobody waits any more, it has taken long or not; but that
/// it is quick is known only of one that came to an end.
struct Asked<'a> {
    questions: &'a Questions,
    spiffe_id: String,
    begun: Instant,
    is_over: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut slow = self.questions.slow();
        if self.begun.elapsed() < self.questions.bounds.wait / 2 {
            if self.is_over {
                slow.remove(&self.spiffe_id);
            }
            return;
        }
        if slow.len() >= MOST_SLOW {
            slow.clear();
        }
        slow.insert(std::mem::take(&mut self.spiffe_id));
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
