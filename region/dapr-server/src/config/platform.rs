//! The configuration file of platform mode.
//!
//! One idea: it is what the agent writes ([`DaprServerConfig`]) and, under `bounds`, what one process may use; each bound has
//! a default. Must never let an unknown key pass.

use palladium_launch::DaprServerConfig;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct PlatformConfig {
    /// Who it is and where things are.
    pub given: DaprServerConfig,
    /// What it may use.
    pub bounds: Bounds,
}

/// What one Dapr Server may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Bytes of bodies, of requests and answers, that all calls together hold. Who comes when they are used up is told to
    /// come again. No single body is larger, whatever the App ID's own limit says.
    pub held_body_bytes: usize,
    /// Open connections of one worker's listener.
    pub connections: usize,
    /// How many source addresses it takes to fill them.
    pub addresses: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let limits = palladium_http::Limits::default();
        Self {
            held_body_bytes: 256 << 20,
            connections: limits.connections,
            addresses: limits.addresses,
        }
    }
}

impl TryFrom<Map<String, Value>> for PlatformConfig {
    type Error = serde_json::Error;

    fn try_from(mut file: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let bounds = file.remove("bounds").map(serde_json::from_value).transpose()?;
        Ok(Self {
            given: serde_json::from_value(Value::Object(file))?,
            bounds: bounds.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_read_beside_what_the_agent_writes_and_typos_are_told() {
        let file = |bounds: Value| {
            let id = |name: &str| format!("spiffe://reg-a.palladium.internal/ns/{name}");
            let mut file = json!({
                "app_id": "orders", "project_id": "prj-a", "agent_address": "127.0.0.1:1",
                "agent_id": id("palladium/agent"), "gateway_id": id("palladium/gateway"),
                "gateway_listen": "127.0.0.1:0", "internal_listen": "127.0.0.1:0", "data_folder": "/d",
                "identity": {
                    "spiffe_id": id("prj-a/orders"), "sentry_address": "127.0.0.1:1",
                    "sentry_id": id("palladium/dapr-sentry"), "roots_file": "/r",
                },
            });
            if !bounds.is_null() {
                file["bounds"] = bounds;
            }
            serde_json::from_value::<PlatformConfig>(file)
        };
        assert_eq!(file(Value::Null).expect("complete").bounds, Bounds::default());
        let config = file(json!({"held_body_bytes": 7})).expect("complete");
        assert_eq!(
            (config.bounds.held_body_bytes, config.given.app_id.as_str()),
            (7, "orders")
        );
        let error = file(json!({"held_bytes": 7})).expect_err("a typo").to_string();
        assert!(error.contains("held_bytes"), "{error}");
    }
}
