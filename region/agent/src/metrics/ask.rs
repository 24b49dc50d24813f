//! One question to one Dapr Server, over the socket in its folder.
//!
//! One idea: a Dapr Server is the process nearest to a tenant, so it may be slow, silent or talkative: there is one deadline for
//! all of it and one bound for what it says. Each question has a connection of its own: nothing is kept for Dapr Servers that
//! come and go. What lies in a tenant's folder is the tenant's: nothing there leads the agent, whose word counts elsewhere, to another
//! socket. Must never wait or hold beyond these bounds.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
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
    Socket(#[from] io::Error),
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

/// What the Dapr Server that listens at `socket` says.
pub(super) async fn dapr_server(socket: &Path, bounds: Bounds) -> Result<Bytes, NoAnswer> {
    let late = |_| Err(NoAnswer::TooLong(bounds.wait));
    timeout(bounds.wait, exchange(socket, bounds.bytes))
        .await
        .unwrap_or_else(late)
}

/// Connects to the socket that lies there itself, not to one that a link leads to.
async fn connect(socket: PathBuf) -> io::Result<UnixStream> {
    // Only takes hold of it: nothing in a folder can make this wait, but a disk may be slow.
    let held = spawn_blocking(move || {
        let held = open(
            &socket,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        match FileType::from_raw_mode(fstat(&held)?.st_mode) {
            FileType::Socket => Ok(held),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "what lies there is none")),
        }
    });
    let held = held.await.map_err(io::Error::other)??;
    UnixStream::connect(format!("/proc/self/fd/{}", held.as_raw_fd())).await
}

async fn exchange(socket: &Path, most: usize) -> Result<Bytes, NoAnswer> {
    let stream = connect(socket.to_owned()).await?;
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
        Ok(body.to_bytes())
    });
    tokio::select! {
        answer = &mut read => answer,
        // It may hang up behind its last byte, which is here already and still to be read.
        _ = connection => read.await,
    }
}
