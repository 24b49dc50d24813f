//! References to secrets, and the mask that stands for one.
//!
//! One idea: where a secret was, an object holds `secretKeyRef {name: "palladium", key: "<uid>/<field>"}` or, in plain string
//! fields, the mask. Only the object itself may carry a reference to its own uid.
//!
//! Must never: let a key name climb out of its store (`..`, empty segments, backslashes, control characters).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The managed secret store of every region.
pub const MANAGED_STORE: &str = "palladium";

/// What is shown instead of a secret. Sent back unchanged it means "keep what you have"; it is never stored as a value.
pub const MASK: &str = "**********";

/// Names a secret in a secret store, as Dapr's resource files do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the secret in the store.
    #[serde(default)]
    pub name: String,
    /// Key inside of the secret; empty = same as the name.
    #[serde(default)]
    pub key: String,
}

impl SecretKeyRef {
    /// The reference that extraction leaves behind.
    pub fn managed(uid: &str, field: &str) -> Self {
        Self {
            name: MANAGED_STORE.into(),
            key: format!("{uid}/{field}"),
        }
    }

    /// True when it points into the managed store.
    pub fn is_managed(&self) -> bool {
        self.name == MANAGED_STORE
    }
}

/// True for anything that a client could only have got from a masked read: three or more asterisks and nothing else.
pub fn is_mask(value: &str) -> bool {
    value.len() >= 3 && value.bytes().all(|b| b == b'*')
}

/// Why a secret's name or key is refused, if it is.
pub fn name_problem(text: &str) -> Option<&'static str> {
    if text.len() > 512 {
        Some("is longer than 512 bytes")
    } else if text.chars().any(char::is_control) || text.contains('\\') {
        Some("holds control characters or a backslash")
    } else if text.split('/').any(|segment| segment == ".." || segment == ".")
        || text.starts_with('/')
        || text.contains("//")
    {
        Some("tries to climb out of its store")
    } else if percent_hides_traversal(text) {
        Some("hides a path separator or dot in percent-encoding")
    } else {
        None
    }
}

/// `%2e`, `%2f`, `%5c`, `%00`: never needed in a key, always an attempt.
fn percent_hides_traversal(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["%2e", "%2f", "%5c", "%00", "%25"]
        .iter()
        .any(|code| lower.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_111_traversal_in_key_names_is_refused() {
        for bad in [
            "../other",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a\\b",
            "a/..",
            "..",
            "%2e%2e/x",
            "a\0b",
            "./x",
            "a%252fb",
        ] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
        for good in ["redis", "secret/data/redis", "a.b", "my-key_1", ""] {
            assert!(name_problem(good).is_none(), "{good}");
        }
    }

    #[test]
    fn only_asterisks_are_a_mask() {
        assert!(is_mask(MASK) && is_mask("***"));
        assert!(!is_mask("**") && !is_mask("***a") && !is_mask(""));
    }
}
