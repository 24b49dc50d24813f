//! Bodies on their way through: measured and watched, never collected.
//!
//! One idea: a frame is polled on one side only when the other side can take it; that is all the back-pressure there is.
//! Must never hold more than the frame in hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use palladium_http::{Upload, UploadError};

use crate::access_log::Record;
use crate::failure::Kind;
use crate::meter::Meter;
use crate::table::Grant;
use crate::upstream::Lease;

/// What became of a request body; shared by the body and whoever waits for the answer.
#[derive(Debug, Default)]
pub(crate) struct Fate(AtomicU8);

const FINISHED: u8 = 1;
const TOO_LARGE: u8 = 2;
const STALLED: u8 = 3;
const BROKEN: u8 = 4;

impl Fate {
    /// The whole body has been read.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.load(Ordering::Relaxed) == FINISHED
    }

    /// What was wrong with the body, if anything.
    pub(crate) fn failure(&self) -> Option<Kind> {
        match self.0.load(Ordering::Relaxed) {
            TOO_LARGE => Some(Kind::TooLarge),
            STALLED => Some(Kind::BodyTimeout),
            BROKEN => Some(Kind::BadRequest),
            _ => None,
        }
    }

    fn set(&self, to: u8) {
        self.0.store(to, Ordering::Relaxed);
    }
}

/// The request body broke a rule; the Dapr Server sees it break off.
#[derive(Debug, thiserror::Error)]
#[error("the request body was given up: {0}")]
pub(crate) struct GivenUp(&'static str);

/// A request body on its way to a Dapr Server. Trailers are dropped: no client of Dapr sends any, and headers that come
/// after the checks are none.
pub(crate) struct RequestBody {
    inner: Upload,
    meter: Meter,
    fate: Arc<Fate>,
}

impl RequestBody {
    /// `stall`: the span in which it must make progress; not for gRPC, whose streams may be silent.
    pub(crate) fn new(inner: Upload, grpc: bool, limit: u64, stall: Duration) -> (Self, Arc<Fate>) {
        let fate = Arc::new(Fate::default());
        if inner.is_end_stream() {
            fate.set(FINISHED);
        }
        let (inner, meter) = if grpc {
            (inner, Meter::messages(limit))
        } else {
            (inner.hurried(stall), Meter::Whole { left: limit })
        };
        let body = Self {
            inner,
            meter,
            fate: fate.clone(),
        };
        (body, fate)
    }

    fn give_up(&self, fate: u8, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        self.fate.set(fate);
        Poll::Ready(Some(Err(GivenUp(why))))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let this = &mut *self;
        loop {
            return match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if !this.meter.take(&data) {
                        return this.give_up(TOO_LARGE, "too large");
                    }
                    if this.inner.is_end_stream() {
                        this.fate.set(FINISHED);
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Err(UploadError::Stalled))) => this.give_up(STALLED, "stalled"),
                Poll::Ready(Some(Err(UploadError::Broken(_)))) => this.give_up(BROKEN, "broken off by the client"),
                Poll::Ready(None) => {
                    this.fate.set(FINISHED);
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer: a Dapr Server's, or our own.
pub(crate) enum Body {
    /// Passed on as it comes.
    Relay(Relay),
    /// A failure in one piece; the record ends with it.
    Own(
        Option<Bytes>,
        #[expect(dead_code, reason = "kept until the answer is sent")] Record,
    ),
}

/// A Dapr Server's answer under way.
pub(crate) struct Relay {
    pub(crate) incoming: Incoming,
    pub(crate) record: Record,
    /// The connection that it comes on; given back at the end.
    pub(crate) lease: Option<Lease>,
    pub(crate) request: Arc<Fate>,
    pub(crate) grpc: bool,
    pub(crate) grant: Arc<Grant>,
    /// Set once the answer had to be waited for: a stream ends when its token does.
    pub(crate) token_ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(crate) failed: bool,
}

impl Relay {
    fn end(&mut self) {
        self.record.complete();
        if let Some(lease) = self.lease.take() {
            lease.give_back(self.request.is_finished());
        }
    }

    /// A stream that cannot go on: gRPC is told in trailers, HTTP by an answer that breaks off.
    fn fail(&mut self, kind: Kind, reason: &'static str) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        self.failed = true;
        self.lease = None;
        self.record.failed(kind, reason);
        if self.grpc {
            Poll::Ready(Some(Ok(Frame::trailers(kind.trailers()))))
        } else {
            Poll::Ready(Some(Err(GivenUp(reason))))
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) if self.grant.life.is_cancelled() => {
                self.fail(Kind::Unauthenticated, "the token was revoked")
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.record.bytes_out += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.record.grpc_status(trailers);
                    self.end();
                }
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => self.fail(Kind::Unavailable, "the Dapr Server's answer broke off"),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let grant = &self.grant;
                let ended = self
                    .token_ended
                    .get_or_insert_with(|| Box::pin(grant.life.clone().cancelled_owned()));
                if ended.as_mut().poll(cx).is_ready() {
                    return self.fail(Kind::Unauthenticated, "the token was revoked");
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An answer without a body, or whose end nobody asked for, is complete all the same.
        if self.lease.is_some() && self.incoming.is_end_stream() {
            self.end();
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        match &mut *self {
            Self::Relay(relay) => relay.poll_frame(cx),
            Self::Own(bytes, _) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Relay(relay) => relay.failed || relay.incoming.is_end_stream(),
            Self::Own(bytes, _) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Relay(relay) => relay.incoming.size_hint(),
            Self::Own(bytes, _) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// The gRPC status that headers or trailers state, if they do.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
