//! One question to one Dapr Server, over the socket in its folder.
//!
//! One idea: a Dapr Server is the process nearest to a tenant, so it may be slow, silent or talkative: there is one deadline for
//! all of it and one bound for what it says. Each question has a connection of its own: nothing is kept for Dapr Servers that
//! come and go. Must never wait or hold beyond these bounds.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// What one answer may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the first step to the last byte.
    pub(crate) wait: Duration,
    /// Of the body.
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Half of what Prometheus waits for.
            wait: Duration::from_secs(5),
            // More than all series that a Dapr Server has room for.
            bytes: 16 << 20,
        }
    }
}

/// Why nothing comes.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Nobody listens, or there can be no socket of that path.
    #[error("its socket cannot be used: {0}")]
    Socket(#[from] std::io::Error),
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

/// What the Dapr Server that listens at `socket` says, with its content type.
pub(super) async fn dapr_server(socket: &Path, bounds: Bounds) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let late = |_| Err(NoAnswer::TooLong(bounds.wait));
    timeout(bounds.wait, exchange(socket, bounds.bytes))
        .await
        .unwrap_or_else(late)
}

async fn exchange(socket: &Path, most: usize) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut question = Request::new(Empty::<Bytes>::new());
    *question.uri_mut() = Uri::from_static("/metrics");
    question
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("localhost"));
    let mut read = pin!(async move {
        let (head, body) = sender.send_request(question).await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(NoAnswer::Status(head.status));
        }
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => NoAnswer::Broken(*error),
            Err(_) => NoAnswer::TooMuch(most),
        })?;
        let mut answer = Response::new(Full::new(body.to_bytes()));
        if let Some(kind) = head.headers.get(CONTENT_TYPE) {
            answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        Ok(answer)
    });
    tokio::select! {
        answer = &mut read => answer,
        // It may hang up behind its last byte, which is here already and still to be read.
        _ = connection => read.await,
    }
}
