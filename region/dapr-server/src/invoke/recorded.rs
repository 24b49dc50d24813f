//! A body that is sent on as it comes, and kept as long as it is short: so that a call can be sent once more.
//!
//! Must never hold more than its bound, nor hold up what passes through.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palladium_http::Upload;

/// Bytes that are kept at most.
const MOST: usize = 64 << 10;

/// What was kept.
#[derive(Debug, Default)]
pub struct Record(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    bytes: BytesMut,
    complete: bool,
    too_long: bool,
}

impl Record {
    fn add(&self, data: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes.len() + data.len() > MOST {
            *kept = Kept {
                too_long: true,
                ..Kept::default()
            };
        } else if !kept.too_long {
            kept.bytes.extend_from_slice(data);
        }
    }

    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).complete = true;
    }

    /// The body, if it came to its end and was short.
    pub fn whole(&self) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.complete && !kept.too_long).then(|| Bytes::copy_from_slice(&kept.bytes))
    }
}

/// A body that is recorded.
#[derive(Debug)]
pub struct Recorded {
    body: Upload,
    record: Arc<Record>,
}

impl Recorded {
    /// Records a body; the record is read after it was sent.
    pub fn new(body: Upload) -> (Self, Arc<Record>) {
        let record = Arc::new(Record::default());
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
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
        for (length, kept) in [(5, true), (MOST, true), (MOST + 1, false)] {
            let (recorded, record) = Recorded::new(Upload::whole(vec![7; length].into()));
            assert!(record.whole().is_none(), "not sent yet");
            assert_eq!(recorded.collect().await.unwrap().to_bytes().len(), length);
            assert_eq!(record.whole().map(|bytes| bytes.len()), kept.then_some(length));
        }
    }
}
