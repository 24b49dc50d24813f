//! `middleware.http.routerchecker`: only paths that match an expression pass.
//!
//! The one idea: the expression is looked for anywhere in path and query, as in Dapr; anchors are its own business. Must
//! never take an expression that is not linear in time: the library has no other.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use regex::Regex;

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
        Reply::ready(Ok(if self.0.is_match(asked) {
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
    async fn only_what_matches_passes() {
        let properties = [("rule", "^/v1.0/invoke/[a-z]+/method/")].into_iter().collect();
        let checker = open(OpenContext::new("c", "app", properties)).await.unwrap();
        for (path, passes) in [("/v1.0/invoke/a/method/x?y=1", true), ("/v1.0/state/s/k", false)] {
            let (mut head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            let verdict = checker.judge(&mut head).await.unwrap();
            assert_eq!(matches!(verdict, Verdict::Pass(_)), passes, "{path}");
        }
        let bad = [("rule", "(")].into_iter().collect();
        assert!(open(OpenContext::new("c", "app", bad)).await.is_err());
    }
}
