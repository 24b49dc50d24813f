//! The JSON bodies of the state API.
//!
//! One idea: an item's value is kept as the text it came as ([`RawValue`]). Member names compare without case, as Go's
//! decoder does it. Must never decode a value: digits and order would be lost.

use std::fmt;
use std::marker::PhantomData;

use palladium_component::StateError;
use palladium_engine_state::{Concurrency, Consistency, Metadata, SetRequest, ValueForm, canonical_json};
use palladium_engine_state::{DeleteRequest, parse_concurrency, parse_consistency};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// One item to write or delete.
#[derive(Default)]
pub(super) struct Item<'a> {
    pub(super) key: String,
    value: Option<&'a RawValue>,
    etag: Option<String>,
    pub(super) metadata: Option<Metadata>,
    options: Options,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    concurrency: Option<String>,
    consistency: Option<String>,
}

impl Options {
    fn read(&self) -> Result<(Concurrency, Consistency), StateError> {
        Ok((
            parse_concurrency(self.concurrency.as_deref().unwrap_or_default())?,
            parse_consistency(self.consistency.as_deref().unwrap_or_default())?,
        ))
    }
}

impl Item<'_> {
    /// As a write. `query`: metadata of the request, which wins over the item's.
    pub(super) fn into_set(self, query: &Metadata) -> Result<SetRequest, StateError> {
        let (concurrency, consistency) = self.options.read()?;
        Ok(SetRequest {
            key: self.key,
            value: canonical_json(self.value.map_or("null", RawValue::get)),
            form: ValueForm::Json,
            etag: self.etag,
            metadata: merged(self.metadata, query),
            concurrency,
            consistency,
        })
    }

    /// As a deletion.
    pub(super) fn into_delete(self, query: &Metadata) -> Result<DeleteRequest, StateError> {
        let (concurrency, consistency) = self.options.read()?;
        let metadata = merged(self.metadata, query);
        Ok(DeleteRequest {
            key: self.key,
            etag: self.etag,
            metadata,
            concurrency,
            consistency,
        })
    }
}

/// Metadata of a body with that of the query laid over it.
pub(super) fn merged(own: Option<Metadata>, query: &Metadata) -> Metadata {
    let mut merged = own.unwrap_or_default();
    merged.extend(query.iter().map(|(name, value)| (name.clone(), value.clone())));
    merged
}

enum Member {
    Key,
    Value,
    Etag,
    Metadata,
    Options,
    Other,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Member, E> {
                let is = |known: &str| name.eq_ignore_ascii_case(known);
                Ok(match name {
                    _ if is("key") => Member::Key,
                    _ if is("value") => Member::Value,
                    _ if is("etag") => Member::Etag,
                    _ if is("metadata") => Member::Metadata,
                    _ if is("options") => Member::Options,
                    _ => Member::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
            type Value = Item<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'a>, A::Error> {
                let mut item = Item::default();
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Key => item.key = map.next_value::<Option<String>>()?.unwrap_or_default(),
                        Member::Value => item.value = Some(map.next_value()?),
                        Member::Etag => item.etag = map.next_value()?,
                        Member::Metadata => item.metadata = map.next_value()?,
                        Member::Options => item.options = map.next_value::<Option<Options>>()?.unwrap_or_default(),
                        Member::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// Body of a bulk read.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct BulkGet {
    pub(super) keys: Option<Vec<String>>,
    pub(super) parallelism: i64,
    pub(super) metadata: Option<Metadata>,
}

/// Body of a transaction.
#[derive(Deserialize)]
pub(super) struct Transaction<'a> {
    #[serde(borrow, default)]
    pub(super) operations: Option<Vec<Step<'a>>>,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
}

/// One step of a transaction.
#[derive(Deserialize)]
pub(super) struct Step<'a> {
    #[serde(default)]
    pub(super) operation: String,
    #[serde(borrow, default)]
    pub(super) request: Option<Item<'a>>,
}

/// One item of a bulk answer.
#[derive(Serialize)]
pub(super) struct BulkItem<'a> {
    pub(super) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<&'a Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

/// A stored value inside a JSON answer: as it is when it is JSON, otherwise as text, otherwise as base64.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Raw<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Binary(String),
}

impl<'a> From<&'a [u8]> for Raw<'a> {
    fn from(stored: &'a [u8]) -> Self {
        use base64::Engine as _;
        match (serde_json::from_slice(stored), std::str::from_utf8(stored)) {
            (Ok(json), _) => Self::Json(json),
            (Err(_), Ok(text)) => Self::Text(text),
            (Err(_), Err(_)) => Self::Binary(base64::engine::general_purpose::STANDARD.encode(stored)),
        }
    }
}

/// Body of a query's answer.
#[derive(Serialize)]
pub(super) struct QueryAnswer<'a> {
    pub(super) results: Vec<BulkItem<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) token: &'a str,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    pub(super) metadata: &'a Metadata,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_names_have_no_case_and_values_stay_text() {
        let items: Vec<Item<'_>> =
            serde_json::from_str(r#"[{"Key":"k","VALUE":{"b":1.0,"a":2},"eTag":null,"options":null,"x":[1]}]"#)
                .expect("well formed");
        let set = items
            .into_iter()
            .next()
            .expect("one")
            .into_set(&Metadata::new())
            .expect("valid");
        assert_eq!(set.key, "k");
        assert_eq!(&set.value[..], br#"{"b":1.0,"a":2}"#);
        assert_eq!(set.etag, None);
    }

    #[test]
    fn what_is_not_a_list_of_objects_is_refused() {
        for body in [
            "",
            "{}",
            "foobar",
            r#"[{"key":"k","value":"v"},]"#,
            r#"[{"key":"k","etag":123}]"#,
            "[[]]",
        ] {
            assert!(serde_json::from_str::<Vec<Item<'_>>>(body).is_err(), "{body}");
        }
    }
}
