//! `secretstores.local.file`: one JSON file, read once. For development.
//!
//! The one idea: nested members become one name each, joined by a separator; with `multiValued` each member of the file is
//! one secret with many values. Must never be opened in platform mode, nor repeat a piece of the file in an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use palladium_component::secrets::{Secret, SecretDriver, SecretStore};
use palladium_component::state::Metadata;
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};
use serde_json::{Map, Value};

/// The driver.
pub const DRIVER: SecretDriver = SecretDriver {
    type_name: "secretstores.local.file",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Refused,
    fields: FileMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Greatest file.
const MAX_BYTES: u64 = 16 << 20;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct FileMetadata {
    /// Path of the JSON file.
    #[metadata(required)]
    secrets_file: String,
    /// What stands between the names of nested members.
    #[metadata(default = ":")]
    nested_separator: String,
    /// Whether a member of the file is one secret with many values.
    #[metadata(default = "false")]
    multi_valued: bool,
}

async fn open(context: OpenContext) -> Result<Arc<dyn SecretStore>, OpenError> {
    let metadata = FileMetadata::parse(&context.properties)?;
    let path = &metadata.secrets_file;
    let unreadable = |error: &dyn std::fmt::Display| OpenError::Unavailable(format!("cannot read {path}: {error}"));
    let about = tokio::fs::metadata(path).await.map_err(|error| unreadable(&error))?;
    if about.len() > MAX_BYTES {
        return Err(unreadable(&format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = tokio::fs::read(path).await.map_err(|error| unreadable(&error))?;
    // Where it stands, not what: the text is secret.
    let members: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| {
        unreadable(&format!(
            "it is not a JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    Ok(Arc::new(File {
        secrets: secrets(members, &metadata),
        multi_valued: metadata.multi_valued,
    }))
}

fn secrets(members: Map<String, Value>, metadata: &FileMetadata) -> BTreeMap<String, Secret> {
    let separator = if metadata.nested_separator.is_empty() {
        ":"
    } else {
        &metadata.nested_separator
    };
    if !metadata.multi_valued {
        let mut flat = BTreeMap::new();
        flatten("", Value::Object(members), separator, &mut flat);
        return flat
            .into_iter()
            .map(|(name, value)| (name.clone(), Secret::single(name, value)))
            .collect();
    }
    let mut found = BTreeMap::new();
    for (name, value) in members {
        match value {
            Value::String(text) => {
                found.insert(name.clone(), Secret::single(name, text));
            }
            Value::Object(_) => {
                let mut values = BTreeMap::new();
                flatten("", value, separator, &mut values);
                found.insert(name, Secret(values));
            }
            // As in Dapr: anything else is no secret.
            _ => {}
        }
    }
    found
}

/// Gives each leaf a name of its own. A name that is there already stays.
fn flatten(path: &str, value: Value, separator: &str, into: &mut BTreeMap<String, String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}{separator}{name}"),
    };
    let leaf = match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(&below(&name), value, separator, into);
            }
            return;
        }
        Value::Array(items) => {
            for (index, value) in items.into_iter().enumerate() {
                flatten(&below(&index.to_string()), value, separator, into);
            }
            return;
        }
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    into.entry(path.to_owned()).or_insert(leaf);
}

struct File {
    secrets: BTreeMap<String, Secret>,
    multi_valued: bool,
}

impl SecretStore for File {
    fn capabilities(&self) -> &'static [&'static str] {
        if self.multi_valued {
            &["MULTIPLE_KEY_VALUES_PER_SECRET"]
        } else {
            &[]
        }
    }

    fn get<'a>(&'a self, name: &'a str, _: &'a Metadata) -> Reply<'a, Secret, CallError> {
        let found = self.secrets.get(name).cloned();
        Reply::ready(found.ok_or_else(|| CallError::Other(format!("secret {name} not found"))))
    }

    fn get_all<'a>(&'a self, _: &'a Metadata) -> Reply<'a, BTreeMap<String, Secret>, CallError> {
        Reply::ready(Ok(self.secrets.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(text: &str, more: &[(&str, &str)]) -> Result<Arc<dyn SecretStore>, OpenError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        std::fs::write(&file, text).unwrap();
        let file = file.to_string_lossy().into_owned();
        let pairs = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let properties = pairs.chain([("secretsFile".to_owned(), file)]).collect();
        open(OpenContext::new("s", "app", properties)).await
    }

    const TEXT: &str = r#"{"a":"1","b":{"c":{"d":"2"},"e":[true,"x"]},"n":7}"#;

    #[tokio::test]
    async fn nested_members_get_names_of_their_own() {
        let store = opened(TEXT, &[]).await.unwrap();
        let all = store.get_all(&Metadata::new()).await.unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b:c:d", "b:e:0", "b:e:1", "n"]);
        let one = store.get("b:c:d", &Metadata::new()).await.unwrap();
        assert_eq!(one, Secret::single("b:c:d", "2"));
        let error = store.get("nothing", &Metadata::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "secret nothing not found");
    }

    #[tokio::test]
    async fn many_values_in_one_secret() {
        let store = opened(TEXT, &[("multiValued", "true"), ("nestedSeparator", "/")])
            .await
            .unwrap();
        let one = store.get("b", &Metadata::new()).await.unwrap();
        assert_eq!(one.0.keys().collect::<Vec<_>>(), ["c/d", "e/0", "e/1"]);
        assert!(
            store.get("n", &Metadata::new()).await.is_err(),
            "a number is no secret there"
        );
        assert_eq!(store.capabilities(), ["MULTIPLE_KEY_VALUES_PER_SECRET"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_repeated() {
        let error = opened(r#"{"a": hunter2}"#, &[]).await.err().unwrap().to_string();
        assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
    }
}
