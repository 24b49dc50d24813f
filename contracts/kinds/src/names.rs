//! Names of objects and the maps of labels and annotations.
//!
//! One idea: a name is made canonical once, at the edge (trimmed nowhere, lower-cased where the kind says so), and refused when it
//! could be misread in a URL, a path, a host name or a SPIFFE ID.
//!
//! Must never: silently change a name in any other way than lower-casing.

use std::collections::BTreeMap;

use crate::error::FieldErrors;
use crate::ids;

/// How the names of one kind are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS label: lower-cased; `a-z`, `0-9`, `-`; begins and ends with a letter or digit.
    Label {
        /// Longest accepted name.
        max: usize,
    },
    /// As Dapr's component names: letters, digits, `-`, `_`, `.`; case kept, because SDK code repeats the name as written.
    Component,
}

const COMPONENT_NAME_MAX: usize = 128;

impl NameRule {
    /// The canonical form of `name`, or why it is refused.
    pub fn canonical(self, name: &str) -> Result<String, FieldErrors> {
        let (name, max) = match self {
            NameRule::Label { max } => (name.to_ascii_lowercase(), max),
            NameRule::Component => (name.to_owned(), COMPONENT_NAME_MAX),
        };
        let refuse = |reason: String, remedy: &str| Err(FieldErrors::one("metadata.name", reason, remedy));
        if name.is_empty() {
            return refuse("is empty".into(), "give the object a name");
        }
        if name.len() > max {
            return refuse(format!("is longer than {max} characters"), "choose a shorter name");
        }
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let inner = |b: &u8| match self {
            NameRule::Label { .. } => b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-',
            NameRule::Component => b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
        };
        if !bytes.iter().all(inner) || !edge(bytes.first()) || !edge(bytes.last()) || name.contains("..") {
            let remedy = match self {
                NameRule::Label { .. } => "use letters, digits and dashes, beginning and ending with a letter or digit",
                NameRule::Component => {
                    "use letters, digits, '-', '_' and single '.', beginning and ending with a letter or digit"
                }
            };
            return refuse("holds a character that is not allowed".into(), remedy);
        }
        if ids::looks_like_id(&name) {
            return refuse("has the form of a generated id".into(), "choose another name");
        }
        Ok(name)
    }
}

/// Checks labels or annotations; `field` is `metadata.labels` or `metadata.annotations`.
pub fn check_map(field: &str, map: &BTreeMap<String, String>, value_max: usize, errors: &mut FieldErrors) {
    if map.len() > 64 {
        errors.push(field, "holds more than 64 entries", "remove some");
    }
    for (key, value) in map {
        let key_ok = !key.is_empty()
            && key.len() <= 253
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
            && !key.contains("..")
            && !key.contains("//");
        if !key_ok {
            errors.push(
                field,
                "holds a key that is not allowed",
                "use letters, digits, '-', '_', '.', '/', at most 253 characters",
            );
        } else if value.len() > value_max || value.chars().any(char::is_control) {
            errors.push(
                format!("{field}.{key}"),
                format!("is longer than {value_max} bytes or holds control characters"),
                "shorten or clean the value",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn app_ids_are_lower_cased_and_have_no_dots() {
        let rule = NameRule::Label { max: 64 };
        assert_eq!(rule.canonical("Orders-1").unwrap(), "orders-1");
        for bad in [
            "",
            "a.b",
            "-a",
            "a-",
            "a/b",
            "a b",
            "..",
            "ä",
            "prj-abcdefghijkl",
            &"x".repeat(65),
        ] {
            assert!(rule.canonical(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn component_names_keep_their_case() {
        assert_eq!(
            NameRule::Component.canonical("StateStore_v1.2").unwrap(),
            "StateStore_v1.2"
        );
        for bad in [".", "..", "a..b", "../x", "a/b", "a%2fb", "a\0"] {
            assert!(NameRule::Component.canonical(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_a_fixed_point_and_one_path_segment(name in "\\PC{0,80}") {
            for rule in [NameRule::Label { max: 64 }, NameRule::Component] {
                if let Ok(canonical) = rule.canonical(&name) {
                    prop_assert_eq!(rule.canonical(&canonical).unwrap(), canonical.clone());
                    prop_assert!(!canonical.contains(['/', '\\', '%', '\0', '?', '#']) && !canonical.contains(".."));
                }
            }
        }
    }
}
