//! How much of its callers' data a store holds in memory.
//!
//! One idea: a byte that arrives is counted against one budget of the whole store, and stays counted until its call is
//! answered and its rows are written, even if the caller has gone away meanwhile. Whoever comes when it is used up is told
//! so (`RESOURCE_EXHAUSTED`), before more is read. Must never make a call wait for another one's memory.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

/// The bytes that are left.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

/// What one call has used of it; given back when nobody has this any more.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    budget: Budget,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Counts the body of a request as it is read. The handler finds the [`Held`] among its extensions.
    pub(crate) fn meter(&self, mut request: http::Request<Body>) -> http::Request<Body> {
        let held = Held {
            budget: self.clone(),
            permit: Arc::default(),
        };
        request.extensions_mut().insert(held.clone());
        request.map(|inner| Body::new(Metered { inner, held }))
    }
}

impl Held {
    /// Takes more of the budget.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Status> {
        let more = u32::try_from(bytes).ok();
        let more = more.and_then(|bytes| self.budget.0.clone().try_acquire_many_owned(bytes).ok());
        let more =
            more.ok_or_else(|| Status::resource_exhausted("the managed store is busy: too much data at a time"))?;
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

struct Metered {
    inner: Body,
    held: Held,
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.held.take(data.len())?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn read(body: &mut Body) -> Result<usize, tonic::Code> {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => Ok(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(status)) => Err(status.code()),
            None => Ok(0),
        }
    }

    #[tokio::test]
    async fn what_is_read_counts_until_nobody_holds_it() {
        let budget = Budget::new(10);
        let request = || {
            let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"seven..")));
            budget.meter(http::Request::new(body))
        };
        let (mut one, mut other) = (request(), request());
        assert_eq!(read(one.body_mut()).await, Ok(7));
        assert_eq!(read(other.body_mut()).await, Err(tonic::Code::ResourceExhausted));
        let held = one.extensions().get::<Held>().cloned().expect("there for the handler");
        assert!(held.take(3).is_ok() && held.take(1).is_err());
        drop(one);
        assert_eq!(read(request().body_mut()).await, Err(tonic::Code::ResourceExhausted));
        drop(held);
        assert_eq!(read(request().body_mut()).await, Ok(7));
    }
}
