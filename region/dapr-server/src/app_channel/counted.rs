//! A channel to an application whose answers count against the budget of the process while they are read.
//!
//! Must never look into an answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use palladium_http::{Held, Metered};
use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower_service::Service;

/// See the module.
#[derive(Clone)]
pub struct Counted {
    channel: Channel,
    held: Held,
}

impl Counted {
    pub(super) fn new(channel: Channel, held: Held) -> Self {
        Self { channel, held }
    }
}

impl Service<Request<Body>> for Counted {
    type Response = Response<Metered<Body>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, held) = (self.channel.call(request), self.held.clone());
        Box::pin(async move { Ok(answer.await?.map(|body| held.meter(body))) })
    }
}
