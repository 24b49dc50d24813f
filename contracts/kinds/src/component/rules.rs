//! Defaults and rules of components that need no catalog; what a type knows is checked by `control-plane/secrets`.
//!
//! One idea: settings are brought into Dapr's one form (text) first, so that comparing, sealing and checking see the
//! same. Must never look beyond the object itself.

use super::{ComponentContent, ComponentStatus, SETTINGS};
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::values::Auth;
use crate::{duration, scopes, values};

const METADATA_MAX: usize = 256;

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
            values::as_text(&mut item.value);
        }
        scopes::canonical(&mut self.scopes);
        Auth::set_defaults(&mut self.auth);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        check_type(&self.spec.kind, errors);
        let version = &self.spec.version;
        if version.len() > 16 || !version.bytes().all(|b| b.is_ascii_alphanumeric()) {
            errors.push("spec.version", "is not a version", "use a version such as v1");
        }
        duration::check("spec.initTimeout", &self.spec.init_timeout, false, errors);
        if self.spec.metadata.len() > METADATA_MAX {
            errors.push(
                "spec.metadata",
                format!("holds more than {METADATA_MAX} settings"),
                "remove some",
            );
        }
        self.check_metadata(errors);
        scopes::check(&self.scopes, errors);
        Auth::check(self.auth.as_ref(), errors);
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
        let own_store = Auth::is_own_store(self.auth.as_ref());
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
            let field = item.field(SETTINGS);
            if !seen.insert(item.name.to_ascii_lowercase()) {
                errors.push(&field, "is set twice", "keep one of them");
            }
            values::check_slot(&field, item.slot(), own_store, errors);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::KIND;

    #[test]
    fn an_init_timeout_that_dapr_would_leave_out_is_refused() {
        for (said, taken) in [
            ("20s", true),
            ("1m30s", true),
            ("", true),
            ("20", false),
            ("soon", false),
            ("-5s", false),
        ] {
            let spec = json!({ "type": "state.in-memory", "initTimeout": said });
            let complaint = (KIND.normalize)(json!({ "spec": spec })).err();
            let complaint = complaint.map(|errors| errors.to_string()).unwrap_or_default();
            assert_eq!(complaint.is_empty(), taken, "{said}: {complaint}");
            assert!(taken || complaint.starts_with("spec.initTimeout: "), "{complaint}");
        }
    }
}
