//! A body on its way that says afterwards why it broke.
//!
//! One idea: over HTTP/2 a request whose body fails is reset, and whoever sent it learns no more than that; so the reason is
//! left here for it. Must never take what the other side did for a failure of the body.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::app_channel::{CallError, failure};
use crate::http::{Body, BoxError};

/// Why a body broke, if it did.
#[derive(Clone, Debug, Default)]
pub struct Why(Arc<Mutex<Option<CallError>>>);

impl Why {
    /// The reason; it is told once.
    pub fn take(&self) -> Option<CallError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Watched {
    body: Body,
    why: Why,
}

impl Watched {
    /// Watches a body, unless it cannot break.
    pub fn watch(body: Body, why: &Why) -> Body {
        if body.is_here() {
            return body;
        }
        let why = why.clone();
        Body::Watched(Box::new(Self { body, why }))
    }

    /// The body again.
    pub fn unwatch(body: Body) -> Body {
        match body {
            Body::Watched(watched) => watched.body,
            other => other,
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            *self.why.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure(&**error));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
