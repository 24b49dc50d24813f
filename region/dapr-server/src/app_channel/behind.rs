//! An application that a pipeline stands before.
//!
//! One idea: a request goes through the pipeline as the application would see it, with the path below its endpoint. Must
//! never be in the way of an application without a pipeline.

use std::sync::{Arc, Weak};

use http::{HeaderMap, Method, Request, Response};

use super::{AppChannel, CallError};
use crate::http::{Body, read};
use crate::pipeline;
use crate::server::Server;

/// The way to the components of a pipeline.
pub(super) struct Pipeline(Weak<Server>);

impl AppChannel {
    /// Puts what the server's configuration names before the application.
    pub fn behind(mut self, server: &Arc<Server>) -> Self {
        self.pipeline = server.pipelines.app().map(|_| Pipeline(Arc::downgrade(server)));
        self
    }

    pub(super) async fn call_behind(
        &self,
        pipeline: &Pipeline,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, CallError> {
        let server = pipeline.0.upgrade();
        let server = server.ok_or_else(|| CallError::Transport("the process ends".to_owned()))?;
        let request = Request::builder().method(method).uri(path).body(())?;
        let (mut head, ()) = request.into_parts();
        head.headers = headers;
        let passed = match pipeline::pass(&server, server.pipelines.app().unwrap_or_default(), &mut head).await {
            Ok(passed) => passed,
            Err(answer) => return Ok(answer.map(Body::from)),
        };
        let body = if passed.rewrites() {
            let whole = read(body, server.max_body()).await;
            let whole = whole.map_err(|fault| CallError::Transport(fault.report.message))?;
            Body::from(passed.rewrite(whole, &mut head.headers))
        } else {
            body
        };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let answer = self.send(head.method, path, head.headers, body).await?;
        let mut answer = answer.map(Body::Answer);
        answer.headers_mut().extend(passed.headers);
        Ok(answer)
    }
}
