//! Values in columns that hold only JSON.
//!
//! One idea: JSON is kept as it is, everything else as a JSON text in Base64, and a column beside it says which. Must never
//! take bytes for JSON because they look like it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::{SetRequest, ValueForm};

/// The JSON that stands for a value, and whether it is packed bytes.
pub(crate) fn pack(request: &SetRequest) -> (String, bool) {
    let json = match request.form {
        ValueForm::Json => std::str::from_utf8(&request.value).ok(),
        ValueForm::Binary => None,
    };
    // A NUL in a text is JSON, and yet PostgreSQL's `jsonb` does not take it.
    match json.filter(|text| !text.contains("\\u0000")) {
        Some(text) => (text.to_owned(), false),
        None => (format!("\"{}\"", STANDARD.encode(&request.value)), true),
    }
}

/// The bytes that were packed.
pub(crate) fn unpack(stored: &[u8]) -> Result<Bytes, StateError> {
    let inner = stored.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let bytes = inner.and_then(|inner| STANDARD.decode(inner).ok());
    bytes
        .map(Bytes::from)
        .ok_or_else(|| StateError::Other("failed to decode binary data".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_packed() {
        let set = |value: &'static [u8], form| SetRequest {
            value: Bytes::from_static(value),
            form,
            ..SetRequest::default()
        };
        assert_eq!(pack(&set(b"{\"a\":1}", ValueForm::Json)), ("{\"a\":1}".into(), false));
        for (value, form) in [
            (&b"{\"a\":1}"[..], ValueForm::Binary),
            (b"\"a\\u0000b\"", ValueForm::Json),
            (b"\xff\xfe?>", ValueForm::Binary),
            (b"", ValueForm::Binary),
        ] {
            let (packed, is_binary) = pack(&set(value, form));
            assert!(is_binary, "{value:?}");
            assert_eq!(unpack(packed.as_bytes()).unwrap(), value);
        }
        for stored in [&b"bare"[..], b"\"", b"\"?\"", b"{}", b""] {
            assert!(unpack(stored).is_err(), "{stored:?}");
        }
    }
}
