//! What travels beside a record: metadata of Dapr, headers of Kafka.
//!
//! One idea: every name that was said with a message is a header, the key's among them, and every header is metadata when it
//! arrives, beside what the broker knows ([`KNOWN`]). Must never fail on bytes that are no text, nor let a publisher say what
//! only the broker knows.

use std::collections::HashMap;

use bytes::Bytes;
use krafka::{ConsumerRecord, Record};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;

use crate::Fault;

/// What the broker knows of a record. Unlike with Dapr's driver a header of such a name is left out, in whichever case: an
/// application could not tell whose word it is.
const KNOWN: [&str; 5] = ["__key", "__topic", "__partition", "__offset", "__timestamp"];
/// What Go leaves as it is in a query; a blank becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// How a component carries metadata.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// Names that stay behind, on the way out and in.
    pub exclude: Option<Regex>,
    /// Whether values that arrive are escaped as in a URL.
    pub escape: bool,
}

impl Headers {
    fn stays_behind(&self, name: &str) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| exclude.is_match(name))
    }

    /// A record for a topic, by what was said with it.
    ///
    /// # Errors
    /// When the partition is no number, or the value should be encoded by a schema.
    pub fn record(&self, topic: &str, value: Bytes, metadata: &HashMap<String, String>) -> Result<Record, Fault> {
        let mut record = Record::new(topic, value);
        refuse_schemas(metadata)?;
        for (name, text) in metadata {
            match name.as_str() {
                "partitionKey" | "__key" => record = record.key(text.clone()),
                "partitionNumber" => {
                    let number = text.parse().ok().filter(|number| *number >= 0);
                    let number = number.ok_or_else(|| {
                        Fault::Invalid(format!(
                            "partitionNumber must be a whole number from 0: actual is '{text}'"
                        ))
                    })?;
                    record = record.partition(number);
                }
                _ => {}
            }
            if !self.stays_behind(name) {
                record = record.header(name.clone(), text.clone());
            }
        }
        Ok(record)
    }

    /// A record's metadata.
    pub fn metadata(&self, record: &ConsumerRecord) -> HashMap<String, String> {
        let mut metadata: HashMap<String, String> = [
            ("__topic", record.topic.to_string()),
            ("__partition", record.partition.to_string()),
            ("__offset", record.offset.to_string()),
            ("__timestamp", record.timestamp.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(key) = &record.key {
            metadata.insert("__key".to_owned(), self.text(key));
        }
        for (name, value) in &record.headers {
            let is_known = KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known));
            if !is_known && !self.stays_behind(name) {
                metadata.insert(name.clone(), self.text(value.as_deref().unwrap_or_default()));
            }
        }
        metadata
    }

    fn text(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        match self.escape {
            true => utf8_percent_encode(&text, QUERY).to_string().replace(' ', "+"),
            false => text.into_owned(),
        }
    }
}

/// A record's data; one without a value, which deletes its key's, is JSON's `null`.
pub fn data(record: &ConsumerRecord) -> Bytes {
    record.value.clone().unwrap_or(Bytes::from_static(b"null"))
}

/// Refuses what only a schema registry could do.
///
/// # Errors
/// When the value is to be encoded or read by a schema.
pub fn refuse_schemas(metadata: &HashMap<String, String>) -> Result<(), Fault> {
    let named = metadata
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("valueSchemaType"));
    match named {
        Some((_, kind)) if !kind.is_empty() && !kind.eq_ignore_ascii_case("none") => Err(Fault::Invalid(format!(
            "valueSchemaType '{kind}' is not supported: there is no schema registry here, send the value as it is"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn what_is_said_becomes_headers_and_a_key() {
        let headers = Headers {
            exclude: Some(Regex::new("^rawPayload$").unwrap()),
            escape: false,
        };
        let pairs = [
            ("partitionKey", "k"),
            ("rawPayload", "true"),
            ("partitionNumber", "2"),
            ("Foo", "bar"),
        ];
        let record = headers.record("t", "v".into(), &said(&pairs)).unwrap();
        assert_eq!((record.key_str(), record.partition), (Some("k"), Some(2)));
        let mut names: Vec<_> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["Foo", "partitionKey", "partitionNumber"]);
        for pairs in [
            [("partitionNumber", "-1")],
            [("partitionNumber", "x")],
            [("valueSchemaType", "Avro")],
        ] {
            let refused = headers.record("t", "v".into(), &said(&pairs)).unwrap_err();
            assert!(matches!(refused, Fault::Invalid(words) if words.contains(pairs[0].0)));
        }
        assert!(
            headers
                .record("t", "v".into(), &said(&[("valueSchemaType", "none")]))
                .is_ok()
        );
    }

    #[test]
    fn what_arrives_is_metadata() {
        let mut record = ConsumerRecord::new("t", 3, 7, Some("a b&".into()), None);
        record.headers = vec![("h".into(), Some("ü x".into())), ("none".into(), None)];
        record.timestamp = 5;
        let plain = Headers::default().metadata(&record);
        let expected = [
            ("__key", "a b&"),
            ("__topic", "t"),
            ("__partition", "3"),
            ("__offset", "7"),
            ("__timestamp", "5"),
            ("h", "ü x"),
            ("none", ""),
        ];
        assert_eq!(plain, said(&expected));
        let escaping = Headers {
            exclude: Some(Regex::new("none").unwrap()),
            escape: true,
        };
        let escaped = escaping.metadata(&record);
        assert_eq!(
            (escaped["__key"].as_str(), escaped["h"].as_str()),
            ("a+b%26", "%C3%BC+x")
        );
        assert!(!escaped.contains_key("none"));
        assert_eq!(data(&record), "null");
    }

    #[test]
    fn no_publisher_says_what_the_broker_knows() {
        let mut record = ConsumerRecord::new("t", 3, 7, None, None);
        let names = KNOWN.iter().copied().chain(["__Topic", "__other"]);
        record.headers = names.map(|name| (name.to_owned(), Some("lie".into()))).collect();
        record.timestamp = 5;
        let expected = [
            ("__topic", "t"),
            ("__partition", "3"),
            ("__offset", "7"),
            ("__timestamp", "5"),
            ("__other", "lie"),
        ];
        assert_eq!(Headers::default().metadata(&record), said(&expected));
    }
}
