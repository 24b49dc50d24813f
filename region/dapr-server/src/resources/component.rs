//! A Component as it is declared.
//!
//! Must never show a metadata value: any of them may be a password.

use std::collections::HashMap;
use std::time::Duration;

use palladium_component::{Properties, metadata::parse_duration};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{ObjectMeta, in_namespace, in_scope, list, text};

/// The longest time to open a component in platform mode.
const LONGEST_INIT: Duration = Duration::from_secs(60);

/// A declared component, its secrets resolved or named as missing when it is opened.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its type, such as `state.redis`.
    pub kind: String,
    /// Its version as written; empty means `v1`.
    pub version: String,
    /// Whether the process goes on when it cannot be opened.
    pub ignore_errors: bool,
    /// Time to open it.
    pub init_timeout: Duration,
    /// Its metadata.
    pub properties: Properties,
    /// Whether a metadata value asks for the namespace: then topics are of the namespace, too.
    pub by_namespace: bool,
    /// Names of metadata fields whose value is a reference that cannot be resolved here, with the reason.
    pub unresolved: Vec<(String, String)>,
    /// Metadata fields whose value a secret store of the user's own has.
    pub references: Vec<Reference>,
    /// Name of that secret store; empty = none.
    pub secret_store: String,
    /// Immutable id; empty outside of platform mode.
    pub uid: String,
    /// Version of the declaration; 0 outside of platform mode.
    pub generation: u64,
    /// Tells this declaration from another of the same name.
    pub digest: [u8; 32],
}

/// A metadata field whose value is in a secret store.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The field.
    pub field: String,
    /// The secret.
    pub secret: String,
    /// Which of its values.
    pub key: String,
}

/// Which secret store has what a resource refers to.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Auth {
    #[serde(deserialize_with = "text")]
    pub(super) secret_store: String,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default, deserialize_with = "list")]
    scopes: Vec<String>,
    #[serde(default)]
    auth: Auth,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type", deserialize_with = "text")]
    kind: String,
    #[serde(default, deserialize_with = "text")]
    version: String,
    #[serde(default)]
    ignore_errors: bool,
    #[serde(default, deserialize_with = "text")]
    init_timeout: String,
    #[serde(default, deserialize_with = "list")]
    metadata: Vec<Pair>,
}

/// A name and its value, or where that is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pair {
    #[serde(default, deserialize_with = "text")]
    pub(super) name: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    secret_key_ref: Option<SecretRef>,
    #[serde(default, deserialize_with = "text")]
    env_ref: String,
}

/// What came of a value.
pub(super) enum Found {
    /// It is here.
    Value(String),
    /// A secret store of the user's has it.
    Elsewhere(Reference),
    /// It cannot be had, and why.
    Nowhere(String),
}

impl Pair {
    /// The value, or where it is. `store`: the secret store that the resource names; empty = none.
    pub(super) fn find(&self, store: &str, references: References<'_>) -> Found {
        if let Some(reference) = reference(self, store) {
            return Found::Elsewhere(reference);
        }
        match resolve(self, references) {
            Ok(value) => Found::Value(value),
            Err(reason) => Found::Nowhere(reason),
        }
    }
}

#[derive(Deserialize)]
struct SecretRef {
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "text")]
    key: String,
}

/// Where references to secrets may point.
#[derive(Clone, Copy)]
pub enum References<'a> {
    /// The user's own process: its environment may be named.
    Environment(&'a dyn Fn(&str) -> Option<String>),
    /// Platform mode: everything arrives resolved.
    Resolved,
}

impl Component {
    /// Reads one document of kind Component; `None` when it is not meant for this App ID.
    ///
    /// # Errors
    /// The message names the field; it never repeats a metadata value.
    pub fn read(
        document: Value,
        app_id: &str,
        namespace: &str,
        references: References<'_>,
    ) -> Result<Option<Self>, String> {
        // Before anything is filled in: what is drawn anew each time is no change.
        let digest = Sha256::digest(document.to_string()).into();
        let manifest: Manifest =
            serde_json::from_value(document).map_err(|error| format!("Component: {}", without_value(&error)))?;
        let Manifest {
            metadata,
            spec,
            scopes,
            auth,
        } = manifest;
        if !in_namespace(namespace, &metadata.namespace) || !in_scope(&scopes, app_id) {
            return Ok(None);
        }
        let mut properties = Properties::new();
        let mut unresolved = Vec::new();
        let mut by_namespace = false;
        let mut referenced = Vec::new();
        for pair in spec.metadata {
            match pair.find(&auth.secret_store, references) {
                Found::Value(value) => {
                    by_namespace |= value.contains("{namespace}");
                    properties.insert(pair.name, expand(value, app_id, namespace));
                }
                Found::Elsewhere(reference) => referenced.push(reference),
                Found::Nowhere(reason) => unresolved.push((pair.name, reason)),
            }
        }
        // Where tenants are, what is new waits until all components have been tried.
        let longest = match references {
            References::Environment(_) => Duration::MAX,
            References::Resolved => LONGEST_INIT,
        };
        Ok(Some(Self {
            name: metadata.name,
            kind: spec.kind,
            version: spec.version,
            ignore_errors: spec.ignore_errors,
            // A bare number is none, as in Dapr, where what is none means the default.
            init_timeout: parse_duration(&spec.init_timeout, Duration::ZERO)
                .ok()
                .filter(|timeout| !timeout.is_zero())
                .unwrap_or(Duration::from_secs(5))
                .min(longest),
            properties,
            by_namespace,
            unresolved,
            references: referenced,
            secret_store: auth.secret_store,
            uid: metadata.uid,
            generation: metadata.generation,
            digest,
        }))
    }

