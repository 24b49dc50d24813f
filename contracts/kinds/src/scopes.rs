//! Scopes: the App IDs of the project that may use an object.
//!
//! One idea: written as files have them, kept in one form, so that a name in another case is not another App ID. Must
//! never look whether an App ID exists: files may name it first.

use crate::error::FieldErrors;
use crate::names::NameRule;

/// Most App IDs that one object may name.
const SCOPES_MAX: usize = 10_000;

/// Lower case, none twice.
pub fn canonical(scopes: &mut Vec<String>) {
    for scope in scopes.iter_mut() {
        scope.make_ascii_lowercase();
    }
    let mut seen = std::collections::BTreeSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
}

/// Complains about what can be no App ID.
pub fn check(scopes: &[String], errors: &mut FieldErrors) {
    if scopes.len() > SCOPES_MAX {
        errors.push(
            "scopes",
            format!("holds more than {SCOPES_MAX} App IDs"),
            "leave it empty for all",
        );
    }
    for scope in scopes {
        if !is_app_id(scope) {
            errors.push(
                "scopes",
                "holds something that is not an App ID",
                "name App IDs of this project",
            );
        }
    }
}

/// Whether an App ID can have this name.
pub fn is_app_id(name: &str) -> bool {
    (NameRule::Label { max: 64 }).canonical(name).is_ok()
}
