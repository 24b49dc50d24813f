//! What stands before the API and before the application: pipelines of middleware, as a Configuration orders them.
//!
//! One idea: a pipeline is a list of component names; the components are looked up for each request, so one that comes,
//! changes or goes takes effect at once, and a name without a component is passed over, as in Dapr; where
//! tenants are it stops every call, because it may be the piece that asks who is calling. Without a list nothing is done at
//! all. Must never read a body unless a piece rewrites bodies or judges by them.

mod ending;
mod revising;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use palladium_component::middleware::{Revise, Verdict};
use palladium_component::{CallError, Middleware};
use palladium_telemetry::SharedRation;

pub use ending::{Ending, Kept};

use crate::http::Body;
use crate::resources::Handler;
use crate::server::{Components, Server};

/// How often each of the lines is told that callers cause.
const TOLD: Duration = Duration::from_secs(60);
static FAILED: SharedRation = SharedRation::new(TOLD);

/// The lists.
#[derive(Debug, Default)]
pub struct Pipelines {
    api: Option<Arc<[Slot]>>,
    app: Option<Arc<[Slot]>>,
}

/// A place in a list.
#[derive(Debug)]
pub struct Slot {
    handler: Handler,
    /// Whether the component was not there when it was last looked up; so it is said once, not at each request.
    is_missing: AtomicBool,
}

impl Slot {
    fn new(handler: &Handler) -> Self {
        Self {
            handler: handler.clone(),
            is_missing: AtomicBool::new(false),
        }
    }

    /// Whether this is another thing than at the last look.
    fn is_news(&self, is_missing: bool) -> bool {
        let differs = |before: bool| before != is_missing;
        // Read first: it hardly ever changes, and every request looks.
        differs(self.is_missing.load(Ordering::Relaxed)) && differs(self.is_missing.swap(is_missing, Ordering::Relaxed))
    }

    /// The piece, if its component is loaded. `hosted`: calls are refused without it.
    fn find(&self, components: &Components, hosted: bool) -> Option<Arc<dyn Middleware>> {
        let Handler { name, kind } = &self.handler;
        let found = components.middleware(name);
        let found = found.filter(|piece| piece.kind.eq_ignore_ascii_case(kind));
        if self.is_news(found.is_none()) {
            match (found.is_none(), hosted) {
                (true, true) => tracing::warn!(handler = name, "a piece of a pipeline is missing; calls are refused"),
                (true, false) => tracing::debug!(handler = name, "a pipeline names a component that is not loaded"),
                (false, _) => tracing::debug!(handler = name, "a piece of a pipeline is there again"),
            }
        }
        Some(found?.driver.clone())
    }
}

/// A loaded piece.
pub struct Piece {
    /// The component's name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its driver.
    pub driver: Arc<dyn Middleware>,
}

/// A request that may go on.
#[derive(Default)]
pub struct Passed {
    /// For the answer to it.
    pub headers: HeaderMap,
    /// Its body, if that had to be read.
    body: Option<Bytes>,
    /// Those that rewrite its body, in order.
    rewriting: Vec<Arc<dyn Middleware>>,
    /// Those that want to see the answer, in order.
    revising: Vec<Box<dyn Revise>>,
    /// Those that want to know how it ended.
    ending: Ending,
}

impl Passed {
    /// The answer with what it is to carry; those who watch are told when it has been sent.
    pub fn answered(&mut self, answer: Response<Body>) -> Response<Body> {
        let (mut head, body) = answer.into_parts();
        head.headers.extend(std::mem::take(&mut self.headers));
        let body = self.ending(head.status).keep(body);
        Response::from_parts(head, body)
    }

    /// Those who are to be told when an answer of this status has been sent.
    pub fn ending(&mut self, status: StatusCode) -> Ending {
        std::mem::take(&mut self.ending).with(status)
    }

    /// A piece answered: those before it are told.
    fn cut(mut self, answer: Response<Bytes>) -> Response<Bytes> {
        drop(self.ending(answer.status()));
        answer
    }

    /// The body that the request is to have, if it had to be read.
    pub fn body(&mut self) -> Option<Bytes> {
        self.body.take()
    }

    /// With the request's body, which is read now.
    async fn with_body<E>(mut self, reading: impl Future<Output = Result<Bytes, E>>) -> Result<Self, Stopped<E>> {
        match reading.await {
            Ok(body) => {
                self.body = Some(body);
                Ok(self)
            }
            Err(error) => Err(Stopped::Body(error, Box::new(self))),
        }
    }