    /// Name, type and version, as log lines have them.
    pub fn log_name(&self) -> String {
        format!("{} ({}/{})", self.name, self.kind, self.version_or_default())
    }

    /// Whether it keeps the state of actors, which must not lose it while the process runs.
    pub fn keeps_actors(&self) -> bool {
        self.kind.starts_with("state.") && self.properties.get("actorStateStore").is_some()
    }

    /// The version, `v1` when none is given.
    pub fn version_or_default(&self) -> &str {
        if self.version.is_empty() { "v1" } else { &self.version }
    }
}

/// What a document lacks, without what it has: the library's message quotes the value that does not fit.
pub(super) fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("a value has the wrong form: expected {expected}"),
        None => text,
    }
}

/// What a secret store has to be asked for.
fn reference(pair: &Pair, store: &str) -> Option<Reference> {
    let wanted = pair.secret_key_ref.as_ref()?;
    if store.is_empty() || wanted.name.is_empty() {
        return None;
    }
    let key = if wanted.key.is_empty() {
        &wanted.name
    } else {
        &wanted.key
    };
    Some(Reference {
        field: pair.name.clone(),
        secret: wanted.name.clone(),
        key: key.clone(),
    })
}

fn resolve(pair: &Pair, references: References<'_>) -> Result<String, String> {
    if let Some(reference) = pair
        .secret_key_ref
        .as_ref()
        .filter(|reference| !reference.name.is_empty())
    {
        return Err(format!(
            "secret {:?} is named, and there is no secret store here to resolve it",
            reference.name
        ));
    }
    if !pair.env_ref.is_empty() {
        let name = pair.env_ref.as_str();
        let References::Environment(env) = references else {
            return Err("envRef is not allowed here".to_owned());
        };
        // Never the process's own credentials.
        if name.starts_with("DAPR_") || name == "APP_API_TOKEN" || name.contains(' ') {
            return Err(format!("environment variable {name:?} may not be read by components"));
        }
        return Ok(env(name).unwrap_or_default());
    }
    Ok(match &pair.value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

/// The placeholders of Dapr's component metadata. `{uuid}` is drawn anew for each component.
pub(crate) fn expand(value: String, app_id: &str, namespace: &str) -> String {
    if !value.contains('{') {
        return value;
    }
    let value = value
        .replace("{appID}", app_id)
        .replace("{namespace}", &format!("{namespace}.{app_id}"));
    if value.contains("{uuid}") {
        value.replace("{uuid}", &uuid::Uuid::new_v4().to_string())
    } else {
        value
    }
}

/// Components that share a name: one line for each later one.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Duplicates(Vec<String>);

/// Checks that no name is used twice.
///
/// # Errors
/// All that share a name with an earlier one.
pub fn without_duplicates(components: &[Component]) -> Result<(), Duplicates> {
    let mut seen: HashMap<&str, &Component> = HashMap::new();
    let mut lines = Vec::new();
    for component in components {
        let first = *seen.entry(&component.name).or_insert(component);
        if !std::ptr::eq(first, component) {
            let (later, first) = (component.log_name(), first.log_name());
            lines.push(format!(
                "duplicate definition of Component name {later} with existing {first}"
            ));
        }
    }
    if lines.is_empty() {
        Ok(())
    } else {
        Err(Duplicates(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(document: Value) -> Option<Component> {
        let env = |name: &str| (name == "PASSWORD").then(|| "p".to_owned());
        Component::read(document, "app", "ns", References::Environment(&env)).expect("well formed")
    }

    #[test]
    fn numbers_are_text_and_placeholders_are_filled() {
        let component = read(json!({
            "metadata": { "name": 123 },
            "spec": { "type": "state.redis", "metadata": [
                { "name": "db", "value": 7 }, { "name": "group", "value": "{appID}-{namespace}" },
                { "name": "one", "value": "{uuid}" }, { "name": "other", "value": "{uuid}" },
                { "name": "pw", "envRef": "PASSWORD" }, { "name": "no", "envRef": "DAPR_API_TOKEN" },
            ] },
        }))
        .expect("in scope");
        assert_eq!((component.name.as_str(), component.version_or_default()), ("123", "v1"));
        assert_eq!(component.properties.get("db"), Some("7"));
        assert_eq!(component.properties.get("group"), Some("app-ns.app"));
        assert_eq!(component.properties.get("pw"), Some("p"));
        assert_eq!(component.unresolved.len(), 1);
        let (one, other) = (component.properties.get("one"), component.properties.get("other"));
        assert!(
            one != other && one.is_some_and(|uuid| uuid.len() == 36),
            "{one:?} {other:?}"
        );
    }

    #[test]
    fn a_start_has_the_time_that_go_reads() {
        for (said, seconds) in [("", 5), ("20s", 20), ("1m", 60), ("20", 5), ("soon", 5)] {
            let spec = json!({ "type": "state.in-memory", "initTimeout": said });
            let component = read(json!({ "metadata": { "name": "x" }, "spec": spec })).expect("in scope");
            assert_eq!(component.init_timeout, Duration::from_secs(seconds), "{said}");
        }
    }

    #[test]
    fn namespace_and_scopes_decide() {
        let declared = |namespace: &str, scopes: Value| {
            json!({ "metadata": { "name": "x", "namespace": namespace }, "spec": { "type": "state.in-memory" },
                    "scopes": scopes })
        };
        assert!(read(declared("ns", json!(["app"]))).is_some());
        assert!(read(declared("", json!(null))).is_some());
        assert!(read(declared("other", json!([]))).is_none());
        assert!(read(declared("", json!(["someone"]))).is_none());
    }
}
