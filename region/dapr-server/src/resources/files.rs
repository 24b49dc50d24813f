//! Reads resource files of the drop-in form: YAML or JSON, several documents each.
//!
//! One idea: one bad component or subscription is said and skipped, the others count; a file or folder that cannot be
//! read, and a Configuration that cannot be understood, end the start: its rules would be missing. Must never quote a document in a message: it may hold a
//! secret. Must never be called in platform mode, where only the agent tells what there is.

use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use super::component::References;
use super::{Component, Configuration, HttpEndpoint, ResiliencyResource, Subscription, read_subscription};

/// Why resources cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A folder or file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A configuration file cannot be used.
    #[error("configuration file {}: {reason}", path.display())]
    Configuration {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What is declared for this App ID.
#[derive(Default)]
pub struct Declared {
    /// Components.
    pub components: Vec<Component>,
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Resiliency policies.
    pub resiliency: Vec<ResiliencyResource>,
    /// Services outside.
    pub http_endpoints: Vec<HttpEndpoint>,
    /// Names of Configurations, which do not count here.
    pub configurations: Vec<String>,
}

impl Declared {
    /// Adds what the documents of a text declare for this App ID. Gives the reasons of those that are skipped.
    pub fn take(
        &mut self,
        text: &str,
        app_id: &str,
        namespace: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<String> {
        let mut take = |document: Value| match kind(&document) {
            Some("Component") => Component::read(document, app_id, namespace, References::Environment(env))
                .map(|one| self.components.extend(one)),
            Some("Subscription") => {
                read_subscription(document, app_id, namespace).map(|one| self.subscriptions.extend(one))
            }
            Some("Resiliency") => ResiliencyResource::read(document, app_id).map(|one| self.resiliency.extend(one)),
            Some("HTTPEndpoint") => HttpEndpoint::read(document, app_id, namespace, References::Environment(env))
                .map(|one| self.http_endpoints.extend(one)),
            Some("Configuration") => {
                let name = document["metadata"]["name"].as_str().unwrap_or_default();
                self.configurations.push(name.to_owned());
                Ok(())
            }
            _ => Ok(()),
        };
        let taken = documents(text).into_iter().map(|document| document.and_then(&mut take));
        taken.filter_map(Result::err).collect()
    }
}

/// What is declared for this App ID in these folders.
///
/// # Errors
/// When a folder or a file in it cannot be read.
pub fn load_folders(
    folders: &[PathBuf],
    app_id: &str,
    namespace: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Declared, LoadError> {
    let mut declared = Declared::default();
    for folder in folders {
        load_folder(folder, app_id, namespace, env, &mut declared)?;
    }
    Ok(declared)
}

fn load_folder(
    folder: &Path,
    app_id: &str,
    namespace: &str,
    env: &dyn Fn(&str) -> Option<String>,
    declared: &mut Declared,
) -> Result<(), LoadError> {
    let failed = |source| LoadError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| {
        matches!(
            file.extension().and_then(|ending| ending.to_str()),
            Some("yaml" | "yml" | "json")
        )
    });
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|source| LoadError::Read {
            path: file.clone(),
            source,
        })?;
        for reason in declared.take(&text, app_id, namespace, env) {
            tracing::warn!("A document of {} is skipped: {reason}", file.display());
        }
    }
    Ok(())
}

/// The configuration of these files, later ones laid over earlier ones.
///
/// # Errors
/// When a file cannot be read or understood.
pub fn load_configurations(files: &[PathBuf]) -> Result<Configuration, LoadError> {
    let mut configuration = Configuration::default();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|source| LoadError::Read {
            path: file.clone(),
            source,
        })?;
        for document in documents(&text) {
            let taken = document.and_then(|document| match kind(&document) {
                Some("Configuration") => configuration.overlay(document),
                _ => Ok(()),
            });
            taken.map_err(|reason| LoadError::Configuration {
                path: file.clone(),
                reason,
            })?;
        }
    }
    Ok(configuration)
}

/// The kind of a document; the member's name is written in any case, as Dapr reads it.
fn kind(document: &Value) -> Option<&str> {
    let members = document.as_object()?.iter();
    members
        .filter(|(name, _)| name.eq_ignore_ascii_case("kind"))
        .find_map(|(_, kind)| kind.as_str())
}

/// The documents of a file. The reason why one does not parse is without the text around it: it may hold a secret.
fn documents(text: &str) -> Vec<Result<Value, String>> {
    let mut found = Vec::new();
    let mut one = String::new();
    for line in text.lines().chain(["---"]) {
        if line.trim_end() != "---" {
            one.push_str(line);
            one.push('\n');
            continue;
        }
        let document = std::mem::take(&mut one);
        if document.trim().is_empty() {
            continue;
        }
        match parse(&document) {
            Some(Value::Null) => {}
            Some(value) => found.push(Ok(value)),
            None => found.push(Err("a document is neither YAML nor JSON".to_owned())),
        }
    }
    found
}

fn parse(document: &str) -> Option<Value> {
    if document.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(document)
    {
        return Some(value);
    }
    // Of a member that is written twice the last one counts, as in Dapr.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(document, options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_documents_and_bad_ones() {
        let text =
            "kind: Component\nmetadata:\n  name: 123\n---\n{\"kind\":\"Component\"}\n---\n\tbad: [\n---\n# nothing\n";
        let found = documents(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].as_ref().unwrap()["metadata"]["name"], 123);
        assert!(found[2].is_err());
    }

    #[test]
    fn a_kind_in_any_case_and_members_written_twice() {
        let found = documents("apiVersion: 1\napiVersion: 2\nKind: Subscription\n");
        let document = found[0].as_ref().unwrap();
        assert_eq!(
            (kind(document), &document["apiVersion"]),
            (Some("Subscription"), &Value::from(2))
        );
    }

    #[test]
    fn a_bad_component_is_skipped_and_a_bad_configuration_ends_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yaml");
        std::fs::write(&file, "kind: Configuration\nspec: {api: {denied: [{name: state\n").unwrap();
        assert!(load_folders(&[folder.path().to_owned()], "a", "default", &|_| None).is_ok());
        let error = load_configurations(&[file]).unwrap_err().to_string();
        assert!(error.contains("x.yaml: a document is neither YAML nor JSON"), "{error}");
    }
}
