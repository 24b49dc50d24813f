//! How an application's key becomes a store's key, and back.
//!
//! The one idea: `||` separates prefix and key and may be in neither, so the way back is unambiguous. The prefix keeps
//! App IDs apart in a shared store. Must never accept a key that could bring a prefix of its own.

use std::borrow::Cow;

use palladium_component::Properties;

/// Separates prefix and key.
pub const SEPARATOR: &str = "||";

/// The metadata name that chooses the prefix.
const METADATA_NAME: &str = "keyPrefix";

/// What stands before every key of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(Option<String>);

impl KeyPrefix {
    /// Reads the strategy from a component's metadata: `appid` (default), `name`, `namespace`, `none`, or a literal.
    /// The error is the message for people.
    pub fn from_metadata(
        properties: &Properties,
        component: &str,
        app_id: &str,
        namespace: &str,
    ) -> Result<Self, String> {
        // Upstream compares and uses the strategy in lower case, literals included: existing data depends on it.
        let strategy = properties.get(METADATA_NAME).unwrap_or("appid").to_lowercase();
        check(&strategy)?;
        let prefix = match strategy.as_str() {
            "none" => None,
            "name" => Some(component.to_string()),
            "namespace" if !app_id.is_empty() && !namespace.is_empty() => Some(format!("{namespace}.{app_id}")),
            "appid" | "namespace" => (!app_id.is_empty()).then(|| app_id.to_string()),
            literal => Some(literal.to_string()),
        };
        Ok(KeyPrefix(prefix))
    }

    /// The store's key for an application's key. The error is the message for people.
    pub fn apply(&self, key: &str) -> Result<String, String> {
        check(key)?;
        Ok(match &self.0 {
            None => key.to_string(),
            Some(prefix) => {
                let mut full = String::with_capacity(prefix.len() + SEPARATOR.len() + key.len());
                full.push_str(prefix);
                full.push_str(SEPARATOR);
                full.push_str(key);
                full
            }
        })
    }
}

/// The application's key of a store's key: what lies between the first and the second separator.
pub fn original_key(stored: &str) -> &str {
    let mut parts = stored.splitn(3, SEPARATOR);
    let first = parts.next().unwrap_or(stored);
    parts.next().unwrap_or(first)
}

fn check(text: &str) -> Result<(), String> {
    if text.contains(SEPARATOR) {
        let shown: Cow<'_, str> = if text.len() > 1024 {
            format!("{}…", text.chars().take(256).collect::<String>()).into()
        } else {
            text.into()
        };
        return Err(format!("input key/keyPrefix '{shown}' can't contain '{SEPARATOR}'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(strategy: Option<&str>, namespace: &str) -> Result<KeyPrefix, String> {
        let properties: Properties = strategy.map(|strategy| ("KEYPREFIX", strategy)).into_iter().collect();
        KeyPrefix::from_metadata(&properties, "mystore", "myapp", namespace)
    }

    #[test]
    fn strategies() {
        let cases = [
            (None, "", "myapp||k"),
            (Some("appid"), "ns", "myapp||k"),
            (Some("APPID"), "ns", "myapp||k"),
            (Some("name"), "", "mystore||k"),
            (Some("none"), "", "k"),
            (Some("namespace"), "ns", "ns.myapp||k"),
            (Some("namespace"), "", "myapp||k"),
            (Some("Shared"), "", "shared||k"),
        ];
        for (strategy, namespace, expected) in cases {
            assert_eq!(
                prefix(strategy, namespace).unwrap().apply("k").unwrap(),
                expected,
                "{strategy:?}"
            );
        }
        assert!(
            prefix(Some("a||b"), "")
                .unwrap_err()
                .contains("'a||b' can't contain '||'")
        );
        assert_eq!(
            prefix(None, "").unwrap().apply("ke||y1").unwrap_err(),
            "input key/keyPrefix 'ke||y1' can't contain '||'"
        );
    }

    proptest! {
        #[test]
        fn the_way_back_is_unambiguous(key in ".{0,40}", literal in "[a-z|]{1,9}") {
            for strategy in ["appid", "name", "none", "namespace", literal.as_str()] {
                let Ok(prefix) = prefix(Some(strategy), "ns") else { continue };
                let Ok(stored) = prefix.apply(&key) else { continue };
                // A prefix or key that ends or begins with half a separator makes a longer run of bars; the key must
                // then still not be one of another prefix.
                if !key.starts_with('|') && !literal.ends_with('|') {
                    prop_assert_eq!(original_key(&stored), key.as_str());
                }
            }
        }

        #[test]
        fn another_apps_key_is_never_reached(key in ".{0,40}") {
            let mine = KeyPrefix(Some("app-a".into()));
            if let Ok(stored) = mine.apply(&key) {
                prop_assert!(stored.starts_with("app-a||"));
            }
        }
    }
}
