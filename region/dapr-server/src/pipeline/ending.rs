//! The end of a request, and who waits for it.
//!
//! One idea: a request is over when its answer has been sent to its end or given up; whoever watches is told by dropping
//! the [`Ending`], so nothing that goes wrong on the way can forget it. Must never keep a body longer than its reader does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use palladium_component::middleware::Watch;

use crate::http::{Body, BoxError};

/// Tells when it is dropped; without a status nothing was answered.
#[derive(Debug, Default)]
pub struct Ending {
    watching: Vec<Box<dyn Watch>>,
    status: Option<StatusCode>,
}

impl Ending {
    pub(super) fn add(&mut self, watch: Box<dyn Watch>) {
        self.watching.push(watch);
    }

    pub(super) fn with(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The body whose end this is.
    pub(super) fn keep(self, body: Body) -> Body {
        if self.watching.is_empty() || body.is_here() {
            return body;
        }
        let ending = Some(self);
        Body::Kept(Box::new(Kept { body, ending }))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        for watch in self.watching.drain(..) {
            if let Some(status) = self.status {
                watch.ended(status);
            }
        }
    }
}

/// A body with its [`Ending`].
#[derive(Debug)]
pub struct Kept {
    body: Body,
    ending: Option<Ending>,
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.ending = None;
        }
        Poll::Ready(frame)
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
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt as _;

    use super::*;

    struct Notes(Arc<Mutex<Vec<u16>>>);

    impl Watch for Notes {
        fn ended(self: Box<Self>, status: StatusCode) {
            self.0.lock().unwrap().push(status.as_u16());
        }
    }

    #[tokio::test]
    async fn it_is_told_at_the_end_of_the_body_and_not_before() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let ending = |status| {
            let mut ending = Ending::default();
            ending.add(Box::new(Notes(told.clone())));
            ending.with(status)
        };
        let whole = ending(StatusCode::OK).keep(Body::from("abc"));
        assert_eq!(
            *told.lock().unwrap(),
            [200],
            "a body that is here has no end to wait for"
        );
        drop(whole);
        let kept = ending(StatusCode::CREATED);
        let mut kept = Kept {
            body: Body::from("abc"),
            ending: Some(kept),
        };
        assert_eq!(told.lock().unwrap().len(), 1);
        kept.frame().await.unwrap().unwrap();
        assert_eq!(*told.lock().unwrap(), [200, 201]);
        let kept = Kept {
            body: Body::from("abc"),
            ending: Some(ending(StatusCode::ACCEPTED)),
        };
        drop(kept);
        assert_eq!(*told.lock().unwrap(), [200, 201, 202], "given up");
        let mut untold = Ending::default();
        untold.add(Box::new(Notes(told.clone())));
        drop(untold);
        assert_eq!(told.lock().unwrap().len(), 3, "never answered");
    }
}
