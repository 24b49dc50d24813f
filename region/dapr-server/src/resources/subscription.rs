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
    #[serde(default)]
    route: Option<String>,
    #[serde(default)]
    routes: Option<Routes>,
    #[serde(default, deserialize_with = "text")]
    dead_letter_topic: String,
    #[serde(default)]
    bulk_subscribe: Option<Bulk>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Bulk {
    enabled: bool,
    max_messages_count: i64,
    max_await_duration_ms: i64,
}

#[derive(Deserialize)]
struct Routes {
    #[serde(default, deserialize_with = "list")]
    rules: Vec<Rule>,
    #[serde(default)]
    default: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default, rename = "match")]
    condition: String,
    path: String,
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
    let mut rules = Vec::new();
    let mut default = spec.route;
    if let Some(routes) = spec.routes {
        rules.extend(routes.rules.into_iter().map(|rule| (rule.condition, rule.path)));
        default = routes.default.or(default);
    }
    rules.extend(
        default
            .filter(|path| !path.is_empty())
            .map(|path| (String::new(), path)),
    );
    let bulk = spec.bulk_subscribe.filter(|bulk| bulk.enabled);
    Ok(Some(Subscription {
        pubsub: spec.pubsubname,
        topic: spec.topic,
        metadata: spec.metadata.unwrap_or_default(),
        rules,
        dead_letter_topic: spec.dead_letter_topic,
        bulk: bulk.map(|bulk| Batching {
            max_messages: usize::try_from(bulk.max_messages_count).unwrap_or_default(),
            max_await_ms: u64::try_from(bulk.max_await_duration_ms).unwrap_or_default(),
        }),
    }))
}
