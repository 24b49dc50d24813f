//! How an application's resource becomes a lock's key.
//!
//! One idea: every key begins with `lock||`, then the component's prefix, as with Dapr, so that both share locks. Must never
//! let a separator in from outside.

const SEPARATOR: &str = "||";
const FIRST: &str = "lock";

/// What stands before every resource of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockPrefix(String);

impl LockPrefix {
    /// By the component's `keyPrefix`: `appid`, `name`, `none`, or a literal.
    ///
    /// # Errors
    /// The message for people, when it holds a separator.
    pub fn new(strategy: &str, component: &str, app_id: &str) -> Result<Self, String> {
        // As upstream: in lower case, literals included.
        let strategy = strategy.to_lowercase();
        check(&strategy)?;
        let second = match strategy.as_str() {
            "none" => None,
            "name" => Some(component),
            "appid" => Some(app_id).filter(|app_id| !app_id.is_empty()),
            literal => Some(literal),
        };
        Ok(Self(match second {
            Some(second) => format!("{FIRST}{SEPARATOR}{second}{SEPARATOR}"),
            None => format!("{FIRST}{SEPARATOR}"),
        }))
    }

    /// The key of a resource.
    ///
    /// # Errors
    /// The message for people, when it holds a separator.
    pub fn apply(&self, resource: &str) -> Result<String, String> {
        check(resource)?;
        Ok(format!("{}{resource}", self.0))
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.contains(SEPARATOR) {
        let shown: String = text.chars().take(256).collect();
        return Err(format!("input key/keyPrefix '{shown}' can't contain '{SEPARATOR}'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strategies() {
        for (strategy, app_id, expected) in [
            ("appid", "app", "lock||app||r"),
            ("APPID", "app", "lock||app||r"),
            ("appid", "", "lock||r"),
            ("name", "app", "lock||store||r"),
            ("none", "app", "lock||r"),
            ("Shared", "app", "lock||shared||r"),
            ("", "app", "lock||||r"),
        ] {
            let prefix = LockPrefix::new(strategy, "store", app_id).unwrap();
            assert_eq!(prefix.apply("r").unwrap(), expected, "{strategy}");
        }
        assert!(LockPrefix::new("a||b", "store", "app").is_err());
        let prefix = LockPrefix::new("appid", "store", "app").unwrap();
        assert_eq!(
            prefix.apply("a||b").unwrap_err(),
            "input key/keyPrefix 'a||b' can't contain '||'"
        );
    }

    proptest! {
        #[test]
        fn another_apps_lock_is_never_reached(resource in ".{0,40}") {
            let mine = LockPrefix::new("appid", "store", "app-a").unwrap();
            if let Ok(key) = mine.apply(&resource) {
                prop_assert!(key.starts_with("lock||app-a||"));
            }
        }
    }
}
