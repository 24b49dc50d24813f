//! Values as Dapr's resource files hold them: a name with a value or a reference to a secret, and texts that YAML may take for
//! numbers.
//!
//! One idea: settings, headers and TLS documents have one form (text, or one reference), so that comparing, sealing and handing
//! out are written once. Must never show a value: it may be a secret.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::ToSchema;

use crate::error::FieldErrors;
use crate::secret_ref::{self, MANAGED_STORE, SecretKeyRef, is_mask};

/// Longest value, bytes.
pub const VALUE_MAX: usize = 64 * 1024;

/// A name with a value or a reference to a secret: a component's setting, an HTTP header.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameValuePair {
    /// Its name; compared without case, as Dapr does.
    pub name: String,
    /// The value; numbers and booleans become text. May be a secret until extraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<Value>,
    /// Reference to a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

impl std::fmt::Debug for NameValuePair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NameValuePair")
            .field("name", &self.name)
            .field("secret_key_ref", &self.secret_key_ref)
            .finish_non_exhaustive()
    }
}

impl NameValuePair {
    /// The path of this value in the list at `list`, as used for sealed values: `spec.metadata.<name>`.
    pub fn field(&self, list: &str) -> String {
        format!("{list}.{}", self.name)
    }

    /// Its parts without the name.
    pub fn slot(&self) -> (Option<&Value>, Option<&SecretKeyRef>) {
        (self.value.as_ref(), self.secret_key_ref.as_ref())
    }
}

/// A value without a name, or a reference to a secret: a certificate, a private key.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsDocument {
    /// PEM. A secret until extraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<Value>,
    /// Reference to a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

impl std::fmt::Debug for TlsDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsDocument")
            .field("secret_key_ref", &self.secret_key_ref)
            .finish_non_exhaustive()
    }
}

impl TlsDocument {
    /// Its parts.
    pub fn slot(&self) -> (Option<&Value>, Option<&SecretKeyRef>) {
        (self.value.as_ref(), self.secret_key_ref.as_ref())
    }
}

/// Where `secretKeyRef`s are looked up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// Name of a secret store component of the same project; empty = the managed store.
    #[serde(default)]
    pub secret_store: String,
}

impl Auth {
    /// Whether it names a store of the project's own.
    pub fn is_own_store(auth: Option<&Self>) -> bool {
        auth.is_some_and(|auth| auth.secret_store != MANAGED_STORE)
    }

    /// An empty one says nothing.
    pub fn set_defaults(auth: &mut Option<Self>) {
        if auth.as_ref().is_some_and(|auth| auth.secret_store.is_empty()) {
            *auth = None;
        }
    }

    /// Complains about what cannot be the name of a component.
    pub fn check(auth: Option<&Self>, errors: &mut FieldErrors) {
        if let Some(auth) = auth
            && crate::names::NameRule::Component.canonical(&auth.secret_store).is_err()
        {
            errors.push(
                "auth.secretStore",
                "is not the name of a component",
                "name a secret store component of this project",
            );
        }
    }
}

/// Dapr reads every value as text; one form keeps comparisons honest.
pub fn as_text(value: &mut Option<Value>) {
    match value.take() {
        Some(Value::Bool(flag)) => *value = Some(Value::String(flag.to_string())),
        Some(Value::Number(number)) => *value = Some(Value::String(number.to_string())),
        other => *value = other,
    }
}

/// Complains about a value that is no text or stands beside a reference, and about references that lead nowhere. `own_store`:
/// the object names a secret store of its project.
pub fn check_slot(
    field: &str,
    (value, reference): (Option<&Value>, Option<&SecretKeyRef>),
    own_store: bool,
    errors: &mut FieldErrors,
) {
    match (value, reference) {
        (Some(_), Some(_)) => errors.push(field, "has both a value and a secretKeyRef", "keep one of them"),
        (Some(Value::String(text)), None) if text.len() > VALUE_MAX => {
            errors.push(field, format!("is longer than {VALUE_MAX} bytes"), "shorten it");
        }
        (Some(Value::String(_)) | None, None) => {}
        (Some(_), None) => errors.push(field, "is not text, number or boolean", "write it as text"),
        (None, Some(reference)) => check_reference(field, reference, own_store, errors),
    }
}

fn check_reference(field: &str, reference: &SecretKeyRef, own_store: bool, errors: &mut FieldErrors) {
    let parts = [("name", &reference.name), ("key", &reference.key)];
    if let Some((part, problem)) = parts
        .iter()
        .find_map(|(p, t)| secret_ref::name_problem(t).map(|w| (p, w)))
    {
        errors.push(
            format!("{field}.secretKeyRef.{part}"),
            problem,
            "name a secret of this project's store",
        );
    } else if reference.name.is_empty() {
        errors.push(format!("{field}.secretKeyRef.name"), "is missing", "name the secret");
    } else if !reference.is_managed() && !own_store {
        errors.push(
            format!("{field}.secretKeyRef"),
            "refers to a secret, but auth.secretStore names no secret store of this project",
            "set auth.secretStore, or give the value itself: it is extracted and sealed",
        );
    }
}

/// Complains about what is no PEM text with `label` in it. A mask stands for one that was checked when it came in.
pub fn check_pem(field: &str, document: &TlsDocument, label: &str, errors: &mut FieldErrors) {
    let Some(Value::String(text)) = &document.value else {
        return;
    };
    let begins = text.trim_start().starts_with("-----BEGIN ");
    let is_pem = begins && text.contains(label);
    if !text.is_empty() && !is_mask(text) && !is_pem {
        errors.push(
            field,
            "is not PEM text",
            format!("give the text from -----BEGIN on; it holds a {label}"),
        );
    }
}

/// Text that YAML may have taken for a number or a boolean.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Text, E> {
                Ok(Text(flag.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Text {
    /// For `skip_serializing_if`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_booleans_are_text() {
        let read = |value: Value| serde_json::from_value::<Text>(value).map(|text| text.0).ok();
        assert_eq!(read(json!(1)).as_deref(), Some("1"));
        assert_eq!(read(json!(0.5)).as_deref(), Some("0.5"));
        assert_eq!(read(json!(true)).as_deref(), Some("true"));
        assert_eq!(read(json!([])), None);
    }
}
