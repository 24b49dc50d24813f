//! The contract of a driver that stands in a pipeline of HTTP requests.
//!
//! The one idea: it looks at the head of a request and lets it pass, perhaps changed, or answers in its place; a body is
//! read for it only when it says that it rewrites bodies. What answers shall carry in their heads is said with the verdict.
//! A driver must never keep a request, nor log a header's value.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};

use crate::error::CallError;
use crate::{Driver, Reply};

/// A registered middleware driver.
pub type MiddlewareDriver = Driver<dyn Middleware>;

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on; the answer to it gets these headers.
    Pass(HeaderMap),
    /// It is answered here.
    Answer(Response<Bytes>),
}

impl Verdict {
    /// It goes on as it is.
    pub fn pass() -> Self {
        Verdict::Pass(HeaderMap::new())
    }

    /// A plain text answer, with a line end as Go's programs write one.
    pub fn refuse(status: http::StatusCode, words: &str) -> Self {
        let mut answer = Response::new(Bytes::from(format!("{words}\n")));
        *answer.status_mut() = status;
        let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        Verdict::Answer(answer)
    }
}

/// One opened piece of a pipeline. All calls may run side by side.
pub trait Middleware: Send + Sync + 'static {
    /// Judges a request by its head, which it may change. An error answers with status 500.
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError>;

    /// Whether [`Middleware::rewrite`] must see the body of every request that passes.
    fn rewrites(&self) -> bool {
        false
    }

    /// Gives a request another body.
    fn rewrite(&self, body: Bytes) -> Bytes {
        body
    }
}
