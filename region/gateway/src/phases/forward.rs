//! Fourth phase: the request leaves for its Dapr Server, once.
//!
//! One idea: a request is sent again only if not a byte of it was sent. While no connection can be had (a Dapr Server
//! restarts) it is held, within a bound of time and number, and looks at the newest table before each attempt.
//! Must never change what the application said beyond `headers`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use palladium_http::Upload;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Exchange, authenticate};
use crate::body::{Fate, RequestBody};
use crate::failure::{Failure, Kind};
use crate::headers;
use crate::table::Grant;
use crate::upstream::{Lease, Sent};
use crate::worker::Worker;

/// The head of a Dapr Server's answer, and what the rest of it needs.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) request: Arc<Fate>,
    pub(super) grant: Arc<Grant>,
}

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn forward(
    exchange: &Exchange,
    request: Request<Upload>,
    mut grant: Arc<Grant>,
) -> Result<Answer, Failure> {
    let limits = &exchange.worker.shared.limits;
    let (mut head, body) = request.into_parts();
    headers::clean_request(&mut head.headers, exchange.http2);
    let target = if exchange.http2 {
        absolute(head.uri, &exchange.host)
    } else {
        head.version = Version::HTTP_11;
        origin(head.uri)
    };
    head.uri = target.ok_or(Kind::BadRequest.because("a target that cannot be passed on"))?;
    let stall = Duration::from_millis(limits.stall_ms);
    let (body, fate) = RequestBody::new(body, exchange.grpc, grant.route.max_body, stall);
    let mut request = Request::from_parts(head, body);
    let until = Instant::now() + Duration::from_millis(limits.hold_ms);
    let mut hold: Option<Hold<'_>> = None;
    loop {
        if let Some(mut lease) = lease(exchange, &grant, until).await {
            match send(exchange, &grant, &mut lease, request).await? {
                Sent::Answer(response) => {
                    return Ok(Answer {
                        response,
                        lease,
                        request: fate,
                        grant,
                    });
                }
                Sent::Lost => return Err(lost(&fate)),
                Sent::Returned(back) => request = *back,
            }
        }
        match &mut hold {
            Some(hold) => hold.pause().await?,
            none => none.insert(Hold::begin(&exchange.worker, until)?).pause().await?,
        }
        grant = authenticate::grant(&exchange.worker, &exchange.digest)?;
    }
}

/// A connection to the route's Dapr Server, if it is there.
async fn lease(exchange: &Exchange, grant: &Grant, deadline: Instant) -> Option<Lease> {
    let upstream = grant.route.upstream.as_ref().filter(|_| grant.route.ready)?;
    let pools = &exchange.worker.pools;
    {
        let table = exchange.worker.shared.table.load();
        pools.tidy(table.version, || table.upstreams());
    }
    timeout_at(deadline, pools.of(upstream).lease(upstream, exchange.http2))
        .await
        .ok()?
        .ok()
}

/// gRPC brings its own deadlines, and a stream's answer may begin late: it ends with its token. HTTP has our deadline.
async fn send(
    exchange: &Exchange,
    grant: &Grant,
    lease: &mut Lease,
    request: Request<RequestBody>,
) -> Result<Sent, Failure> {
    if exchange.grpc {
        return tokio::select! {
            biased;
            sent = lease.send(request) => Ok(sent),
            () = grant.life.cancelled() => Err(Kind::Unauthenticated.because("the token was revoked")),
        };
    }
    let patience = Duration::from_millis(exchange.worker.shared.limits.response_ms);
    timeout(patience, lease.send(request))
        .await
        .map_err(|_| Kind::NoAnswer.because("no answer in time"))
}

/// A request that broke off on the way: the body's fault if it has one.
fn lost(fate: &Fate) -> Failure {
    let kind = fate.failure().unwrap_or(Kind::Unavailable);
    kind.because(if kind == Kind::Unavailable {
        "connection lost after the request was sent"
    } else {
        "request body"
    })
}

/// A request that waits.
struct Hold<'w> {
    worker: &'w Worker,
    until: Instant,
    next: Duration,
}

impl<'w> Hold<'w> {
    fn begin(worker: &'w Worker, until: Instant) -> Result<Self, Failure> {
        if worker.held.fetch_add(1, Ordering::Relaxed) >= worker.shared.limits.held {
            worker.held.fetch_sub(1, Ordering::Relaxed);
            return Err(Kind::Unavailable.because("too many requests wait already"));
        }
        worker.shared.metrics.held.inc();
        Ok(Self {
            worker,
            until,
            next: Duration::ZERO,
        })
    }

    /// Waits a little, or until the table changes. The first time not at all: a connection may just have been stale.
    async fn pause(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if now >= self.until {
            return Err(Kind::Unavailable.because("no Dapr Server took the request in time"));
        }
        if !self.next.is_zero() {
            let mut changed = self.worker.shared.changed.subscribe();
            // Whichever comes first; the table is looked at in both cases.
            let _ = timeout_at(self.until.min(now + self.next), changed.changed()).await;
        }
        self.next = (self.next * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        Ok(())
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.worker.held.fetch_sub(1, Ordering::Relaxed);
        self.worker.shared.metrics.held.dec();
    }
}

/// HTTP/2 wants scheme and authority; a request that had only a `Host` gets them from it.
fn absolute(target: Uri, host: &str) -> Option<Uri> {
    let mut parts = target.into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    if parts.authority.is_none() {
        // An IPv6 address lost its brackets on the way to `host`.
        let authority = if host.contains(':') {
            format!("[{host}]").parse()
        } else {
            host.parse()
        };
        parts.authority = Some(authority.ok()?);
    }
    from_parts(parts)
}

/// HTTP/1.1 to an origin server carries path and query only; the host is in its header.
fn origin(target: Uri) -> Option<Uri> {
    if target.authority().is_none() {
        return Some(target);
    }
    let mut parts = target.into_parts();
    (parts.scheme, parts.authority) = (None, None);
    from_parts(parts)
}

fn from_parts(mut parts: http::uri::Parts) -> Option<Uri> {
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_an_authority_gets_one_or_is_refused() {
        let path = || Uri::from_static("/v1.0/x?y");
        for (host, expected) in [
            ("a.test", Some("https://a.test/v1.0/x?y")),
            ("::1", Some("https://[::1]/v1.0/x?y")),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(
                absolute(path(), host).map(|uri| uri.to_string()).as_deref(),
                expected,
                "{host:?}"
            );
        }
        let full = Uri::from_static("https://b.test");
        assert_eq!(
            absolute(full.clone(), "a.test"),
            Some(Uri::from_static("https://b.test/"))
        );
        assert_eq!(origin(full), Some(Uri::from_static("/")));
        assert_eq!(origin(path()), Some(path()));
    }
}
