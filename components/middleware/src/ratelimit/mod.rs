//! `middleware.http.ratelimit`: so many requests in a second for each path.
//!
//! The one idea: a bucket for each path, filled steadily and as large as one second's share; a caller says nothing about
//! itself that counts, so nobody gets a bucket of its own by inventing an address. Must never hold more buckets than its
//! bound, nor wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};

use crate::path_filter::plain;

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.ratelimit",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: LimitMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const MOST_BUCKETS: usize = 4096;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct LimitMetadata {
    /// Requests that pass in a second for each path; may be a fraction.
    #[metadata(default = "100")]
    max_requests_per_second: String,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = LimitMetadata::parse(&context.properties)?;
    let text = metadata.max_requests_per_second.trim();
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    let rate = rate.ok_or_else(|| {
        MetadataError::new(
            "maxRequestsPerSecond",
            "a positive number is expected",
            "correct the value",
        )
    })?;
    Ok(Arc::new(Limit {
        rate,
        buckets: Mutex::default(),
    }))
}

struct Limit {
    /// Tokens in a second.
    rate: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limit {
    fn burst(&self) -> f64 {
        self.rate.floor().max(1.0)
    }

    /// Takes a token, if there is one.
    fn take(&self, path: &str, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |bucket: &Bucket| {
            let grown = now.saturating_duration_since(bucket.filled).as_secs_f64() * self.rate;
            (bucket.tokens + grown).min(self.burst())
        };
        if buckets.len() >= MOST_BUCKETS && !buckets.contains_key(path) {
            // A full bucket is no different from none.
            buckets.retain(|_, bucket| level(bucket) < self.burst());
            if buckets.len() >= MOST_BUCKETS {
                return false;
            }
        }
        let tokens = buckets.get(path).map_or(self.burst(), level);
        let passes = tokens >= 1.0;
        let tokens = if passes { tokens - 1.0 } else { tokens };
        buckets.insert(path.to_owned(), Bucket { tokens, filled: now });
        passes
    }
}

impl Middleware for Limit {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        let mut headers = HeaderMap::new();
        if let Ok(limit) = HeaderValue::try_from(format!("{:.2}", self.rate)) {
            headers.insert("x-rate-limit-limit", limit);
        }
        headers.insert("x-rate-limit-duration", HeaderValue::from_static("1"));
        // Each spelling would have a rate of its own.
        if self.take(&plain(head.uri.path()), Instant::now()) {
            return Reply::ready(Ok(Verdict::Pass(headers)));
        }
        let mut refusal = Verdict::refuse(StatusCode::TOO_MANY_REQUESTS, "You have reached maximum request limit.");
        if let Verdict::Answer(answer) = &mut refusal {
            answer.headers_mut().extend(headers);
        }
        Reply::ready(Ok(refusal))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn limit(rate: f64) -> Limit {
        Limit {
            rate,
            buckets: Mutex::default(),
        }
    }

    #[test]
    fn a_second_fills_it_again() {
        let (limit, start) = (limit(2.0), Instant::now());
        let at = |path: &str, millis| limit.take(path, start + Duration::from_millis(millis));
        assert_eq!([at("/a", 0), at("/a", 0), at("/a", 0)], [true, true, false]);
        assert!(at("/b", 0), "another path");
        assert!(at("/a", 600) && !at("/a", 700));
    }

    #[tokio::test]
    async fn a_path_has_one_rate_however_it_is_spelled() {
        let limit = limit(0.001);
        for (path, status) in [("/a/b", 200), ("//a/%62/", 429), ("/a/./b", 429), ("/a", 200)] {
            let (mut head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            let verdict = match limit.judge(&mut head).await.unwrap() {
                Verdict::Answer(answer) => answer.status().as_u16(),
                _ => 200,
            };
            assert_eq!(verdict, status, "{path}");
        }
    }

    #[test]
    fn buckets_are_bounded() {
        let (limit, start) = (limit(1.0), Instant::now());
        assert!((0..MOST_BUCKETS).all(|number| limit.take(&format!("/{number}"), start)));
        assert!(!limit.take("/more", start));
        assert!(
            limit.take("/more", start + Duration::from_secs(2)),
            "full ones make room"
        );
    }

    proptest! {
        /// However the requests come, no more pass than the burst and what grows meanwhile.
        #[test]
        fn never_more_than_the_rate(rate in 0.1f64..50.0, gaps in prop::collection::vec(0u64..500, 1..200)) {
            let (limit, start) = (limit(rate), Instant::now());
            let (mut at, mut passed) = (0, 0u32);
            for gap in gaps {
                at += gap;
                passed += u32::from(limit.take("/", start + Duration::from_millis(at)));
            }
            let most = rate.floor().max(1.0) + rate * at as f64 / 1000.0;
            prop_assert!(f64::from(passed) <= most + 1e-6, "{} of {}", passed, most);
        }
    }
}
