//! Which headers pass. One idea: an application may say what it wants, never who it or anybody else is.
//!
//! Removed are headers that belong to one connection, headers in which proxies state identities, and look-alikes with an
//! underscore, which some servers read as a dash. Kept are targets (`dapr-app-id`, `dapr-callee-app-id`) and the token.
//! Must never let a `Connection` header take away a header that security rests on.

use http::header::{CONNECTION, HeaderName, TE};
use http::{HeaderMap, HeaderValue};

/// Cleans a request's headers before they leave for a Dapr Server.
pub(crate) fn clean_request(headers: &mut HeaderMap, http2: bool) {
    let mut doomed: Vec<HeaderName> = Vec::new();
    if headers.contains_key(CONNECTION) {
        doomed.extend(nominated(headers));
    }
    doomed.extend(headers.keys().filter(|name| is_forbidden(name.as_str())).cloned());
    let trailers = http2
        && headers
            .get(TE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in doomed {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what belongs to the connection with the Dapr Server from an answer.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

/// Headers of one connection (RFC 9110, 7.6.1), and those that we answer ourselves.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Headers in which somebody states who the caller is, or which only the platform's own processes may send.
const IDENTITY: &[&str] = &[
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "remote-user",
    "true-client-ip",
    "x-real-ip",
];
const IDENTITY_PREFIXES: &[&str] = &[
    "cf-connecting-",
    "dapr-caller-",
    "palladium-",
    "ssl-client-",
    "x-client-",
    "x-dapr-",
    "x-envoy-",
    "x-forwarded",
    "x-palladium-",
    "x-remote-",
    "x-spiffe-",
    "x-ssl-",
];

/// What a look-alike with an underscore may not imitate, and what a `Connection` header may not take away.
const TRUSTED: &[&str] = &[
    "authorization",
    "baggage",
    "cookie",
    "host",
    "te",
    "traceparent",
    "tracestate",
    "user-agent",
];
const TRUSTED_PREFIXES: &[&str] = &["accept", "content-", "dapr-", "grpc-", "if-"];

fn is_forbidden(name: &str) -> bool {
    let listed = |name: &str| {
        // A first letter that begins none of them is the usual case.
        matches!(
            name.as_bytes().first(),
            Some(b'c' | b'd' | b'e' | b'f' | b'h' | b'k' | b'p' | b'r' | b's' | b't' | b'u' | b'x')
        ) && (HOP_BY_HOP.contains(&name)
            || IDENTITY.contains(&name)
            || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    };
    if memchr::memchr(b'_', name.as_bytes()).is_none() {
        return listed(name);
    }
    let dashed = name.replace('_', "-");
    listed(&dashed) || is_trusted(&dashed)
}

fn is_trusted(name: &str) -> bool {
    TRUSTED.contains(&name) || TRUSTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The headers that `Connection` names, less those that are not its to name.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| !is_trusted(name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(lines: &[(&str, &str)], http2: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("name"),
                value.parse().expect("value"),
            );
        }
        clean_request(&mut headers, http2);
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn sec_055_claims_of_identity_are_stripped_and_targets_kept() {
        let claims = [
            "dapr-caller-app-id",
            "dapr-caller-namespace",
            "dapr_caller_app_id",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "x_forwarded_for",
            "x-forwarded_client-cert",
            "x-spiffe-id",
            "x-dapr-anything",
            "x-real-ip",
            "client-cert",
            "palladium-component",
            "dapr_api_token",
            "dapr_app_id",
            "content_length",
            "transfer_encoding",
        ];
        let lines: Vec<_> = claims.iter().map(|name| (*name, "forged")).collect();
        assert_eq!(cleaned(&lines, false), Vec::<String>::new());
        let kept = [
            "dapr-api-token",
            "dapr-app-id",
            "dapr-callee-app-id",
            "my_metadata",
            "traceparent",
            "x-request-id",
        ];
        let lines: Vec<_> = kept.iter().map(|name| (*name, "v")).collect();
        assert_eq!(cleaned(&lines, true), kept);
    }

    #[test]
    fn sec_056_connection_cannot_take_the_token_away() {
        let lines = [
            ("connection", "dapr-api-token, x-mine, keep-alive"),
            ("connection", "dapr-app-id"),
            ("dapr-api-token", "t"),
            ("dapr-app-id", "a"),
            ("x-mine", "1"),
        ];
        assert_eq!(cleaned(&lines, false), ["dapr-api-token", "dapr-app-id"]);
    }

    #[test]
    fn te_passes_only_as_trailers_over_http2() {
        assert_eq!(cleaned(&[("te", "trailers")], true), ["te"]);
        assert!(cleaned(&[("te", "trailers")], false).is_empty());
        assert!(cleaned(&[("te", "gzip")], true).is_empty());
    }
}
