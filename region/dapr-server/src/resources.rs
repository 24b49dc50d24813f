//! Dapr's resource files and the resources in them.
//!
//! One idea: a document is read loosely into JSON (YAML's numbers where text is expected, unknown fields), then strictly
//! into the kinds that this program knows; other kinds are left to those who know them. Secrets in them stay
//! [`secrecy::SecretString`]. Must never open a component.

mod component;
mod configuration;
mod files;
mod http_endpoint;
mod observed;
mod resiliency;
mod subscription;

pub(crate) use component::expand;
pub use component::{Component, Reference, References, without_duplicates};
pub use configuration::{ApiRule, Configuration, Handler};
pub use files::{Declared, load_configurations, load_folders};
pub use http_endpoint::{AddressError, BaseUrl, HttpEndpoint};
#[cfg(test)]
pub use observed::OtelSettings;
pub(crate) use observed::expression;
pub use observed::{ApiLogging, MetricsRule, MetricsSettings, TracingSettings};
pub use palladium_engine_pubsub::Spec as Subscription;
pub use resiliency::ResiliencyResource;
pub use subscription::read_subscription;
pub(crate) use subscription::{Bulk, Routes, rules};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Text where YAML may have seen a number or a truth value.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

/// A list that may be `null`.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// `metadata` of every resource, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectMeta {
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    namespace: String,
    #[serde(deserialize_with = "text")]
    uid: String,
    generation: u64,
}

/// Whether a resource is meant for this App ID: no scopes = everybody.
fn in_scope(scopes: &[String], app_id: &str) -> bool {
    scopes.is_empty() || scopes.iter().any(|scope| scope == app_id)
}

/// Whether a resource of a file belongs to the namespace of this process; a process without one takes all.
fn in_namespace(own: &str, given: &str) -> bool {
    own.is_empty() || given.is_empty() || own == given
}
