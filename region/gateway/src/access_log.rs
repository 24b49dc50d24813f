//! What is remembered of a request: one record from its first phase to its last byte, then metrics and perhaps a line.
//!
//! One idea: a record reports itself when it is dropped, so that no way out of the phases is forgotten. Must never tell
//! what could be secret: no header, no query, no body; a path is cut, and blanked if something in it looks like a token.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, Uri};
use palladium_launch::app_token;

use crate::body::grpc_status;
use crate::config::AccessLog;
use crate::failure::Kind;
use crate::table::Route;
use crate::worker::Worker;

const LONGEST_PATH: usize = 256;

/// A request and what became of it.
pub(crate) struct Record {
    worker: Arc<Worker>,
    started: Instant,
    method: Method,
    target: Uri,
    pub(crate) grpc: bool,
    pub(crate) http2: bool,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) status: u16,
    pub(crate) bytes_out: u64,
    grpc_status: Option<u16>,
    failure: Option<(Kind, &'static str)>,
    completed: bool,
}

impl Record {
    pub(crate) fn new(worker: Arc<Worker>, method: Method, target: Uri) -> Self {
        Self {
            worker,
            started: Instant::now(),
            method,
            target,
            grpc: false,
            http2: false,
            route: None,
            status: 0,
            bytes_out: 0,
            grpc_status: None,
            failure: None,
            completed: false,
        }
    }

    /// The gateway answered by itself, or ended the answer.
    pub(crate) fn failed(&mut self, kind: Kind, reason: &'static str) {
        self.failure = Some((kind, reason));
        self.completed = true;
    }

    /// The whole answer went out.
    pub(crate) fn complete(&mut self) {
        self.completed = true;
    }

    pub(crate) fn grpc_status(&mut self, headers: &HeaderMap) {
        if self.grpc {
            self.grpc_status = grpc_status(headers).or(self.grpc_status);
        }
    }

    fn log(&self) {
        let known = self.route.is_some();
        let rationed = match self.worker.shared.access_log {
            AccessLog::Off => return,
            AccessLog::All => !known,
            AccessLog::Failures if self.failure.is_some() || self.status >= 500 || !self.completed => true,
            AccessLog::Failures => return,
        };
        let budget = &self.worker.log_budgets[usize::from(known)];
        let Some(suppressed) = (if rationed { budget.take() } else { Some(0) }) else {
            return;
        };
        let (kind, reason) = self.failure.map_or(("", ""), |(kind, reason)| (kind.label(), reason));
        let (project, app_id) = self
            .route
            .as_ref()
            .map_or(("", ""), |route| (&*route.project_id, &*route.app_id));
        tracing::info!(
            target: "palladium_gateway::access",
            project,
            app_id,
            method = method(&self.method),
            path = path(self.target.path()),
            http2 = self.http2,
            status = self.status,
            grpc_status = self.grpc_status,
            refused = kind,
            reason,
            complete = self.completed,
            bytes = self.bytes_out,
            micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            suppressed,
            "request"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let metrics = &self.worker.shared.metrics;
        match (&self.route, self.failure) {
            (Some(route), _) => route.counters.count(self.status, self.completed),
            (None, Some((kind, _))) => metrics.refused(kind),
            (None, None) => {}
        }
        if self.route.is_some() {
            metrics.took(self.started.elapsed());
        }
        self.log();
    }
}

/// An extension method could be any text.
fn method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "TRACE" | "CONNECT") => known,
        _ => "other",
    }
}

fn path(path: &str) -> &str {
    if memchr::memmem::find(path.as_bytes(), app_token::PREFIX.as_bytes()).is_some() {
        return "[a path with a token in it]";
    }
    let mut end = path.len().min(LONGEST_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}
