//! The contract of a driver that stands in a pipeline of HTTP requests.
//!
//! The one idea: it looks at the head of a request and lets it pass, perhaps changed, or answers in its place; a body is
//! read for it only when it says that it rewrites bodies or judges by them. What answers shall carry in their heads is said
//! with the verdict, as well as who wants to know how the request ended, or to change its answer. A driver must never keep
//! a request, nor log a header's value.

use std::fmt;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};

use crate::error::CallError;
use crate::{Driver, Reply};

/// A registered middleware driver.
pub type MiddlewareDriver = Driver<dyn Middleware>;

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on; the answer to it gets these headers.
    Pass(HeaderMap),
    /// It goes on, and this is told how it ended.
    Watch(Box<dyn Watch>),
    /// It goes on; the answer to it gets these headers and is then shown to this.
    Revise(HeaderMap, Box<dyn Revise>),
    /// It is answered here.
    Answer(Response<Bytes>),
}

impl Verdict {
    /// It goes on as it is.
    pub fn pass() -> Self {
        Verdict::Pass(HeaderMap::new())
    }

    /// A plain text answer, with a line end as Go's programs write one.
    pub fn refuse(status: StatusCode, words: &str) -> Self {
        let mut answer = Response::new(Bytes::from(format!("{words}\n")));
        *answer.status_mut() = status;
        let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        Verdict::Answer(answer)
    }
}

/// Wants to know how a request ended that passed. One that is dropped untold was given up by its caller.
pub trait Watch: Send + Sync + 'static {
    /// The answer, from here or from behind, has been sent to its end.
    fn ended(self: Box<Self>, status: StatusCode);
}

impl fmt::Debug for dyn Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Wants to see the answer to a request that passed, before the caller does. One that is dropped saw none.
pub trait Revise: Send + 'static {
    /// Whether it may change the answer: then the body is read for it. Otherwise it is shown the head alone, with an empty
    /// body, and what it gives back is forgotten.
    fn changes(&self) -> bool;

    /// Gives the answer another form. An error answers with status 500, if it may change anything.
    fn revise(self: Box<Self>, answer: Response<Bytes>) -> Reply<'static, Response<Bytes>, CallError>;
}

impl fmt::Debug for dyn Revise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revise")
    }
}

/// One opened piece of a pipeline. All calls may run side by side.
pub trait Middleware: Send + Sync + 'static {
    /// Judges a request by its head, which it may change. An error answers with status 500.
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError>;

    /// Whether it judges a request by its body as well: then [`Middleware::judge_whole`] is asked in place of
    /// [`Middleware::judge`].
    fn reads(&self) -> bool {
        false
    }

    /// Judges a request by its head and its body, both of which it may change. An error answers with status 500.
    fn judge_whole<'a>(&'a self, head: &'a mut Parts, body: &'a mut Bytes) -> Reply<'a, Verdict, CallError> {
        let _ = body;
        self.judge(head)
    }

    /// Whether [`Middleware::rewrite`] must see the body of every request that passes.
    fn rewrites(&self) -> bool {
        false
    }

    /// Gives a request another body.
    fn rewrite(&self, body: Bytes) -> Bytes {
        body
    }
}
