//! Lists of HTTP headers that objects ask to be sent.
//!
//! One idea: a header has a name that HTTP allows, stands in a list once, and its value fits into one line; all but a few
//! are credentials. Must never let a value break out of its line.

use serde_json::Value;

use crate::error::FieldErrors;
use crate::values::{NameValuePair, check_slot};

/// Complains about names that HTTP does not allow, what stands twice, and values that do not fit into a line.
pub fn check(list: &str, headers: &[NameValuePair], own_store: bool, errors: &mut FieldErrors) {
    if headers.len() > HEADERS_MAX {
        errors.push(list, format!("holds more than {HEADERS_MAX} headers"), "remove some");
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, header) in headers.iter().enumerate() {
        let name = &header.name;
        if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            errors.push(
                format!("{list}[{index}].name"),
                "is not the name of a header",
                "use letters, digits, '-' and '_'",
            );
            continue;
        }
        let (field, lower) = (header.field(list), name.to_ascii_lowercase());
        if OF_HTTP.contains(&lower.as_str()) {
            errors.push(&field, "is a header that HTTP itself needs", "choose another");
        }
        if !seen.insert(lower) {
            errors.push(&field, "is set twice", "keep one of them");
        }
        check_slot(&field, header.slot(), own_store, errors);
        if let Some(Value::String(text)) = &header.value
            && !text.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b))
        {
            errors.push(&field, "cannot be sent in a header", "use printable ASCII");
        }
    }
}

const HEADERS_MAX: usize = 64;
const OF_HTTP: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
];

/// Whether a header of this name holds no secret, so that its value stays readable. Of all others every value counts as one.
pub fn is_plain(name: &str) -> bool {
    PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name))
}

const PLAIN: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-language",
    "content-type",
    "origin",
    "referer",
    "user-agent",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(items: Value) -> String {
        let mut errors = FieldErrors::default();
        let headers: Vec<NameValuePair> = serde_json::from_value(items).unwrap();
        check("spec.headers", &headers, false, &mut errors);
        errors.to_string()
    }

    #[test]
    fn sec_102_a_header_cannot_smuggle_another_one() {
        for bad in [
            json!([{"name": "x\r\nhost", "value": "a"}]),
            json!([{"name": "x", "value": "a\r\nhost: b"}]),
            json!([{"name": "x:", "value": "a"}]),
            json!([{"name": "Content-Length", "value": "5"}]),
            json!([{"name": "x", "value": "a"}, {"name": "X", "value": "b"}]),
            json!([{"name": "x", "value": {"y": 1}}]),
            json!([{"name": "x", "secretKeyRef": {"name": "s", "key": "k"}}]),
            json!([{"name": "x", "value": "a", "secretKeyRef": {"name": "palladium", "key": "k"}}]),
        ] {
            assert!(!headers(bad.clone()).is_empty(), "{bad}");
        }
        assert_eq!(headers(json!([{"name": "Authorization", "value": "Bearer a.b-c"}])), "");
    }
}
