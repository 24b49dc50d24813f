//! The parts of a Configuration that this program acts on. Others are accepted and left alone, as Dapr's own files hold
//! settings of every building block.
//!
//! One idea: documents are laid over each other, and only what a later one says replaces an earlier word. Must never
//! refuse a file for a setting that it does not know, nor act on one: settings are only read here.

use palladium_engine_secrets::{Scope, Scopes};
use serde::Deserialize;
use serde_json::Value;

use super::list;
use super::observed::{ApiLogging, MetricSpec, MetricsSettings, TracingSettings, TracingSpec};
use crate::invoke::access::AccessControlSpec;

/// Settings of one Dapr Server.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Features that are switched on.
    pub features: Vec<String>,
    /// What is counted, and how.
    pub metrics: MetricsSettings,
    /// Whether and where to calls are traced.
    pub tracing: TracingSettings,
    /// What is logged of calls.
    pub api_logging: ApiLogging,
    /// Rules that allow APIs.
    pub allowed: Vec<ApiRule>,
    /// Rules that deny APIs.
    pub denied: Vec<ApiRule>,
    /// Which secrets the application may read.
    pub secrets: Scopes,
    /// What stands before the API.
    pub http_pipeline: Vec<Handler>,
    /// What stands before the application.
    pub app_http_pipeline: Vec<Handler>,
    /// Who may call this application.
    pub access: AccessControlSpec,
    /// Component types that may not be loaded, as `type` or `type/version`.
    pub denied_components: Vec<String>,
    /// Whether resource folders are read once only.
    pub without_hot_reload: bool,
}

/// A rule of `spec.api`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ApiRule {
    /// Group, such as `state`.
    pub name: String,
    /// Version, such as `v1`; empty = all.
    pub version: String,
    /// `http` or `grpc`; empty = both.
    pub protocol: String,
}

/// A piece of a pipeline, by the component that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Handler {
    /// The component's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pipeline {
    #[serde(deserialize_with = "list")]
    handlers: Vec<Handler>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Secrets {
    #[serde(deserialize_with = "list")]
    scopes: Vec<SecretScope>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretScope {
    store_name: String,
    default_access: String,
    #[serde(deserialize_with = "list")]
    allowed_secrets: Vec<String>,
    #[serde(deserialize_with = "list")]
    denied_secrets: Vec<String>,
}

impl SecretScope {
    fn read(self) -> Result<Scope, String> {
        let denies_by_default = match self.default_access.to_ascii_lowercase().as_str() {
            "" | "allow" => false,
            "deny" => true,
            _ => return Err("Configuration: spec.secrets: defaultAccess can be either allow or deny".to_owned()),
        };
        Ok(Scope {
            store: self.store_name,
            denies_by_default,
            allowed: self.allowed_secrets,
            denied: self.denied_secrets,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    secrets: Option<Secrets>,
    http_pipeline: Option<Pipeline>,
    app_http_pipeline: Option<Pipeline>,
    features: Option<Vec<Feature>>,
    metric: Option<MetricSpec>,
    metrics: Option<MetricSpec>,
    tracing: Option<TracingSpec>,
    logging: Logging,
    api: Option<Api>,
    components: Option<Denied>,
    access_control: Option<AccessControlSpec>,
}

#[derive(Deserialize)]
struct Feature {
    name: String,
    #[serde(default)]
    enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Logging {
    api_logging: Option<ApiLogging>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Api {
    #[serde(deserialize_with = "list")]
    allowed: Vec<ApiRule>,
    #[serde(deserialize_with = "list")]
    denied: Vec<ApiRule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Denied {
    #[serde(deserialize_with = "list")]
    deny: Vec<String>,
}

impl Configuration {
    /// Lays one document over this configuration: what it says replaces what was said before.
    ///
    /// # Errors
    /// The message names the field.
    pub fn overlay(&mut self, document: Value) -> Result<(), String> {
        let Manifest { spec } = serde_json::from_value(document).map_err(|error| format!("Configuration: {error}"))?;
        if let Some(features) = spec.features {
            let hot_reload = features.iter().rfind(|one| one.name == "HotReload");
            self.without_hot_reload = hot_reload.is_some_and(|one| !one.enabled);
            self.features = features
                .into_iter()
                .filter(|one| one.enabled)
                .map(|one| one.name)
                .collect();
        }
        for metric in [spec.metric, spec.metrics].into_iter().flatten() {
            self.metrics.overlay(metric)?;
        }
        if let Some(tracing) = spec.tracing {
            self.tracing.overlay(tracing)?;
        }
        if let Some(logging) = spec.logging.api_logging {
            self.api_logging = logging;
        }
        if let Some(api) = spec.api {
            self.allowed = api.allowed;
            self.denied = api.denied;
        }
        if let Some(secrets) = spec.secrets {
            let scopes: Result<Vec<Scope>, String> = secrets.scopes.into_iter().map(SecretScope::read).collect();
            self.secrets = Scopes::new(scopes?)
                .map_err(|store| format!("Configuration: {store} storeName is repeated in secrets configuration"))?;
        }
        if let Some(pipeline) = spec.http_pipeline {
            self.http_pipeline = pipeline.handlers;
        }
        if let Some(pipeline) = spec.app_http_pipeline {
            self.app_http_pipeline = pipeline.handlers;
        }
        if let Some(components) = spec.components {
            self.denied_components = components.deny;
        }
        if let Some(access) = spec.access_control {
            self.access = access;
        }
        Ok(())
    }

    /// Whether components of a type may not be loaded.
    pub fn denies_component(&self, kind: &str, version: &str) -> bool {
        self.denied_components.iter().any(|denied| {
            denied.eq_ignore_ascii_case(kind)
                || denied
                    .split_once('/')
                    .is_some_and(|(k, v)| k.eq_ignore_ascii_case(kind) && v.eq_ignore_ascii_case(version))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn later_files_replace_what_they_name() {
        let mut configuration = Configuration::default();
        for spec in [
            json!({ "features": [{ "name": "Feature1", "enabled": true }], "metrics": { "recordErrorCodes": true },
                    "metric": { "enabled": false } }),
            json!({ "features": [{ "name": "Feature2", "enabled": true }], "tracing": { "samplingRate": "1" } }),
        ] {
            configuration.overlay(json!({ "spec": spec })).expect("well formed");
        }
        assert_eq!(configuration.features, ["Feature2"]);
        assert!(configuration.metrics.record_error_codes);
        assert_eq!(configuration.metrics.enabled, Some(false));
        assert_eq!(configuration.tracing.sampling_rate, "1");
    }
}
