//! What an application says beside a message, in the terms of the protocol.
//!
//! One idea: Dapr's names, without case, as its drivers read them. Must never fail on a value that Dapr's would only warn of,
//! where the caller can be told nothing.

use std::collections::HashMap;
use std::time::Duration;

use lapin::BasicProperties;

use crate::{Fault, name};

/// The value of a name, in any case, unless it is empty.
pub fn said<'a>(metadata: &'a HashMap<String, String>, wanted: &str) -> Option<&'a str> {
    let exact = metadata.get(wanted);
    let found = exact.or_else(|| {
        let mut all = metadata.iter();
        all.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
    });
    found.map(String::as_str).filter(|value| !value.is_empty())
}

/// The value of a name as a number, at most 255.
///
/// # Errors
/// When it is no number.
pub fn number(metadata: &HashMap<String, String>, wanted: &str) -> Result<Option<u8>, Fault> {
    let Some(text) = said(metadata, wanted) else {
        return Ok(None);
    };
    let wrong = |_| Fault::Invalid(format!("{wanted} must be a whole number: actual is '{text}'"));
    let number: i64 = text.trim().parse().map_err(wrong)?;
    Ok(Some(u8::try_from(number.clamp(0, 255)).unwrap_or(u8::MAX)))
}

/// The properties that an application may set: content type, ids, type; and `time` to live.
///
/// # Errors
/// When one is too long for the protocol.
pub fn properties(
    metadata: &HashMap<String, String>,
    content_type: &str,
    time: Option<Duration>,
) -> Result<BasicProperties, Fault> {
    let text = |wanted: &str| said(metadata, wanted).map(|text| name(text, wanted)).transpose();
    let content_type = text("contentType")?.map_or_else(|| name(content_type, "contentType"), Ok)?;
    let mut properties = BasicProperties::default().with_content_type(content_type);
    if let Some(id) = text("messageID")? {
        properties = properties.with_message_id(id);
    }
    if let Some(id) = text("correlationID")? {
        properties = properties.with_correlation_id(id);
    }
    if let Some(kind) = text("type")? {
        properties = properties.with_type(kind);
    }
    if let Some(time) = time {
        properties = properties.with_expiration(name(&time.as_millis().to_string(), "ttl")?);
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn numbers_stay_within_a_byte() {
        for (text, expected) in [("7", 7), ("300", 255), ("-1", 0)] {
            assert_eq!(
                number(&metadata(&[("priority", text)]), "priority").unwrap(),
                Some(expected)
            );
        }
        assert!(number(&metadata(&[("priority", "high")]), "priority").is_err());
    }

    #[test]
    fn what_the_application_says_becomes_properties() {
        let said = metadata(&[
            ("messageid", "m"),
            ("CorrelationID", "c"),
            ("type", "t"),
            ("other", "o"),
        ]);
        let made = properties(&said, "text/plain", Some(Duration::from_secs(2))).unwrap();
        let text = |text: &Option<lapin::types::ShortString>| text.as_ref().unwrap().to_string();
        assert_eq!(
            (text(made.message_id()), text(made.correlation_id())),
            ("m".into(), "c".into())
        );
        assert_eq!(
            (text(made.kind()), text(made.expiration())),
            ("t".into(), "2000".into())
        );
        assert_eq!(text(made.content_type()), "text/plain");
        let long = "x".repeat(256);
        assert!(properties(&metadata(&[("type", &long)]), "", None).is_err());
    }
}
