//! The way back through a pipeline: those who want to see an answer, and may change it.
//!
//! One idea: the last piece that a request passed sees the answer first, as the layers of Dapr's own do; what is only looked
//! at streams on, what may be changed is read whole. Must never show a body to whoever did not ask for it, nor read more of
//! one than a request may have.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use palladium_component::CallError;
use palladium_component::middleware::Revise;
use palladium_telemetry::SharedRation;

use super::{Passed, Stopped, TOLD, failed, set_length};
use crate::errors::Fault;
use crate::http::{Body, failed as told, read};
use crate::server::Server;

static FAILED: SharedRation = SharedRation::new(TOLD);

impl Passed {
    /// Whether somebody wants to see the answer.
    pub fn revises(&self) -> bool {
        !self.revising.is_empty()
    }

    /// An answer, with what it is to carry, in the form that those who want to see it give it.
    pub async fn revised(&mut self, server: &Server, answer: Response<Body>) -> Response<Body> {
        if !self.revises() {
            return answer;
        }
        let (mut head, body) = answer.into_parts();
        head.headers.extend(std::mem::take(&mut self.headers));
        while let Some(last) = self.revising.pop() {
            if last.changes() {
                self.revising.push(last);
                break;
            }
            look(last, head.status, head.headers.clone()).await;
        }
        if !self.revises() {
            return Response::from_parts(head, body);
        }
        // Until it is in its last form, which then counts until the caller has taken it.
        let held = server.budget.hold();
        let whole = match read(held.meter(body), server.max_body()).await {
            Ok(whole) => whole,
            Err(fault) => return told(&fault),
        };
        let (head, body) = self.shown(Response::from_parts(head, whole)).await.into_parts();
        drop(held);
        match server.budget.tie(body) {
            Ok(body) => Response::from_parts(head, body.into()),
            Err(_) => told(&Fault::busy()),
        }
    }

    /// A whole answer in the form that those who want to see it give it.
    async fn shown(&mut self, mut answer: Response<Bytes>) -> Response<Bytes> {
        while let Some(last) = self.revising.pop() {
            if !last.changes() {
                look(last, answer.status(), answer.headers().clone()).await;
                continue;
            }
            let before = answer.body().len();
            answer = last.revise(answer).await.unwrap_or_else(|error| {
                tell(&error);
                failed()
            });
            let length = answer.body().len();
            // The answer to a HEAD announces what it does not have.
            if length != before {
                set_length(answer.headers_mut(), length);
            }
        }
        answer
    }

    /// A piece answered: those before it see the answer and are told.
    pub(super) async fn stop<E>(mut self, answer: Response<Bytes>) -> Stopped<E> {
        let answer = self.shown(answer).await;
        Stopped::Answer(self.cut(answer))
    }
}

/// Shows an answer's head alone.
async fn look(last: Box<dyn Revise>, status: StatusCode, headers: HeaderMap) {
    let mut seen = Response::new(Bytes::new());
    *seen.status_mut() = status;
    *seen.headers_mut() = headers;
    if let Err(error) = last.revise(seen).await {
        tell(&error);
    }
}

fn tell(error: &CallError) {
    match FAILED.tell() {
        Some(untold) => tracing::warn!(%error, untold, "a piece of a pipeline failed with an answer"),
        None => tracing::debug!(%error, "a piece of a pipeline failed with an answer"),
    }
}

#[cfg(test)]
mod tests;
