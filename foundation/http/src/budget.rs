//! How much of its callers' data a process holds in memory.
//!
//! One idea: a byte that is kept is counted against one budget, and stays counted until the last one who has it lets it go,
//! even if the caller has gone away meanwhile. Whoever comes when it is used up is told so, before more is read. A part of
//! a budget can be set aside for one of many: what it takes counts against both. Must never make a call wait for another
//! one's memory.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much data is held at a time")]
pub struct Exhausted;

/// The bytes that are left.
#[derive(Clone, Debug)]
pub struct Budget {
    /// The whole, then its parts; empty = without bound.
    levels: Arc<[Arc<Semaphore>]>,
    bytes: usize,
}

/// What one call has used of a budget; given back when nobody has this any more.
#[derive(Clone, Debug)]
pub struct Held {
    budget: Budget,
    permits: Arc<Mutex<Vec<OwnedSemaphorePermit>>>,
}

impl Budget {
    /// So many bytes; `usize::MAX` = as many as there are.
    pub fn new(bytes: usize) -> Self {
        let none = Self {
            levels: Arc::default(),
            bytes,
        };
        none.part(bytes)
    }

    /// A part of this for one of those who share it.
    pub fn part(&self, bytes: usize) -> Self {
        let own = (bytes <= Semaphore::MAX_PERMITS).then(|| Arc::new(Semaphore::new(bytes)));
        Self {
            levels: self.levels.iter().cloned().chain(own).collect(),
            bytes,
        }
    }

    /// How many bytes there are when nobody holds any.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody holds any of it.
    pub fn is_unused(&self) -> bool {
        self.levels
            .last()
            .is_none_or(|level| level.available_permits() == self.bytes)
    }

    /// Whether somebody else has this budget at hand, to take from it now or later.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.levels) > 1
    }

    /// For one call, which has nothing yet.
    pub fn hold(&self) -> Held {
        Held {
            budget: self.clone(),
            permits: Arc::default(),
        }
    }

    /// Takes as much as these bytes are: it is given back when the last piece of them is gone, in whatever queue that is.
    ///
    /// # Errors
    /// When there is not so much left.
    pub fn tie(&self, bytes: Bytes) -> Result<Bytes, Exhausted> {
        struct Tied(
            Bytes,
            #[expect(dead_code, reason = "kept as long as the bytes")] Vec<OwnedSemaphorePermit>,
        );
        impl AsRef<[u8]> for Tied {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let permits = self.take(bytes.len())?;
        Ok(Bytes::from_owner(Tied(bytes, permits)))
    }

    fn take(&self, bytes: usize) -> Result<Vec<OwnedSemaphorePermit>, Exhausted> {
        if self.levels.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = u32::try_from(bytes).map_err(|_| Exhausted)?;
        // What was taken of the whole goes back when the part has no room.
        let take = |level: &Arc<Semaphore>| level.clone().try_acquire_many_owned(bytes);
        self.levels
            .iter()
            .map(|level| take(level).map_err(|_| Exhausted))
            .collect()
    }
}

impl Held {
    /// Takes more of the budget.
    ///
    /// # Errors
    /// When there is not so much left; then nothing is taken.
    pub fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        let more = self.budget.take(bytes)?;
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        if permits.is_empty() {
            *permits = more;
        } else {
            permits.iter_mut().zip(more).for_each(|(own, more)| own.merge(more));
        }
        Ok(())
    }

    /// How many bytes it has taken so far; none of a budget without bound.
    pub fn bytes(&self) -> usize {
        let permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        permits.first().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Counts a body as it is read, and all of it until the last clone of this is gone.
    pub fn meter<B>(&self, inner: B) -> Metered<B> {
        Metered {
            inner,
            held: self.clone(),
        }
    }
}

/// A body that is collected: each byte counts until the end of its call.
#[derive(Debug)]
pub struct Metered<B> {
    inner: B,
    held: Held,
}

impl<B> Metered<B> {
    /// The same for a body that only passes through: a byte counts until it has left.
    pub fn passing(self) -> Passing<B> {
        Passing {
            inner: self.inner,
            budget: self.held.budget,
        }
    }
}

/// A body that passes through.
#[derive(Debug)]
pub struct Passing<B> {
    inner: B,
    budget: Budget,
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose();
        let frame = frame.map_err(Into::into)?;
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            self.held.take(data.len())?;
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Body for Passing<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match frame.map_err(Into::into)?.into_data() {
            Ok(data) => Ok(Frame::data(self.budget.tie(data)?)),
            Err(other) => Ok(other),
        }))
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
    use http_body_util::{BodyExt, Full};

    use super::*;

    async fn read<B>(body: &mut B) -> Result<Bytes, bool>
    where
        B: Body<Data = Bytes, Error = BoxError> + Unpin,
    {
        match body.frame().await {
            Some(Ok(frame)) => Ok(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => Err(error.is::<Exhausted>()),
            None => Ok(Bytes::new()),
        }
    }

    fn seven() -> Full<Bytes> {
        Full::new(Bytes::from_static(b"seven.."))
    }

    #[tokio::test]
    async fn what_is_read_counts_until_nobody_holds_it() {
        let budget = Budget::new(10);
        let (one, other) = (budget.hold(), budget.hold());
        let mut body = one.meter(seven());
        assert_eq!(read(&mut body).await.map(|data| data.len()), Ok(7));
        assert_eq!(read(&mut other.meter(seven())).await, Err(true));
        assert!(one.take(3).is_ok() && one.take(1).is_err());
        drop(one);
        assert!(read(&mut other.meter(seven())).await.is_err(), "the body has it still");
        drop(body);
        assert!(budget.is_unused());
        assert!(read(&mut other.meter(seven())).await.is_ok());
    }

    #[tokio::test]
    async fn what_passes_counts_until_the_last_piece_has_left() {
        let budget = Budget::new(10);
        let mut body = budget.hold().meter(seven()).passing();
        let mut data = read(&mut body).await.expect("there is room");
        drop(body);
        assert_eq!(read(&mut budget.hold().meter(seven()).passing()).await, Err(true));
        let rest = data.split_off(3);
        drop(data);
        assert!(!budget.is_unused());
        drop(rest);
        assert!(budget.is_unused());
    }

    #[test]
    fn a_part_counts_against_the_whole_and_leaves_the_rest_to_others() {
        let whole = Budget::new(10);
        let (greedy, other) = (whole.part(4), whole.part(4));
        let held = greedy.hold();
        assert_eq!(held.take(4), Ok(()));
        assert_eq!(held.take(1), Err(Exhausted));
        assert_eq!(other.hold().take(4), Ok(()));
        let rest = whole.hold();
        assert_eq!(rest.take(6), Ok(()), "what a part refused took nothing of the whole");
        assert_eq!(other.hold().take(1), Err(Exhausted));
        assert!(greedy.is_shared());
        drop((held, rest));
        assert!(whole.is_unused() && greedy.is_unused() && other.is_unused() && !greedy.is_shared());
    }

    #[test]
    fn a_budget_without_bound_refuses_nothing() {
        let held = Budget::new(usize::MAX).hold();
        assert!(held.take(usize::MAX).is_ok() && held.take(usize::MAX).is_ok());
    }
}
