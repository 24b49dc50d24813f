//! The resource Resiliency, as it is written.
//!
//! One idea: read whole or not at all, so that half of a resource is never in force. Must never refuse a field that it does
//! not know.

use std::collections::BTreeMap;
use std::time::Duration;

use palladium_component::metadata::parse_duration;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;

use crate::breaker::{Template, Trip};
use crate::codes::Matching;
use crate::retry::{Pauses, Retry};

/// A resource that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ResourceError(pub(crate) String);

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    pub(crate) policies: Policies,
    pub(crate) targets: Targets,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Policies {
    pub(crate) timeouts: BTreeMap<String, Scalar>,
    pub(crate) retries: BTreeMap<String, RetrySpec>,
    pub(crate) circuit_breakers: BTreeMap<String, BreakerSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Targets {
    pub(crate) apps: BTreeMap<String, Names>,
    pub(crate) actors: BTreeMap<String, Names>,
    pub(crate) components: BTreeMap<String, Directions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Names {
    pub(crate) timeout: String,
    pub(crate) retry: String,
    pub(crate) circuit_breaker: String,
    pub(crate) circuit_breaker_cache_size: usize,
    pub(crate) circuit_breaker_scope: String,
}

impl Names {
    /// Whether they name nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.timeout.is_empty() && self.retry.is_empty() && self.circuit_breaker.is_empty()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Directions {
    pub(crate) inbound: Names,
    pub(crate) outbound: Names,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RetrySpec {
    policy: Scalar,
    duration: Scalar,
    max_interval: Scalar,
    max_retries: Option<i64>,
    matching: MatchingSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MatchingSpec {
    http_status_codes: Scalar,
    #[serde(rename = "gRPCStatusCodes")]
    grpc_status_codes: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BreakerSpec {
    max_requests: u32,
    interval: Scalar,
    timeout: Scalar,
    trip: Scalar,
}

/// A text, or what YAML took for a number.
#[derive(Default)]
pub(crate) struct Scalar(pub(crate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        }))
    }
}

impl Scalar {
    /// A bare number counts in milliseconds; empty = `absent`.
    pub(crate) fn duration(&self, absent: Duration) -> Result<Duration, ResourceError> {
        if self.0.is_empty() {
            return Ok(absent);
        }
        parse_duration(&self.0, Duration::from_millis(1))
            .map_err(|reason| ResourceError(format!("invalid duration '{}': {reason}", self.0)))
    }
}

impl RetrySpec {
    pub(crate) fn read(&self, name: &str) -> Result<Retry, ResourceError> {
        let wrong = |reason: String| ResourceError(format!("invalid retry configuration '{name}': {reason}"));
        let pauses = match self.policy.0.as_str() {
            "" | "constant" => Pauses::Constant(self.duration.duration(Duration::from_secs(5))?),
            "exponential" => Pauses::Exponential {
                first: Duration::from_millis(500),
                longest: self.max_interval.duration(Duration::from_secs(60))?,
                within: Some(Duration::from_secs(15 * 60)),
            },
            other => return Err(wrong(format!("'{other}' is neither constant nor exponential"))),
        };
        let matching = Matching::parse(&self.matching.http_status_codes.0, &self.matching.grpc_status_codes.0);
        Ok(Retry {
            pauses,
            most: u64::try_from(self.max_retries.unwrap_or(-1)).ok(),
            matching: matching.map_err(wrong)?,
        })
    }
}

impl BreakerSpec {
    pub(crate) fn read(&self, name: &str) -> Result<Template, ResourceError> {
        let trip = Trip::parse(&self.trip.0);
        let wrong = |reason| ResourceError(format!("invalid circuit breaker configuration '{name}': {reason}"));
        let timeout = self.timeout.duration(Duration::ZERO)?;
        Ok(Template {
            most: self.max_requests.max(1),
            interval: self.interval.duration(Duration::ZERO)?,
            timeout: if timeout.is_zero() {
                Duration::from_secs(60)
            } else {
                timeout
            },
            trip: trip.map_err(wrong)?,
        })
    }
}
