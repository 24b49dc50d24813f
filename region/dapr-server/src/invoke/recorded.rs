//! A body that is sent on as it comes, and kept as long as it is short: so that a call can be sent once more.
//!
//! Must never hold more than its bound, nor hold up what passes through.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palladium_http::{Budget, Held, Passing, Upload};

use crate::http::BoxError;

/// Bytes that are kept at most.
const MOST: usize = 64 << 10;

/// What was kept. It counts against the budget.
#[derive(Debug)]
pub struct Record {
    kept: Mutex<Kept>,
    budget: Budget,
}

#[derive(Debug)]
enum Kept {
    Coming(BytesMut, Held),
    Whole(Bytes),
    /// It is too long, or there is no room for it.
    Not,
}

impl Record {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, data: &Bytes) {
        let mut kept = self.kept();
        if let Kept::Coming(bytes, held) = &mut *kept {
            if bytes.len() + data.len() <= MOST && held.take(data.len()).is_ok() {
                bytes.extend_from_slice(data);
            } else {
                *kept = Kept::Not;
            }
        }
    }

    fn end(&self) {
        let mut kept = self.kept();
        if let Kept::Coming(bytes, _) = &mut *kept {
            let bytes = bytes.split().freeze();
            // Given back before it is taken again.
            *kept = Kept::Not;
            *kept = self.budget.tie(bytes).map_or(Kept::Not, Kept::Whole);
        }
    }

    /// The body, if it came to its end and was short.
    pub fn whole(&self) -> Option<Bytes> {
        match &*self.kept() {
            Kept::Whole(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

/// A body that is recorded.
#[derive(Debug)]
pub struct Recorded {
    body: Passing<Upload>,
    record: Arc<Record>,
}

impl Recorded {
    /// Records a body; the record is read after it was sent.
    pub fn new(body: Passing<Upload>, budget: &Budget) -> (Self, Arc<Record>) {
        let record = Arc::new(Record {
            kept: Mutex::new(Kept::Coming(BytesMut::new(), budget.hold())),
            budget: budget.clone(),
        });
        if body.is_end_stream() {
            record.end();
        }
        let recorded = Self {
            body,
            record: record.clone(),
        };
        (recorded, record)
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.record.add(data);
                }
                if self.body.is_end_stream() {
                    self.record.end();
                }
            }
            Poll::Ready(None) => self.record.end(),
            _ => {}
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_short_body_is_kept_and_a_long_one_is_not() {
        let budget = Budget::new(2 * MOST + 1);
        for (length, kept) in [(5, true), (MOST, true), (MOST + 1, false)] {
            let body = budget.hold().meter(Upload::whole(vec![7; length].into())).passing();
            let (recorded, record) = Recorded::new(body, &budget);
            assert!(record.whole().is_none(), "not sent yet");
            assert_eq!(recorded.collect().await.unwrap().to_bytes().len(), length);
            assert_eq!(record.whole().map(|bytes| bytes.len()), kept.then_some(length));
            drop(record);
            assert!(budget.is_unused(), "{length}");
        }
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_sent_once() {
        let budget = Budget::new(9);
        let body = budget.hold().meter(Upload::whole(vec![7; 5].into())).passing();
        let (recorded, record) = Recorded::new(body, &budget);
        assert_eq!(recorded.collect().await.unwrap().to_bytes().len(), 5);
        assert!(record.whole().is_none());
    }
}
