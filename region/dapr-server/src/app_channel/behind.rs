//! An application that a pipeline stands before.
//!
//! One idea: a request goes through the pipeline as the application would see it, with the path below its endpoint. Must
//! never be in the way of an application without a pipeline.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use tokio::sync::OwnedSemaphorePermit;

use super::{AppBody, AppChannel, CallError, collected, strip_response};
use crate::http::Body;
use crate::pipeline::{self, Slot, Stopped};
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
    pub(super) fn pipeline(&self) -> Option<(Arc<Server>, Arc<[Slot]>)> {
        let server = self.behind.upgrade()?;
        let list = server.rules.load().pipelines.app()?;
        Some((server, list))
    }

    pub(super) async fn call_behind(
        &self,
        server: &Server,
        list: &[Slot],
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Response<Body>, CallError> {
        let request = Request::builder().method(method).uri(path).body(())?;
        let (mut head, ()) = request.into_parts();
        head.headers = headers;
        let held = server.budget.hold();
        let mut body = Some(body);
        let reading = async {
            let body = body.take().unwrap_or(Body::Empty);
            collected(body, &held, server.max_body()).await
        };
        let mut passed = match pipeline::pass(server, list, &mut head, reading).await {
            Ok(passed) => passed,
            Err(Stopped::Answer(answer)) => {
                drop(held);
                // A piece may have much to say.
                let (head, body) = answer.into_parts();
                return Ok(Response::from_parts(head, server.budget.tie(body)?.into()));
            }
            Err(Stopped::Body(error, mut passed)) => {
                drop(passed.ending(StatusCode::INTERNAL_SERVER_ERROR));
                return Err(error);
            }
        };
        let whole = passed.body();
        // What comes of it counts anew.
        drop(held);
        let failed = StatusCode::INTERNAL_SERVER_ERROR;
        let body = match whole {
            Some(whole) => {
                let tied = server.budget.tie(whole);
                Body::from(tied.inspect_err(|_| drop(passed.ending(failed)))?)
            }
            None => body.unwrap_or(Body::Empty),
        };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        // Again: a piece may have added what ends with a connection.
        let mut headers = head.headers;
        strip_response(&mut headers);
        headers.remove(HOST);
        let answer = self.send(head.method, path, headers, body).await;
        let answer = answer.inspect_err(|_| drop(passed.ending(failed)))?;
        if passed.revises() {
            let answer = answer.map(|body| Body::Answer(AppBody::new(body, permit)));
            let answer = passed.revised(server, answer).await;
            return Ok(passed.answered(answer));
        }
        let ending = passed.ending(answer.status());
        let mut answer = answer.map(|body| Body::Answer(AppBody::new(body, permit).watched(ending)));
        answer.headers_mut().extend(passed.headers);
        Ok(answer)
    }
}
