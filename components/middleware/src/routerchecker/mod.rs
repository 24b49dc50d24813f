//! `middleware.http.routerchecker`: only paths that match an expression pass.
//!
//! The one idea: the expression is looked for anywhere in path and query, as in Dapr; anchors are its own business. Unlike in
//! Dapr, a path with dots matches nothing: what is routed by it is another one, and by a path that matches everything could
//! be reached. Must never take an expression that is not linear in time: the library has no other.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use regex::Regex;

use crate::path_filter::has_dots;

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.routerchecker",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: CheckerMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct CheckerMetadata {
    /// Regular expression that path and query of a request must match.
    rule: String,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = CheckerMetadata::parse(&context.properties)?;
    let rule = Regex::new(&metadata.rule)
        .map_err(|error| MetadataError::new("rule", error.to_string(), "correct the regular expression"))?;
    Ok(Arc::new(Checker(rule)))
}

struct Checker(Regex);

impl Middleware for Checker {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        let asked = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let passes = !has_dots(head.uri.path()) && self.0.is_match(asked);
        Reply::ready(Ok(if passes {
            Verdict::pass()
        } else {
            Verdict::refuse(StatusCode::BAD_REQUEST, "invalid router")
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sec_054_only_what_matches_passes() {
        let properties = [("rule", "^/v1.0/invoke/[a-z]+/method/")].into_iter().collect();
        let checker = open(OpenContext::new("c", "app", properties)).await.unwrap();
        for (path, passes) in [
            ("/v1.0/invoke/a/method/x?y=1", true),
            ("/v1.0/invoke/a/method/x?y=../z", true),
            ("/v1.0/state/s/k", false),
            ("/v1.0/invoke/a/method/../../../state/s/k", false),
            ("/v1.0/invoke/a/method/%2E%2e/%2e./.%2e/state/s/k", false),
        ] {
            let (mut head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            let verdict = checker.judge(&mut head).await.unwrap();
            assert_eq!(matches!(verdict, Verdict::Pass(_)), passes, "{path}");
        }
        let bad = [("rule", "(")].into_iter().collect();
        assert!(open(OpenContext::new("c", "app", bad)).await.is_err());
    }
}
