//! Secrets in clear where none belongs: a copy of one that was just extracted or is kept (an annotation that a tool copied the whole
//! file into, a setting of another name, the name itself), as it is or in Base64; an address with a password, a private key.
//!
//! The one idea: everything outside of the secret fields is shown to every reader and kept in clear, so what is surely a secret is
//! refused there by its place. What only might be one is not: honest objects must pass.
//!
//! Must never put the secret into the complaint, nor a key that holds it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use palladium_component::catalog::{Catalog, holds_credentials};
use palladium_kinds::FieldErrors;
use palladium_kinds::definition::KindDefinition;
use palladium_kinds::secret_ref::MANAGED_STORE;
use serde_json::{Map, Value};

use crate::extract::{Beside, Clear};
use crate::fields::{self, Found};

/// Shorter ones are parts of ordinary words; refusing those would refuse honest objects.
const SHORTEST: usize = 8;

/// What is known of the object's secrets.
pub(crate) struct Search<'a> {
    pub(crate) kind: &'a KindDefinition,
    pub(crate) catalog: &'a Catalog,
    /// Those that were submitted.
    pub(crate) clear: &'a [Clear],
    /// The path of the kept one that a text is.
    pub(crate) kept: &'a dyn Fn(&str) -> Option<String>,
}

impl Search<'_> {
    /// One complaint per place. `content` holds references where its secrets were.
    pub(crate) fn run(&self, content: &Map<String, Value>, beside: Beside<'_>) -> FieldErrors {
        let long = self.clear.iter().filter(|clear| clear.secret.len() >= SHORTEST);
        let forms: Vec<Forms<'_>> = long.map(Forms::of).collect();
        Looking { search: self, forms }.run(content, beside)
    }
}

/// A submitted secret and how it looks in other texts.
struct Forms<'a> {
    field: &'a str,
    texts: Vec<String>,
}

impl<'a> Forms<'a> {
    fn of(clear: &'a Clear) -> Self {
        let mut texts = vec![clear.secret.clone(), escaped(&clear.secret)];
        // Wherever it begins within three bytes; without the characters at its ends that depend on its neighbours.
        for (before, skip) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&[0; 2][..before], clear.secret.as_bytes()].concat();
            let sure = bytes.len() * 8 / 6;
            let text = STANDARD_NO_PAD.encode(&bytes);
            let text: String = text.chars().take(sure).skip(skip).collect();
            texts.extend([text.replace('+', "-").replace('/', "_"), text]);
        }
        Self {
            field: &clear.field,
            texts,
        }
    }
}

struct Looking<'a> {
    search: &'a Search<'a>,
    forms: Vec<Forms<'a>>,
}

impl Looking<'_> {
    fn run(&self, content: &Map<String, Value>, beside: Beside<'_>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        self.check("metadata.name", beside.name, &mut errors);
        for (key, value) in content {
            self.walk(key, value, &mut errors);
        }
        for (path, map) in [
            ("metadata.labels", beside.labels),
            ("metadata.annotations", beside.annotations),
        ] {
            for (key, value) in map {
                // A key that holds a secret is not named.
                if self.check(path, key, &mut errors) {
                    continue;
                }
                let path = format!("{path}.{key}");
                if !self.check(&path, value, &mut errors) {
                    self.check_copy(&path, value, &mut errors);
                }
            }
        }
        errors
    }

    fn walk(&self, path: &str, value: &Value, errors: &mut FieldErrors) {
        match value {
            Value::String(text) => {
                self.check(path, text, errors);
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(&format!("{path}[{index}]"), item, errors);
                }
            }
            // Written by extraction itself.
            Value::Object(map)
                if map.contains_key("key") && map.get("name").and_then(Value::as_str) == Some(MANAGED_STORE) => {}
            Value::Object(map) => {
                for (key, value) in map {
                    if !self.check(path, key, errors) {
                        self.walk(&format!("{path}.{key}"), value, errors);
                    }
                }
            }
            _ => {}
        }
    }

    /// Complains about a text that is or holds a secret; whether it did.
    fn check(&self, path: &str, text: &str, errors: &mut FieldErrors) -> bool {
        let submitted = self
            .forms
            .iter()
            .find(|forms| forms.texts.iter().any(|form| text.contains(form.as_str())));
        let copied = submitted.map(|forms| forms.field.to_owned());
        if let Some(field) = copied.or_else(|| self.kept(text)) {
            in_clear(path, &field, errors);
            return true;
        }
        let credentials = holds_credentials(text);
        if credentials {
            errors.push(
                path,
                "holds a password or a private key in clear, and is no secret field",
                "remove it there; secrets belong into settings that are sealed",
            );
        }
        credentials
    }

    /// The field of the kept secret that a text is, as it is or in Base64.
    fn kept(&self, text: &str) -> Option<String> {
        let known = |text: &str| (text.len() >= SHORTEST).then(|| (self.search.kept)(text)).flatten();
        known(text).or_else(|| {
            let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
            let decoded = STANDARD_NO_PAD.decode(standard).ok()?;
            known(std::str::from_utf8(&decoded).ok()?)
        })
    }

    /// A copy of the whole object, as `kubectl apply` leaves one: its secret fields are found by their place, however short.
    fn check_copy(&self, path: &str, text: &str, errors: &mut FieldErrors) {
        let Ok(Value::Object(copy)) = serde_json::from_str(text) else {
            return;
        };
        let secret = |(field, found)| matches!(found, Found::Clear(_)).then_some(field);
        if let Some(field) = fields::slots(self.search.kind, self.search.catalog, &copy)
            .into_iter()
            .find_map(secret)
        {
            in_clear(path, &field, errors);
        }
    }
}

fn in_clear(path: &str, field: &str, errors: &mut FieldErrors) {
    errors.push(
        path,
        format!("holds the secret of {field} in clear"),
        "remove it there, or choose a secret that is no part of other settings",
    );
}

/// As it stands inside of JSON.
fn escaped(secret: &str) -> String {
    let quoted = Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
