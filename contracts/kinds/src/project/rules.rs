//! Defaults and rules of projects.
//!
//! Must never look beyond the object itself.

use super::{ProjectContent, ProjectStatus};
use crate::app_identity::quantity_problem;
use crate::definition::Content;
use crate::error::FieldErrors;

impl Content for ProjectContent {
    type Status = ProjectStatus;

    fn set_defaults(&mut self) {
        self.spec.region = self.spec.region.to_ascii_lowercase();
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if spec.display_name.chars().count() > 128 || spec.display_name.chars().any(char::is_control) {
            errors.push(
                "spec.displayName",
                "is longer than 128 characters or holds control characters",
                "choose another",
            );
        }
        if spec.region.len() > 63 || !spec.region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            errors.push(
                "spec.region",
                "is not the name or id of a region",
                "see the list of regions",
            );
        }
        if let Some(problem) = quantity_problem(&spec.max_body_size) {
            errors.push("spec.maxBodySize", problem, "use a quantity such as 4Mi");
        }
    }

    fn validate_update(old: &Self, new: &Self, errors: &mut FieldErrors) {
        if !new.spec.region.is_empty() && old.spec.region != new.spec.region {
            errors.push(
                "spec.region",
                "cannot change",
                "create a project in the other region and move the objects",
            );
        }
    }
}
