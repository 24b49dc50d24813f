//! A declared Subscription, both versions of the kind.
//!
//! One idea: both versions end in the same ordered rules, the default last, as an empty condition. Must never judge a
//! path or look for the component: it only reads what was declared for this App ID.

use std::collections::BTreeMap;

use palladium_engine_pubsub::{Batching, Spec as Subscription};
use serde::Deserialize;
use serde_json::Value;

use super::{ObjectMeta, in_namespace, in_scope, list, text};

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Written,
    #[serde(default, deserialize_with = "list")]
    scopes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(deserialize_with = "text")]
    pubsubname: String,
    #[serde(deserialize_with = "text")]
    topic: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "text")]
    route: String,
    #[serde(default)]
    routes: Option<Routes>,
    #[serde(default, deserialize_with = "text")]
    dead_letter_topic: String,
    #[serde(default)]
    bulk_subscribe: Option<Bulk>,
}

/// How messages are to be gathered, as resources and applications write it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Bulk {
    pub(crate) enabled: bool,
    pub(crate) max_messages_count: i64,
    pub(crate) max_await_duration_ms: i64,
}

impl Bulk {
    /// The same for the engine; numbers below zero count as not given.
    pub(crate) fn batching(self) -> Option<Batching> {
        self.enabled.then(|| Batching {
            max_messages: usize::try_from(self.max_messages_count).unwrap_or_default(),
            max_await_ms: u64::try_from(self.max_await_duration_ms).unwrap_or_default(),
        })
    }
}

/// Where events go, as resources and applications write it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Routes {
    #[serde(deserialize_with = "list")]
    rules: Vec<Rule>,
    #[serde(deserialize_with = "text")]
    default: String,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default, rename = "match")]
    condition: String,
    #[serde(default)]
    path: String,
}

/// Condition and path, the default last; `route` is how the older form says it.
pub(crate) fn rules(routes: Option<Routes>, route: String) -> Vec<(String, String)> {
    let routes = routes.unwrap_or_default();
    let mut rules: Vec<_> = routes
        .rules
        .into_iter()
        .map(|rule| (rule.condition, rule.path))
        .collect();
    let default = [routes.default, route].into_iter().find(|path| !path.is_empty());
    rules.extend(default.map(|path| (String::new(), path)));
    rules
}

/// Reads one document of kind Subscription; `None` when it is not meant for this App ID.
///
/// # Errors
/// The message names the field.
pub fn read_subscription(document: Value, app_id: &str, namespace: &str) -> Result<Option<Subscription>, String> {
    let Manifest { metadata, spec, scopes } =
        serde_json::from_value(document).map_err(|error| format!("Subscription: {error}"))?;
    if !in_namespace(namespace, &metadata.namespace) || !in_scope(&scopes, app_id) {
        return Ok(None);
    }
    Ok(Some(Subscription {
        pubsub: spec.pubsubname,
        topic: spec.topic,
        metadata: spec.metadata.unwrap_or_default(),
        rules: rules(spec.routes, spec.route),
        dead_letter_topic: spec.dead_letter_topic,
        bulk: spec.bulk_subscribe.and_then(Bulk::batching),
    }))
}
