//! A channel to an application whose answers count against the budget of the process while they are read, and whose calls
//! are counted.
//!
//! Must never look into an answer.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use palladium_http::{Held, Metered};
use tonic::Code;
use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower_service::Service;

use crate::server::Server;

/// See the module.
#[derive(Clone)]
pub struct Counted {
    channel: Channel,
    held: Held,
    server: Weak<Server>,
}

impl Counted {
    pub(super) fn new(channel: Channel, held: Held, server: Weak<Server>) -> Self {
        Self { channel, held, server }
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
        let (start, method) = (Instant::now(), request.uri().path().to_owned());
        let (answer, held, server) = (self.channel.call(request), self.held.clone(), self.server.clone());
        Box::pin(async move {
            let answer = answer.await;
            if let Some(server) = server.upgrade() {
                // A failure without an answer says so in its head; one behind an answer is not waited for.
                let code = answer.as_ref().map_or(Code::Unavailable, |answer| {
                    let code = answer.headers().get("grpc-status");
                    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
                });
                server.metrics.grpc_client(&method, code, None, start.elapsed());
            }
            Ok(answer?.map(|body| held.meter(body)))
        })
    }
}
