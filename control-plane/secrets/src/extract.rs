//! Extraction: from content with secrets to content with references and sealed values.
//!
//! The one idea: slots are found first, and each is sealed, kept or refused; the rest of the object is then searched
//! for copies. Must never return content with a secret in it, nor quote one.

use std::collections::BTreeMap;

use palladium_component::catalog::Catalog;
use palladium_control_store::{SealedSecret, SecretState};
use palladium_kinds::definition::KindDefinition;
use palladium_kinds::secret_ref::SecretKeyRef;
use palladium_kinds::{FieldError, FieldErrors};
use palladium_sealing::{HpkePublicKey, SealedField, keyed_hash};
use serde_json::{Map, Value};

use crate::fields::{self, Found};
use crate::leaks::Search;

/// Where the object is; bound into every sealed value.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `reg-…`
    pub region: &'a str,
    /// `prj-…`
    pub project: &'a str,
    /// Uid of the object.
    pub uid: &'a str,
    /// The generation that the object will have; the version of what is sealed now.
    pub generation: u64,
}

/// What is stored of the object so far.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its content, with references.
    pub content: &'a Map<String, Value>,
    /// Its secrets, by path.
    pub secrets: &'a BTreeMap<String, SecretState>,
}

/// What is submitted beside the content; no secret belongs there.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The object's name.
    pub name: &'a str,
    /// Labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Annotations.
    pub annotations: &'a BTreeMap<String, String>,
}

/// An object without secrets.
#[derive(Debug, Default)]
pub struct Extraction {
    /// The content, references in place of secrets.
    pub content: Map<String, Value>,
    /// Newly sealed values.
    pub sealed: Vec<SealedSecret>,
    /// Paths that hold no secret any more.
    pub forgotten: Vec<String>,
    /// Keyed hashes of all secrets of the object afterwards, for the audit log.
    pub fingerprints: BTreeMap<String, Vec<u8>>,
}

/// Why extraction was refused.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The object is at fault.
    #[error(transparent)]
    Invalid(#[from] FieldErrors),
    /// There is a secret, and no key to seal it with yet.
    #[error("the region has not joined yet, so {field} cannot be sealed to it")]
    NoKey {
        /// The first field concerned.
        field: String,
    },
    /// The key cannot be used.
    #[error("sealing {field}: {source}")]
    Sealing {
        /// The field.
        field: String,
        /// The cause.
        source: palladium_sealing::Error,
    },
}

/// A secret as it was submitted.
pub(crate) struct Clear {
    pub(crate) field: String,
    pub(crate) secret: String,
    fingerprint: [u8; 32],
}

/// Extracts the secrets of `content`. Who changes where the object points brings its secrets again, whatever their role: what a
/// role may read is decided per request and by the region too, where a redirected secret goes is not.
///
/// # Errors
/// See [`Problem`]; nothing has been kept then.
pub fn extract(
    kind: &KindDefinition,
    catalog: &Catalog,
    place: Place<'_>,
    key: Option<&HpkePublicKey>,
    fingerprint_key: &[u8; 32],
    stored: Option<Stored<'_>>,
    beside: Beside<'_>,
    mut content: Map<String, Value>,
) -> Result<Extraction, Problem> {
    let none = BTreeMap::new();
    let known = stored.map_or(&none, |stored| stored.secrets);
    let mut out = Extraction::default();
    let (mut errors, mut kept, mut clear) = (FieldErrors::default(), Vec::new(), Vec::new());
    for (field, found) in fields::slots(kind, catalog, &content) {
        let own = SecretKeyRef::managed(place.uid, &field);
        match found {
            Found::Clear(secret) => {
                let fingerprint = fingerprint(fingerprint_key, place.uid, &field, &secret);
                out.fingerprints.insert(field.clone(), fingerprint.to_vec());
                clear.push(Clear {
                    field: field.clone(),
                    secret,
                    fingerprint,
                });
            }
            Found::Mask | Found::Reference(_) => {
                let refers_elsewhere = matches!(&found, Found::Reference(reference) if *reference != own);
                match known.get(&field) {
                    _ if refers_elsewhere => errors.push(
                        format!("{field}.secretKeyRef"),
                        "refers to a secret of the platform that is not this field's own",
                        "give the value itself: it is extracted and sealed",
                    ),
                    None => errors.push(
                        &field,
                        "is masked, and there is no secret to keep",
                        "give the value itself",
                    ),
                    Some(state) => {
                        out.fingerprints.insert(field.clone(), state.fingerprint.clone());
                        kept.push(field.clone());
                    }
                }
            }
        }
        fields::put_reference(kind, &mut content, &field, &own);
    }
    let before: BTreeMap<_, _> = known
        .iter()
        .map(|(field, state)| (field.clone(), state.fingerprint.clone()))
        .collect();
    let redirects = |secrets: &[String]| {
        stored.is_some_and(|stored| {
            let before = fields::pointing(kind, catalog, secrets, &before, stored.content);
            before != fields::pointing(kind, catalog, secrets, &out.fingerprints, &content)
        })
    };
    if !kept.is_empty() && redirects(&kept) {
        errors.extend(kept.iter().map(|field| must_be_entered_again(field)));
    }
    for Clear {
        field,
        secret,
        fingerprint,
    } in &clear
    {
        // The same text entered for another place is sealed again: the region holds what it has to the place it had.
        let same = known.get(field).is_some_and(|state| state.fingerprint == *fingerprint);
        if same && !redirects(std::slice::from_ref(field)) {
            continue;
        }
        let key = key.ok_or_else(|| Problem::NoKey { field: field.clone() })?;
        let at = SealedField {
            region: place.region,
            project: place.project,
            uid: place.uid,
            field,
            version: place.generation,
        };
        let value = key.seal(&at, secret.as_bytes()).map_err(|source| Problem::Sealing {
            field: field.clone(),
            source,
        })?;
        out.sealed.push(SealedSecret {
            value,
            fingerprint: *fingerprint,
        });
    }
    let is_kept = |text: &str| {
        let mut fields = kept.iter().filter(|field| {
            let submitted = fingerprint(fingerprint_key, place.uid, field, text);
            out.fingerprints.get(*field).is_some_and(|kept| *kept == submitted)
        });
        fields.next().cloned()
    };
    let search = Search {
        kind,
        catalog,
        clear: &clear,
        kept: &is_kept,
    };
    errors.extend(search.run(&content, beside).0);
    errors.into_result()?;
    out.forgotten = known
        .keys()
        .filter(|field| !out.fingerprints.contains_key(*field))
        .cloned()
        .collect();
    out.content = content;
    Ok(out)
}

/// What is kept of a secret beside its sealed value: tells whether another one is the same, and nothing else.
fn fingerprint(key: &[u8; 32], uid: &str, field: &str, secret: &str) -> [u8; 32] {
    keyed_hash(key, &format!("secret/{uid}/{field}"), secret.as_bytes())
}

fn must_be_entered_again(field: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        reason: "must be entered again, because the object now points elsewhere".into(),
        remedy: "give the secret itself, or leave the other settings as they are".into(),
    }
}
