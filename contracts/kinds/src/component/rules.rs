//! Defaults and rules of components that need no catalog; what a type knows is checked by `control-plane/secrets`.
//!
//! One idea: settings are brought into Dapr's one form (text) first, so that comparing, sealing and checking see the
//! same. Must never look beyond the object itself.

use serde_json::Value;

use super::{ComponentContent, ComponentStatus};
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::names::NameRule;
use crate::secret_ref::{self, MANAGED_STORE};

const METADATA_MAX: usize = 256;
const VALUE_MAX: usize = 64 * 1024;

/// Building blocks a component's type can begin with.
const BLOCKS: &[&str] = &[
    "state",
    "pubsub",
    "bindings",
    "secretstores",
    "configuration",
    "conversation",
    "middleware.http",
    "lock",
    "crypto",
];

impl Content for ComponentContent {
    type Status = ComponentStatus;

    fn set_defaults(&mut self) {
        if self.spec.version.is_empty() {
            self.spec.version = "v1".into();
        }
        for item in &mut self.spec.metadata {
            // Dapr reads every setting as text; one form keeps comparisons honest.
            match item.value.take() {
                Some(Value::Bool(flag)) => item.value = Some(Value::String(flag.to_string())),
                Some(Value::Number(number)) => item.value = Some(Value::String(number.to_string())),
                other => item.value = other,
            }
        }
        for scope in &mut self.scopes {
            scope.make_ascii_lowercase();
        }
        let mut seen = std::collections::BTreeSet::new();
        self.scopes.retain(|scope| seen.insert(scope.clone()));
        if self.auth.as_ref().is_some_and(|auth| auth.secret_store.is_empty()) {
            self.auth = None;
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        check_type(&self.spec.kind, errors);
        let version = &self.spec.version;
        if version.len() > 16 || !version.bytes().all(|b| b.is_ascii_alphanumeric()) {
            errors.push("spec.version", "is not a version", "use a version such as v1");
        }
        if self.spec.init_timeout.len() > 32
            || !self
                .spec
                .init_timeout
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.')
        {
            errors.push("spec.initTimeout", "is not a duration", "use a duration such as 5s");
        }
        if self.spec.metadata.len() > METADATA_MAX {
            errors.push(
                "spec.metadata",
                format!("holds more than {METADATA_MAX} settings"),
                "remove some",
            );
        }
        self.check_metadata(errors);
        for scope in &self.scopes {
            if (NameRule::Label { max: 64 }).canonical(scope).is_err() {
                errors.push(
                    "scopes",
                    "holds something that is not an App ID",
                    "name App IDs of this project",
                );
            }
        }
        if let Some(auth) = &self.auth
            && NameRule::Component.canonical(&auth.secret_store).is_err()
        {
            errors.push(
                "auth.secretStore",
                "is not the name of a component",
                "name a secret store component of this project",
            );
        }
    }

    fn validate_update(old: &Self, new: &Self, errors: &mut FieldErrors) {
        if old.spec.kind != new.spec.kind {
            errors.push(
                "spec.type",
                "component must be deleted to be updated as the component type cannot be changed once created",
                "delete the component and create it again",
            );
        }
    }
}

impl ComponentContent {
    fn check_metadata(&self, errors: &mut FieldErrors) {
        let mut seen = std::collections::BTreeSet::new();
        let own_store = self
            .auth
            .as_ref()
            .is_some_and(|auth| auth.secret_store != MANAGED_STORE);
        for (index, item) in self.spec.metadata.iter().enumerate() {
            let name_ok = !item.name.is_empty()
                && item.name.len() <= 128
                && item
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                && !item.name.contains("..");
            if !name_ok {
                errors.push(
                    format!("spec.metadata[{index}].name"),
                    "is not the name of a setting",
                    "use letters, digits, '-', '_', '.'",
                );
                continue;
            }
            let field = item.field();
            if !seen.insert(item.name.to_ascii_lowercase()) {
                errors.push(&field, "is set twice", "keep one of them");
            }
            match (&item.value, &item.secret_key_ref) {
                (Some(_), Some(_)) => errors.push(&field, "has both a value and a secretKeyRef", "keep one of them"),
                (Some(Value::String(text)), None) if text.len() > VALUE_MAX => {
                    errors.push(&field, format!("is longer than {VALUE_MAX} bytes"), "shorten it");
                }
                (Some(Value::String(_)) | None, None) => {}
                (Some(_), None) => errors.push(&field, "is not text, number or boolean", "write it as text"),
                (None, Some(reference)) => {
                    let parts = [("name", &reference.name), ("key", &reference.key)];
                    if let Some((part, problem)) = parts
                        .iter()
                        .find_map(|(p, t)| secret_ref::name_problem(t).map(|w| (p, w)))
                    {
                        errors.push(
                            format!("{field}.secretKeyRef.{part}"),
                            problem,
                            "name a secret of this project's store",
                        );
                    } else if reference.name.is_empty() {
                        errors.push(format!("{field}.secretKeyRef.name"), "is missing", "name the secret");
                    } else if !reference.is_managed() && !own_store {
                        errors.push(
                            format!("{field}.secretKeyRef"),
                            "refers to a secret, but auth.secretStore names no secret store of this project",
                            "set auth.secretStore, or give the value itself: it is extracted and sealed",
                        );
                    }
                }
            }
        }
    }
}

fn check_type(kind: &str, errors: &mut FieldErrors) {
    let block = BLOCKS.iter().find(|block| {
        kind.strip_prefix(**block)
            .is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
    });
    let clean = kind.len() <= 128
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if block.is_none() || !clean || kind.contains("..") {
        errors.push(
            "spec.type",
            "is not a component type",
            "use a type such as state.redis or pubsub.kafka",
        );
    }
}
