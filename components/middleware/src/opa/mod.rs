//! `middleware.http.opa`: a policy in Rego decides which requests pass.
//!
//! The one idea: the policy is read and looked through once, when the component is opened ([`policy`]); each request is an
//! input document ([`input`]), and what `data.http.allow` is for it becomes a verdict ([`outcome`]). Whatever goes wrong
//! means no, as in Dapr; so does a path that does not say what will be done. Must never let a policy take a thread of the
//! server, nor a header into its input that was not asked for, nor a request into the log.

mod calls;
mod input;
mod outcome;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use palladium_component::metadata::is_truthy;
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_telemetry::SharedRation;

use input::{Included, Shown};
use policy::Policy;

use crate::path_filter::has_dots;

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.opa",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    // Its time is bounded only between the steps of a policy: one step of a tenant's could keep a processor busy.
    hosted: Hosted::Refused,
    fields: PolicyMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct PolicyMetadata {
    /// The policy: a Rego module of the package 'http' with a rule 'allow'. Version 0 of the language; 'import rego.v1' brings the other.
    rego: String,
    /// Status of a request that the policy does not allow, unless it says another.
    #[metadata(default = "403")]
    default_status: u16,
    /// Headers that the policy is shown, separated by commas.
    included_headers: Option<String>,
    /// Whether the policy is shown the body.
    read_body: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = PolicyMetadata::parse(&context.properties)?;
    let status = StatusCode::from_u16(metadata.default_status).ok();
    let status = status.filter(|status| (100..600).contains(&status.as_u16()));
    let refused = status.ok_or_else(|| {
        MetadataError::new(
            "defaultStatus",
            "a status from 100 to 599 is expected",
            "correct the value",
        )
    })?;
    Ok(Arc::new(Opa {
        policy: Policy::read(metadata.rego).await?,
        refused,
        included: Included::new(metadata.included_headers.as_deref().unwrap_or_default()),
        reads: metadata.read_body.as_deref().is_some_and(is_truthy),
    }))
}

/// Callers cause this line, so it is a line a minute.
static UNDECIDED: SharedRation = SharedRation::new(Duration::from_secs(60));

struct Opa {
    policy: Policy,
    refused: StatusCode,
    included: Included,
    reads: bool,
}

impl Opa {
    async fn decide(&self, head: &mut Parts, body: Bytes) -> Verdict {
        let allow = if has_dots(head.uri.path()) {
            Err("the path has dots, which can be read in more than one way".to_owned())
        } else {
            let shown = Shown::new(head, body, &self.included);
            self.policy.allow(move || shown.document()).await
        };
        let verdict = allow.and_then(|allow| outcome::verdict(&allow, head, self.refused));
        verdict.unwrap_or_else(|reason| {
            // Nothing of the request stands in it.
            match UNDECIDED.tell() {
                Some(untold) => {
                    tracing::warn!(reason, untold, "a policy could not decide; the request does not pass");
                }
                None => tracing::debug!(reason, "a policy could not decide; the request does not pass"),
            }
            outcome::failed(self.refused)
        })
    }
}

impl Middleware for Opa {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        Reply::wait(async move { Ok(self.decide(head, Bytes::new()).await) })
    }

    fn reads(&self) -> bool {
        self.reads
    }

    fn judge_whole<'a>(&'a self, head: &'a mut Parts, body: &'a mut Bytes) -> Reply<'a, Verdict, CallError> {
        Reply::wait(async move { Ok(self.decide(head, body.clone()).await) })
    }
}

#[cfg(test)]
mod tests;
