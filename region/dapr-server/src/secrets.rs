//! The secret values of a component, taken out of what its driver says.
//!
//! One idea: a driver's error may quote what it was given, or what a library or a far server made of it; so every error
//! passes here once, on its way from the driver, before anybody logs, answers or reports it. Must never be the only guard:
//! a driver says no secret by itself either, and what is encoded otherwise is not found here.

mod guarded;

use palladium_component::catalog::{Entry, catalog};
use palladium_component::error::{BulkFailure, RemoteError};
use palladium_component::{MetadataError, OpenError, StateError};
use palladium_engine_state::ApiError;
use secrecy::{ExposeSecret, SecretString};

pub use guarded::Guarded;

use crate::resources::Component;

const INSTEAD: &str = "***";
/// Shorter values are in every text.
const SHORTEST: usize = 4;

/// What must not be said of one component, the longest first.
#[derive(Default)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Those that the catalog counts as secret, those that came from a secret store, and passwords within addresses.
    pub fn of(component: &Component) -> Self {
        let mut values = Vec::new();
        for (name, value) in component.properties.expose() {
            let entry = Entry {
                name,
                value: Some(value),
            };
            let referred = component.references.iter().any(|one| one.field == name);
            if referred || catalog().is_sensitive(&component.kind, &component.version, entry) {
                values.push(value.to_owned());
            }
            let address = url::Url::parse(value).ok();
            values.extend(address.and_then(|url| url.password().map(str::to_owned)));
        }
        Self::these(values)
    }

    fn these(values: impl IntoIterator<Item = String>) -> Self {
        let mut values: Vec<String> = values.into_iter().filter(|value| value.len() >= SHORTEST).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values.into_iter().map(SecretString::from).collect())
    }

    /// The text without them.
    pub fn out_of(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text.replace(secret, INSTEAD)
            } else {
                text
            }
        })
    }

    /// The same for why a component cannot be opened.
    pub fn out_of_open(&self, error: OpenError) -> OpenError {
        match error {
            OpenError::Metadata(error) => OpenError::Metadata(MetadataError {
                reason: self.out_of(error.reason),
                remedy: self.out_of(error.remedy),
                ..error
            }),
            OpenError::NotAllowed(text) => OpenError::NotAllowed(self.out_of(text)),
            OpenError::Unavailable(text) => OpenError::Unavailable(self.out_of(text)),
        }
    }

    /// The same for a failed call.
    pub fn out_of_call(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::Failed {
                store,
                operation,
                source,
            } => ApiError::Failed {
                store,
                operation,
                source: self.out_of_state(source),
            },
            ApiError::QueryFailed { store, source } => ApiError::QueryFailed {
                store,
                source: self.out_of_state(source),
            },
            other => other,
        }
    }

    fn out_of_state(&self, error: StateError) -> StateError {
        let clean = |text| self.out_of(text);
        match error {
            StateError::EtagMismatch(text) => StateError::EtagMismatch(text.map(clean)),
            StateError::EtagInvalid(text) => StateError::EtagInvalid(text.map(clean)),
            StateError::NotSupported(text) => StateError::NotSupported(clean(text)),
            StateError::Invalid(text) => StateError::Invalid(clean(text)),
            StateError::Unavailable(text) => StateError::Unavailable(clean(text)),
            StateError::Other(text) => StateError::Other(clean(text)),
            StateError::Remote(remote) => StateError::Remote(Box::new(RemoteError {
                message: clean(remote.message),
                ..*remote
            })),
            StateError::Bulk(failures) => {
                let clean = |BulkFailure { key, error }| BulkFailure {
                    key,
                    error: self.out_of_state(error),
                };
                StateError::Bulk(failures.into_iter().map(clean).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use palladium_engine_state::Operation;
    use serde_json::json;

    use super::*;
    use crate::resources::References;

    #[test]
    fn sec_066_what_a_driver_quotes_of_its_secrets_is_taken_out() {
        let document = json!({
            "metadata": {"name": "orders"},
            "spec": {"type": "state.redis", "version": "v1", "metadata": [
                {"name": "redisHost", "value": "redis://user:in-address@host:6379"},
                {"name": "redisPassword", "value": "correct-horse"},
                {"name": "redisDB", "value": "1234"},
            ]},
        });
        let component = Component::read(document, "app", "", References::Resolved);
        let secrets = Secrets::of(&component.expect("sound").expect("in scope"));
        let quoting = || "AUTH correct-horse in-address failed, db 1234".to_owned();
        assert_eq!(secrets.out_of(quoting()), "AUTH *** *** failed, db 1234");
        let open = secrets.out_of_open(OpenError::Unavailable(quoting())).to_string();
        let item = BulkFailure {
            key: "k".into(),
            error: StateError::Other(quoting()),
        };
        let call = secrets.out_of_call(ApiError::Failed {
            store: "orders".into(),
            operation: Operation::Save,
            source: StateError::Bulk(vec![item]),
        });
        for text in [open, call.to_string()] {
            assert!(text.contains("AUTH *** ***") && !text.contains("horse"), "{text}");
        }
    }
}
