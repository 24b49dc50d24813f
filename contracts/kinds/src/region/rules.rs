//! Defaults and rules of regions.
//!
//! Must never look beyond the object itself.

use super::{RegionContent, RegionStatus};
use crate::definition::Content;
use crate::error::FieldErrors;

impl Content for RegionContent {
    type Status = RegionStatus;

    fn set_defaults(&mut self) {
        if self.spec.kind.is_empty() {
            self.spec.kind = "private".into();
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if spec.kind != "private" {
            errors.push("spec.type", "unknown value", "use private");
        }
        if !spec.ingress.is_empty() {
            let rest = spec
                .ingress
                .strip_prefix("https://*.")
                .or_else(|| spec.ingress.strip_prefix("http://*."));
            let well_formed = rest.and_then(|rest| rest.split_once(':')).is_some_and(|(host, port)| {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if !well_formed {
                errors.push(
                    "spec.ingress",
                    "is not a wildcard URL",
                    "use the form https://*.region.example.com:443",
                );
            }
        }
        for (field, text) in [("spec.host", &spec.host), ("spec.location", &spec.location)] {
            if text.len() > 253 || text.chars().any(char::is_control) {
                errors.push(
                    field,
                    "is longer than 253 bytes or holds control characters",
                    "choose another",
                );
            }
        }
    }

    fn validate_update(_old: &Self, _new: &Self, _errors: &mut FieldErrors) {}
}
