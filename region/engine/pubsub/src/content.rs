//! Which content types are text, JSON, bytes or an envelope.
//!
//! One idea: only the type before a semicolon counts, in any case, as in Dapr. Must never look into the content to guess.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

fn is(content_type: &str, expected: &str) -> bool {
    let base = content_type.split(';').next().unwrap_or_default();
    base.eq_ignore_ascii_case(expected)
}

/// Whether the content is itself an envelope.
pub fn is_cloud_event(content_type: &str) -> bool {
    is(content_type, "application/cloudevents+json")
}

/// Whether the content is JSON.
pub fn is_json(content_type: &str) -> bool {
    is(content_type, "application/json")
}

/// Whether the content is text.
pub fn is_text(content_type: &str) -> bool {
    let text = content_type.as_bytes().get(..5);
    text.is_some_and(|text| text.eq_ignore_ascii_case(b"text/")) || is(content_type, "application/xml")
}

/// Whether the content is bytes that nobody may interpret.
pub fn is_binary(content_type: &str) -> bool {
    is(content_type, "application/octet-stream")
}

/// Whether the content has to be encoded to stand in JSON.
pub(crate) fn needs_base64(content_type: &str) -> bool {
    is_binary(content_type) || is(content_type, "application/cloudevents+protobuf")
}

/// The bytes of one event of a bulk request, as its JSON and its content type say.
///
/// # Errors
/// Words for the caller when the two do not fit.
pub fn bulk_event(event: &RawValue, content_type: &str) -> Result<Bytes, String> {
    const MISMATCH: &str = "error: mismatch between contentType and event";
    if is_json(content_type) || is_cloud_event(content_type) {
        return Ok(Bytes::copy_from_slice(event.get().as_bytes()));
    }
    if !is_binary(content_type) && !is_text(content_type) {
        return Err(MISMATCH.into());
    }
    let text: String = serde_json::from_str(event.get()).map_err(|_| MISMATCH)?;
    if is_text(content_type) {
        return Ok(text.into());
    }
    let decoded = STANDARD.decode(text);
    decoded
        .map(Bytes::from)
        .map_err(|error| format!("error: unable to decode base64 application/octet-stream data: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_counts() {
        assert!(is_json("Application/JSON; charset=utf-8") && !is_json("application/json+x"));
        assert!(is_text("TEXT/html") && is_text("application/xml") && !is_text("te"));
        assert!(is_cloud_event("application/cloudevents+json") && is_binary("application/octet-stream"));
    }

    #[test]
    fn a_bulk_event_fits_its_type() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(
            bulk_event(&raw(r#"{"a":1.10}"#), "application/json").unwrap(),
            r#"{"a":1.10}"#
        );
        assert_eq!(bulk_event(&raw(r#""a\n""#), "text/plain").unwrap(), "a\n");
        assert_eq!(
            bulk_event(&raw(r#""AAE=""#), "application/octet-stream").unwrap(),
            &[0, 1][..]
        );
        for (event, kind) in [
            ("1", "text/plain"),
            ("{}", "application/octet-stream"),
            (r#""a""#, ""),
            (r#""a""#, "a/b"),
        ] {
            assert!(bulk_event(&raw(event), kind).is_err(), "{event} {kind}");
        }
        assert!(bulk_event(&raw(r#""?""#), "application/octet-stream").is_err());
    }
}
