//! The answer of a driver call: either already there, or a future.
//!
//! The one idea: only a driver that really waits pays for a boxed future. An in-memory read is a value, wrapped in
//! [`Reply::Ready`], and awaiting it never suspends and never allocates.
//!
//! Must never block.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A boxed future, the form in which a `dyn` driver hands out work that waits.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Outcome of one driver call. It is itself a future; await it.
pub enum Reply<'a, T, E = crate::StateError> {
    /// The answer is known now. `None` only after it was taken by polling.
    Ready(Option<Result<T, E>>),
    /// The answer has to be waited for.
    Wait(BoxFuture<'a, Result<T, E>>),
}

impl<'a, T, E> Reply<'a, T, E> {
    /// An answer that is known now.
    pub fn ready(result: Result<T, E>) -> Self {
        Reply::Ready(Some(result))
    }

    /// An answer that has to be waited for.
    pub fn wait(future: impl Future<Output = Result<T, E>> + Send + 'a) -> Self {
        Reply::Wait(Box::pin(future))
    }
}

impl<T, E> Future for Reply<'_, T, E>
where
    T: Unpin,
    E: Unpin,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Reply::Ready(answer) => Poll::Ready(
                answer
                    .take()
                    .expect("invariant: a reply is not polled after it was ready"),
            ),
            Reply::Wait(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T, E> fmt::Debug for Reply<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reply::Ready(_) => "Reply::Ready",
            Reply::Wait(_) => "Reply::Wait",
        })
    }
}