    /// The body as those before have rewritten it.
    fn rewrite(&self, body: Bytes, headers: &mut HeaderMap) -> Bytes {
        let body = self.rewriting.iter().fold(body, |body, piece| piece.rewrite(body));
        set_length(headers, body.len());
        body
    }

    /// A piece judges by the whole request.
    async fn judged(&mut self, piece: &dyn Middleware, head: &mut Parts) -> Result<Verdict, CallError> {
        let body = self.body.take().unwrap_or_default();
        let mut body = self.rewrite(body, &mut head.headers);
        self.rewriting.clear();
        let verdict = piece.judge_whole(head, &mut body).await;
        set_length(&mut head.headers, body.len());
        self.body = Some(body);
        verdict
    }
}

/// Why a request does not go on.
pub enum Stopped<E> {
    /// A piece answered.
    Answer(Response<Bytes>),
    /// Its body could not be read; whoever tells so asks for the [`Passed::ending`].
    Body(E, Box<Passed>),
}

/// A length that is announced follows the body.
fn set_length(headers: &mut HeaderMap, length: usize) {
    if headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// A text that answers in place of whoever stands behind.
fn refusal(status: StatusCode, words: &'static str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(words.as_bytes()));
    *answer.status_mut() = status;
    answer
}

impl Pipelines {
    /// These lists.
    pub fn new(api: &[Handler], app: &[Handler]) -> Self {
        let list = |handlers: &[Handler]| (!handlers.is_empty()).then(|| handlers.iter().map(Slot::new).collect());
        Self {
            api: list(api),
            app: list(app),
        }
    }

    /// What stands before the API; `None` = nothing.
    pub fn api(&self) -> Option<Arc<[Slot]>> {
        self.api.clone()
    }

    /// What stands before the application; `None` = nothing.
    pub fn app(&self) -> Option<Arc<[Slot]>> {
        self.app.clone()
    }
}

/// Takes a request through a list. `reading` is waited for, once, when a piece needs the body.
///
/// # Errors
/// The answer of the piece that did not let it pass, or what `reading` says.
pub async fn pass<E>(
    server: &Server,
    list: &[Slot],
    head: &mut Parts,
    reading: impl Future<Output = Result<Bytes, E>>,
) -> Result<Passed, Stopped<E>> {
    let mut passed = Passed::default();
    let mut reading = Some(reading);
    for slot in list {
        // The components are not held while a piece works.
        let Some(piece) = slot.find(&server.components.load(), server.hosted) else {
            if !server.hosted {
                continue;
            }
            // It may be the one that asks who is calling.
            return Err(passed
                .stop(refusal(StatusCode::SERVICE_UNAVAILABLE, "middleware is missing\n"))
                .await);
        };
        let verdict = if piece.reads() {
            if let Some(reading) = reading.take() {
                passed = passed.with_body(reading).await?;
            }
            passed.judged(&*piece, head).await
        } else {
            piece.judge(head).await
        };
        match verdict {
            Ok(Verdict::Pass(headers)) => passed.headers.extend(headers),
            Ok(Verdict::Watch(watch)) => passed.ending.add(watch),
            Ok(Verdict::Revise(headers, revise)) => {
                passed.headers.extend(headers);
                passed.revising.push(revise);
            }
            Ok(Verdict::Answer(answer)) => return Err(passed.stop(answer).await),
            Err(error) => {
                let handler = &slot.handler.name;
                match FAILED.tell() {
                    Some(untold) => tracing::warn!(handler, %error, untold, "a piece of a pipeline failed"),
                    None => tracing::debug!(handler, %error, "a piece of a pipeline failed"),
                }
                return Err(passed.stop(failed()).await);
            }
        }
        if piece.rewrites() {
            passed.rewriting.push(piece);
        }
    }
    if !passed.rewriting.is_empty() {
        if let Some(reading) = reading {
            passed = passed.with_body(reading).await?;
        }
        let body = passed.body.take().unwrap_or_default();
        passed.body = Some(passed.rewrite(body, &mut head.headers));
    }
    Ok(passed)
}

/// The answer of a piece that failed.
fn failed() -> Response<Bytes> {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "middleware failed\n")
}

#[cfg(test)]
mod tests;
