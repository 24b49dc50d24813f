//! The flags that `appid create` and `appid update` share, and the spec that they make.
//!
//! One idea: one set of flags, and an absent one is absent from the spec too: `create` leaves it to the defaults,
//! `update` as it is. Must never send a field that was not given.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::input::{self, Pair};

#[derive(Debug, Args)]
pub struct SpecFlags {
    /// URL of the application, for calls to it; without one the App ID only calls out
    #[arg(long, value_name = "URL")]
    app_endpoint: Option<String>,
    /// Token that the application wants to see; - reads standard input, or asks
    #[arg(long, value_name = "TOKEN")]
    app_token: Option<String>,
    /// How the application is spoken to: http or grpc
    #[arg(long)]
    app_protocol: Option<String>,
    /// Name of the Configuration that is in force for it
    #[arg(long)]
    app_config: Option<String>,
    /// Probe the application
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    enable_app_health_check: Option<bool>,
    /// Path of the probe
    #[arg(long)]
    app_health_check_path: Option<String>,
    /// Seconds between probes
    #[arg(long)]
    app_health_probe_interval: Option<u32>,
    /// Deadline of a probe, milliseconds
    #[arg(long)]
    app_health_probe_timeout: Option<u32>,
    /// Failures in a row before the application counts as down
    #[arg(long)]
    app_health_threshold: Option<u32>,
    /// Deadline of a call to the application, seconds
    #[arg(long)]
    app_channel_timeout_seconds: Option<u32>,
    /// Largest request body, such as 8Mi
    #[arg(long)]
    max_body_size: Option<String>,
    /// Label (repeatable)
    #[arg(long = "label", value_name = "K=V")]
    labels: Vec<Pair>,
    /// Annotation (repeatable)
    #[arg(long = "annotation", value_name = "K=V")]
    annotations: Vec<Pair>,
}

impl SpecFlags {
    /// Only what was given: for a create the rest is defaulted, for an update it stays.
    pub fn spec(&self) -> Result<Value, Error> {
        let token = self
            .app_token
            .as_deref()
            .map(|token| input::value_or_stdin("--app-token", "token of the application", token))
            .transpose()?;
        let endpoint = given([
            ("url", self.app_endpoint.clone().map(Value::from)),
            ("token", token.map(Value::from)),
            (
                "clientTimeoutSeconds",
                self.app_channel_timeout_seconds.map(Value::from),
            ),
        ]);
        let probe = given([
            ("enabled", self.enable_app_health_check.map(Value::from)),
            ("intervalInSec", self.app_health_probe_interval.map(Value::from)),
            ("timeoutInMs", self.app_health_probe_timeout.map(Value::from)),
            ("failureThreshold", self.app_health_threshold.map(Value::from)),
        ]);
        let health_check = given([
            ("path", self.app_health_check_path.clone().map(Value::from)),
            ("probe", probe),
        ]);
        Ok(given([
            ("appEndpoint", endpoint),
            ("protocol", self.app_protocol.clone().map(Value::from)),
            ("appConfig", self.app_config.clone().map(Value::from)),
            ("healthCheck", health_check),
            ("maxBodySize", self.max_body_size.clone().map(Value::from)),
        ])
        .unwrap_or_else(|| json!({})))
    }

    /// Labels and annotations, where any were given.
    pub fn metadata(&self) -> Value {
        let pairs = |pairs: &[Pair]| (!pairs.is_empty()).then(|| input::string_map(pairs));
        given([
            ("labels", pairs(&self.labels)),
            ("annotations", pairs(&self.annotations)),
        ])
        .unwrap_or_else(|| json!({}))
    }
}

/// An object of the fields that have a value; `None` when none has.
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Option<Value> {
    let map: Map<_, _> = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    (!map.is_empty()).then(|| map.into())
}
