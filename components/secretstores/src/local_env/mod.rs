//! `secretstores.local.env`: the environment of the process. For a process of one's own only.
//!
//! The one idea: a secret is a variable, with a prefix left away if one is set; what the process itself lives on is never
//! given out. Must never be opened in platform mode: the environment is the machine owner's.

use std::collections::BTreeMap;
use std::sync::Arc;

use palladium_component::secrets::{Secret, SecretDriver, SecretStore};
use palladium_component::state::Metadata;
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};

/// The driver.
pub const DRIVER: SecretDriver = SecretDriver {
    type_name: "secretstores.local.env",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Refused,
    fields: EnvMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct EnvMetadata {
    /// What the variables begin with; left away in the secrets' names.
    prefix: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn SecretStore>, OpenError> {
    let metadata = EnvMetadata::parse(&context.properties)?;
    Ok(Arc::new(Environment {
        prefix: metadata.prefix.unwrap_or_default(),
        read: |name| std::env::var(name).ok(),
        names: || {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            names.collect()
        },
    }))
}

struct Environment {
    prefix: String,
    read: fn(&str) -> Option<String>,
    names: fn() -> Vec<String>,
}

/// Whether a variable may be given out: the process's own credentials may not.
fn allowed(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper != "APP_API_TOKEN" && !upper.starts_with("DAPR_")
}

impl SecretStore for Environment {
    fn get<'a>(&'a self, name: &'a str, _: &'a Metadata) -> Reply<'a, Secret, CallError> {
        let variable = format!("{}{name}", self.prefix);
        // A name that cannot be one (empty, with `=` or NUL) is not set; the system must not be asked for it.
        let valid = !variable.is_empty() && !variable.contains(['=', '\0']);
        let value = (valid && allowed(&variable)).then(|| (self.read)(&variable)).flatten();
        // As in Dapr: what is not there is empty.
        Reply::ready(Ok(Secret::single(name, value.unwrap_or_default())))
    }

    fn get_all<'a>(&'a self, _: &'a Metadata) -> Reply<'a, BTreeMap<String, Secret>, CallError> {
        let secrets = (self.names)().into_iter().filter_map(|variable| {
            let name = variable.strip_prefix(&self.prefix).filter(|name| !name.is_empty())?;
            if !allowed(&variable) {
                return None;
            }
            Some((name.to_owned(), Secret::single(name, (self.read)(&variable)?)))
        });
        Reply::ready(Ok(secrets.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(prefix: &str) -> Environment {
        Environment {
            prefix: prefix.to_owned(),
            read: |name| Some(format!("value of {name}")),
            names: || {
                ["APP_A", "APP_", "OTHER", "DAPR_API_TOKEN", "APP_API_TOKEN"]
                    .map(str::to_owned)
                    .to_vec()
            },
        }
    }

    #[tokio::test]
    async fn a_prefix_is_left_away_and_the_processs_own_is_kept() {
        let store = store("APP_");
        let none = Metadata::new();
        assert_eq!(
            store.get("A", &none).await.unwrap(),
            Secret::single("A", "value of APP_A")
        );
        assert_eq!(
            store.get("API_TOKEN", &none).await.unwrap(),
            Secret::single("API_TOKEN", "")
        );
        assert_eq!(store.get("a=b", &none).await.unwrap(), Secret::single("a=b", ""));
        let all = store.get_all(&none).await.unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["A"]);
    }

    #[tokio::test]
    async fn tokens_are_never_given_out() {
        let all = store("").get_all(&Metadata::new()).await.unwrap();
        assert!(all.keys().all(|name| !name.contains("API_TOKEN")), "{all:?}");
        assert!(all.contains_key("OTHER"));
    }
}
