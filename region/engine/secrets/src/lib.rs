//! Which secrets an application may read, and how a failed read is told. Free of any protocol.
//!
//! One idea: a store without a scope gives out everything; a scope's list of allowed names is complete, its list of denied
//! names is an exception to its default. Must never see a secret's value.

mod error;

pub use error::SecretsError;

/// Rules about one secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Name of the component.
    pub store: String,
    /// Whether a name in no list is denied.
    pub denies_by_default: bool,
    /// If not empty: the only names that may be read.
    pub allowed: Vec<String>,
    /// Names that may not be read.
    pub denied: Vec<String>,
}

impl Scope {
    fn allows(&self, name: &str) -> bool {
        let holds = |list: &[String]| list.iter().any(|one| one == name);
        if !self.allowed.is_empty() {
            return holds(&self.allowed);
        }
        !holds(&self.denied) && !self.denies_by_default
    }
}

/// The rules about all secret stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// These rules.
    ///
    /// # Errors
    /// The name of a store that has two.
    pub fn new(scopes: Vec<Scope>) -> Result<Self, String> {
        for (index, scope) in scopes.iter().enumerate() {
            if scopes[..index].iter().any(|earlier| earlier.store == scope.store) {
                return Err(scope.store.clone());
            }
        }
        Ok(Self(scopes))
    }

    /// Whether a secret of a store may be read.
    pub fn allow(&self, store: &str, name: &str) -> bool {
        let scope = self.0.iter().find(|scope| scope.store == store);
        scope.is_none_or(|scope| scope.allows(name))
    }

    /// The stores that have rules.
    pub fn stores(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|scope| scope.store.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(denies_by_default: bool, allowed: &[&str], denied: &[&str]) -> Scope {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Scope {
            store: "s".into(),
            denies_by_default,
            allowed: owned(allowed),
            denied: owned(denied),
        }
    }

    #[test]
    fn lists_and_default() {
        for (scope, expected) in [
            (scope(false, &[], &[]), [true, true]),
            (scope(true, &[], &[]), [false, false]),
            (scope(false, &[], &["a"]), [false, true]),
            (scope(true, &["a"], &[]), [true, false]),
            (scope(false, &["a"], &["a"]), [true, false]),
        ] {
            let scopes = Scopes::new(vec![scope.clone()]).unwrap();
            assert_eq!(["a", "b"].map(|name| scopes.allow("s", name)), expected, "{scope:?}");
            assert!(scopes.allow("other", "a"));
        }
        assert_eq!(Scopes::new(vec![scope(true, &[], &[]); 2]), Err("s".to_owned()));
    }

    proptest! {
        /// What is denied by default is readable only by its own name in the list.
        #[test]
        fn nothing_slips_through_a_denying_scope(name in ".*", listed in ".+") {
            let scopes = Scopes::new(vec![scope(true, &[&listed], &[])]).unwrap();
            prop_assert_eq!(scopes.allow("s", &name), name == listed);
        }
    }
}
