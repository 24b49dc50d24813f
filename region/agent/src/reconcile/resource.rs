//! Subscriptions, configurations, resiliency policies and HTTP endpoints: their secrets, and what Dapr Servers say of them.
//!
//! One idea: these are only handed out; nothing in the region is made or destroyed for them, so one reconciler is enough
//! for all. Must never call one ready whose secret is missing.

use std::sync::Arc;

use palladium_kinds::{configuration, http_endpoint, resiliency, subscription};
use serde_json::Value;

use super::loads::{Silence, loads};
use super::{say, secrets_here, take_in_secrets};
use crate::Error;
use crate::desired::{Admitted, Content};
use crate::region::Region;
use crate::run::blocking;
use crate::supervisor::Supervisor;

/// The kinds, and how the audit log calls their end.
const KINDS: &[(&str, &str)] = &[
    (subscription::KIND.kind, "subscription.delete"),
    (configuration::KIND.kind, "configuration.delete"),
    (resiliency::KIND.kind, "resiliency.delete"),
    (http_endpoint::KIND.kind, "httpEndpoint.delete"),
];

pub(super) fn reconciler(region: Arc<Region>, _: Supervisor) -> super::Look {
    Box::new(move || {
        let region = region.clone();
        Box::pin(async move { blocking(move || run(&region)).await.map(|()| None) })
    })
}

fn run(region: &Region) -> Result<(), Error> {
    let ours = |object: &&Arc<Admitted>| match object.content {
        Content::Project(_) | Content::App(_) | Content::Component(_) => false,
        Content::Subscription(_) | Content::Configuration(_) | Content::Resiliency(_) | Content::HttpEndpoint(_) => {
            true
        }
    };
    let objects: Vec<_> = region.desired().admitted().filter(ours).cloned().collect();
    for object in objects {
        let had = secrets_here(region, &object);
        let (said, details) = match take_in_secrets(region, &object) {
            Err(error) => (error, Value::Null),
            Ok(()) => loads(region, &object, Silence::IsFine),
        };
        if had != secrets_here(region, &object) {
            // Dapr Servers can be given it now.
            region.versions.bump();
        }
        say(region, &object, said, &details);
    }
    for (kind, action) in KINDS {
        for gone in region.tombstones.of_kind(kind) {
            region.secrets.forget(&gone.uid)?;
            region.tombstones.remove(&gone.uid)?;
            region.audit_event("region", action, &gone.uid, "done");
            region.say_deleted(&gone.uid, gone.generation);
            region.versions.bump();
        }
    }
    Ok(())
}
