//! An application that a pipeline stands before.
//!
//! One idea: a request goes through the pipeline as the application would see it, with the path below its endpoint. Must
//! never be in the way of an application without a pipeline.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response};

use tokio::sync::OwnedSemaphorePermit;

use super::{AppBody, AppChannel, CallError, collected};
use crate::http::Body;
use crate::pipeline;
use crate::resources::Handler;
use crate::server::Server;
use crate::trace::Tracer;

impl AppChannel {
    /// Puts what the server's Configuration names before the application, whatever it names when a call is made; what is
    /// held of calls counts against the server's budget.
    pub fn behind(mut self, server: &Arc<Server>) -> Self {
        self.budget = server.budget.clone();
        self.behind = Arc::downgrade(server);
        self
    }

    /// What traces calls, if anything does.
    pub fn tracer(&self) -> Option<Arc<Tracer>> {
        self.behind.upgrade()?.tracing.now()
    }

    /// What stands before the application now.
    pub(super) fn pipeline(&self) -> Option<(Arc<Server>, Arc<[Handler]>)> {
        let server = self.behind.upgrade()?;
        let list = server.rules.load().pipelines.app()?;
        Some((server, list))
    }

    pub(super) async fn call_behind(
        &self,
        server: &Server,
        list: &[Handler],
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Response<Body>, CallError> {
        let request = Request::builder().method(method).uri(path).body(())?;
        let (mut head, ()) = request.into_parts();
        head.headers = headers;
        let passed = match pipeline::pass(server, list, &mut head).await {
            Ok(passed) => passed,
            Err(answer) => return Ok(answer.map(Body::from)),
        };
        let body = if passed.rewrites() {
            let held = server.budget.hold();
            let whole = collected(body, &held, server.max_body()).await?;
            let whole = passed.rewrite(whole, &mut head.headers);
            drop(held);
            Body::from(server.budget.tie(whole)?)
        } else {
            body
        };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let answer = self.send(head.method, path, head.headers, body).await?;
        let mut answer = answer.map(|body| Body::Answer(AppBody::new(body, permit)));
        answer.headers_mut().extend(passed.headers);
        Ok(answer)
    }
}
