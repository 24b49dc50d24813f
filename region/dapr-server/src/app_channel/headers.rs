//! Which headers cross the Dapr Server on the way to an application and back.
//!
//! One idea: what describes one connection (RFC 9110, 7.6.1) or speaks to the Dapr Server ends here. Identity headers are
//! never taken from a caller: whoever calls [`strip_request`] stamps them anew.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName};

const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const FOR_US: [&str; 2] = ["dapr-app-id", "dapr-api-token"];

/// Headers of a request that the next connection makes for itself, or that are not the application's business.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_response(headers);
    headers.remove(HOST);
    for name in FOR_US {
        headers.remove(name);
    }
}

/// Headers of an answer that belong to the connection it came on. The length is known from the body.
pub fn strip_response(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
}

/// Whether a header is one that every connection makes for itself.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str()) || [HOST, CONTENT_LENGTH].contains(name)
}

/// Whether a name says who calls, or is one of a connection: then what travelled beside a message must not become a header.
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let starts = ["dapr-caller-", "dapr-callee-", "x-forwarded-"];
    starts.iter().any(|start| name.starts_with(start))
        || ["forwarded", "host", "content-length"].contains(&name.as_str())
        || FOR_US.contains(&name.as_str())
        || HOP_BY_HOP.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_cannot_say_who_calls() {
        for name in [
            "dapr-caller-app-id",
            "Dapr_Caller_Namespace",
            "X-Forwarded-For",
            "Connection",
            "dapr-api-token",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["traceparent", "x-mine", "ttlInSeconds", "dapr"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn nominated_and_fixed_headers_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-mine, close"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("host", "a"),
            ("dapr-api-token", "t"),
            ("content-type", "a/b"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, value.parse().expect("ascii"));
        }
        strip_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "x-kept"]);
    }
}
