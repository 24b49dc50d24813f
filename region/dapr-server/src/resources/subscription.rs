//! A declared Subscription, both versions of the kind.
//!
//! One idea: both versions end in the same ordered rules, the default last, as an empty condition. Must never judge a
//! path or look for the component: it only reads what was declared for this App ID.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ObjectMeta, in_namespace, in_scope, list, text};

/// What an application wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Name of the pub/sub component.
    pub pubsub: String,
    /// Topic.
    pub topic: String,
    /// Metadata for the component.
    pub metadata: BTreeMap<String, String>,
    /// Condition and path, first match wins; an empty condition always matches.
    pub rules: Vec<(String, String)>,
    /// Where undeliverable events go.
    pub dead_letter_topic: String,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default, deserialize_with = "list")]
    scopes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
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
    #[serde(rename = "match")]
    condition: String,
    path: String,
}

impl Subscription {
    /// Reads one document of kind Subscription; `None` when it is not meant for this App ID.
    ///
    /// # Errors
    /// The message names the field.
    pub fn read(document: Value, app_id: &str, namespace: &str) -> Result<Option<Self>, String> {
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
        Ok(Some(Self {
            pubsub: spec.pubsubname,
            topic: spec.topic,
            metadata: spec.metadata.unwrap_or_default(),
            rules,
            dead_letter_topic: spec.dead_letter_topic,
        }))
    }
}
