//! How a failed call to a configuration store is told. Free of any protocol.
//!
//! One idea: words and codes are Dapr's, which are not the same in both protocols: gRPC's have details. Must never hold a
//! value.

use palladium_engine_report::{DOMAIN, Detail, Report, code};

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// There is no configuration store at all.
    NotConfigured,
    /// There is none of that name.
    NotFound {
        /// The name.
        store: String,
    },
    /// The store failed at reading.
    Get {
        /// The store.
        store: String,
        /// What was asked for.
        keys: Vec<String>,
        /// Why.
        reason: String,
    },
    /// The store failed at subscribing.
    Subscribe {
        /// The store.
        store: String,
        /// What was asked for.
        keys: Vec<String>,
        /// Why.
        reason: String,
    },
    /// There is no application that could be told.
    NoApp,
}

impl ConfigurationError {
    /// What an HTTP caller is told.
    pub fn http(&self) -> Report {
        let (http_status, grpc_code) = match self {
            Self::NotConfigured => (500, code::FAILED_PRECONDITION),
            Self::NotFound { .. } => (400, code::INVALID_ARGUMENT),
            Self::Subscribe { .. } => (500, code::INVALID_ARGUMENT),
            Self::Get { .. } | Self::NoApp => (500, code::INTERNAL),
        };
        let (tag, message) = self.words();
        Report {
            http_status,
            grpc_code,
            tag: tag.to_owned(),
            message,
            details: Vec::new(),
        }
    }

    /// What a gRPC caller is told.
    pub fn grpc(&self) -> Report {
        let report = self.http();
        let info = Detail::ErrorInfo {
            reason: report.tag.clone(),
            domain: DOMAIN.to_owned(),
            metadata: Vec::new(),
        };
        Report {
            details: vec![info],
            ..report
        }
    }

    fn words(&self) -> (&'static str, String) {
        match self {
            Self::NotConfigured => (
                "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
                "configuration stores not configured".to_owned(),
            ),
            Self::NotFound { store } => (
                "ERR_CONFIGURATION_STORE_NOT_FOUND",
                format!("configuration store {store} not found"),
            ),
            Self::Get { store, keys, reason } => (
                "ERR_CONFIGURATION_GET",
                format!(
                    "failed to get {} from Configuration store {store}: {reason}",
                    list(keys)
                ),
            ),
            Self::Subscribe { store, keys, reason } => (
                "ERR_CONFIGURATION_SUBSCRIBE",
                format!(
                    "failed to subscribe {} from Configuration store {store}: {reason}",
                    list(keys)
                ),
            ),
            Self::NoApp => (
                "ERR_APP_CHANNEL_NIL",
                "app channel is not initialized. cannot subscribe to configuration updates".to_owned(),
            ),
        }
    }
}

/// The words about a subscription that cannot be ended. It is told in an answer that is none of an error.
pub fn not_unsubscribed(id: &str, reason: &str) -> String {
    format!("failed to unsubscribe to configuration request {id}: {reason}")
}

/// A list as Go writes it.
fn list(keys: &[String]) -> String {
    format!("[{}]", keys.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_daprs_and_only_grpc_has_details() {
        let error = ConfigurationError::Get {
            store: "s".into(),
            keys: vec!["a".into(), "b".into()],
            reason: "it is away".into(),
        };
        assert_eq!(
            error.http().message,
            "failed to get [a b] from Configuration store s: it is away"
        );
        assert!(error.http().details.is_empty());
        let Detail::ErrorInfo { reason, .. } = &error.grpc().details[0] else {
            panic!("no ErrorInfo")
        };
        assert_eq!(reason, "ERR_CONFIGURATION_GET");
    }
}
