//! Headers and gRPC metadata, and the form in which they travel between two Dapr Servers.
//!
//! One idea: what belongs to one connection ends at each hop; everything else keeps its values and their order. Towards a
//! peer, names of HTTP headers are written as Go writes them, because the original tells headers and metadata apart by
//! that. Must never take an identity from a caller: [`unclaim`] removes every spelling of it first.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::wire::{Entry, Values};
use crate::app_channel::{strip_request, strip_response};

/// Names the target of a call by header.
pub const APP_ID: &str = "dapr-app-id";
/// Names the target of a proxied gRPC call.
pub const CALLEE: &str = "dapr-callee-app-id";
/// Who calls.
pub const CALLER: &str = "dapr-caller-app-id";
/// In which namespace.
pub const CALLER_NAMESPACE: &str = "dapr-caller-namespace";
/// For the peer only.
const DESTINATION: &str = "destination-app-id";
const IDENTITY: [&str; 3] = [CALLER, CALLER_NAMESPACE, CALLEE];

/// Where headers come from, which decides how their names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// HTTP headers.
    Http,
    /// gRPC metadata.
    Grpc,
}

/// Who takes part in a call.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The calling App ID.
    pub caller: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The called App ID.
    pub callee: &'a str,
}

/// Says who calls whom, and removes whatever the caller says about it.
pub fn stamp(headers: &mut HeaderMap, parties: &Parties<'_>) {
    unclaim(headers);
    let values = [parties.caller, parties.namespace, parties.callee];
    for (name, value) in IDENTITY.into_iter().zip(values) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Removes whatever the caller says about who calls.
pub fn unclaim(headers: &mut HeaderMap) {
    // Some servers read an underscore as a dash.
    let claims = |name: &&HeaderName| IDENTITY.iter().any(|known| same_name(known, name.as_str()));
    let claimed: Vec<HeaderName> = headers.keys().filter(claims).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
}

fn same_name(known: &str, given: &str) -> bool {
    known.len() == given.len()
        && known
            .bytes()
            .zip(given.bytes())
            .all(|(known, given)| known == if given == b'_' { b'-' } else { given })
}

/// Metadata of a gRPC call without what the transport made.
pub fn strip_metadata(headers: &mut HeaderMap) {
    let transport: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("grpc-"))
        .cloned()
        .collect();
    for name in transport.into_iter().chain([TE]) {
        headers.remove(name);
    }
    for name in [APP_ID, crate::auth::TOKEN_HEADER] {
        headers.remove(name);
    }
}

/// Whether the caller wants a stream of events.
pub fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .is_some_and(|kind| kind.as_bytes().trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Headers as a peer reads them; `length`: of the body, if known; `destination`: the called App ID.
pub fn to_peer(headers: &HeaderMap, origin: Origin, length: Option<u64>, destination: &str) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(headers.len() + 2);
    put_all(headers, origin, &mut entries);
    put_length(length, origin, &mut entries);
    let destination = Bytes::copy_from_slice(destination.as_bytes());
    entries.push(one(Bytes::from_static(DESTINATION.as_bytes()), destination));
    entries
}

/// Headers or trailers of an answer; `length`: of the body, if known.
pub fn from_answer(headers: &HeaderMap, origin: Origin, length: Option<u64>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(headers.len() + 1);
    put_all(headers, origin, &mut entries);
    put_length(length, origin, &mut entries);
    entries
}

fn put_length(length: Option<u64>, origin: Origin, entries: &mut Vec<Entry>) {
    if let Some(length) = length {
        entries.push(one(spelled("content-length", origin), Bytes::from(length.to_string())));
    }
}

fn put_all(headers: &HeaderMap, origin: Origin, entries: &mut Vec<Entry>) {
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(text).collect();
        // Identity is matched in lower case, wherever it came from.
        let name = if IDENTITY.contains(&name.as_str()) {
            Bytes::copy_from_slice(name.as_str().as_bytes())
        } else {
            spelled(name.as_str(), origin)
        };
        entries.push(Entry {
            name,
            values: Some(Values { values }),
        });
    }
}

fn one(name: Bytes, value: Bytes) -> Entry {
    Entry {
        name,
        values: Some(Values { values: vec![value] }),
    }
}

/// A value as text, which is all that the protocol carries.
fn text(value: &HeaderValue) -> Bytes {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Bytes::copy_from_slice(text.as_bytes()),
        Err(_) => Bytes::from(String::from_utf8_lossy(value.as_bytes()).into_owned()),
    }
}

/// `content-type` as `Content-Type`, for HTTP.
fn spelled(name: &str, origin: Origin) -> Bytes {
    let mut name = name.as_bytes().to_vec();
    if origin == Origin::Http {
        let mut first = true;
        for byte in &mut name {
            if first {
                byte.make_ascii_uppercase();
            }
            first = *byte == b'-';
        }
    }
    name.into()
}

/// What came from a peer.
#[derive(Debug, Default)]
pub struct FromPeer {
    /// The headers for the next hop.
    pub headers: HeaderMap,
    /// Length of the body, if the sender knew it.
    pub length: Option<u64>,
}

/// Metadata of a peer's request as HTTP headers.
pub fn from_peer(entries: Vec<Entry>) -> FromPeer {
    let mut headers = HeaderMap::with_capacity(entries.len());
    for Entry { name, values } in entries {
        // Pseudo headers of HTTP/2 are metadata in Go.
        let name = match name.strip_prefix(b":") {
            Some(pseudo) => HeaderName::from_bytes(&[b"dapr-", pseudo].concat()),
            None => HeaderName::from_bytes(&name),
        };
        let Ok(name) = name else { continue };
        for value in values.unwrap_or_default().values {
            if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    headers.remove(DESTINATION);
    FromPeer { headers, length }
}

/// Headers for an application that speaks HTTP, or for a caller that does.
pub fn for_http(headers: &mut HeaderMap) {
    strip_response(headers);
    headers.remove(HOST);
    rename(headers, |name| name.starts_with("grpc-") && name != "grpc-trace-bin");
    let binary: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().ends_with("-bin"))
        .cloned()
        .collect();
    for name in binary {
        headers.remove(name);
    }
}

/// Metadata for an application that speaks gRPC, or for a caller that does: what HTTP defines gets a prefix, so that it is
/// not taken for the transport's own.
pub fn for_grpc(headers: &mut HeaderMap, origin: Origin) {
    strip_request(headers);
    if origin == Origin::Http {
        rename(headers, |name| {
            PERMANENT.contains(&name) || (name.starts_with("grpc-") && name != "grpc-trace-bin")
        });
    } else {
        headers.remove(CONTENT_TYPE);
        strip_metadata(headers);
    }
    headers.remove("user-agent");
}

fn rename(headers: &mut HeaderMap, which: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| which(name.as_str())).cloned().collect();
    for name in found {
        let Ok(renamed) = HeaderName::from_bytes(format!("dapr-{name}").as_bytes()) else {
            continue;
        };
        let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        headers.remove(name);
        for value in values {
            headers.append(renamed.clone(), value);
        }
    }
}

/// Headers that HTTP defines.
const PERMANENT: [&str; 21] = [
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "via",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("ascii"));
        }
        map
    }

    #[test]
    fn names_are_spelled_as_go_does_and_values_stay_together() {
        let headers = map(&[("x-request-id", "1"), ("accept", "a"), ("accept", "b"), (CALLER, "me")]);
        let entries = to_peer(&headers, Origin::Http, Some(5), "callee");
        let named = |name: &str| {
            let entry = entries.iter().find(|entry| entry.name == name.as_bytes());
            entry.and_then(|entry| entry.values.clone()).map(|values| values.values)
        };
        assert_eq!(named("X-Request-Id").map(|values| values.len()), Some(1));
        assert_eq!(named("Accept"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(named("Content-Length"), Some(vec!["5".into()]));
        assert_eq!(named(CALLER), Some(vec!["me".into()]));
        assert_eq!(named(DESTINATION), Some(vec!["callee".into()]));
        let back = from_peer(entries);
        assert_eq!(back.length, Some(5));
        assert_eq!(back.headers.get_all("accept").iter().count(), 2);
        assert!(!back.headers.contains_key(DESTINATION));
    }

    #[test]
    fn http_headers_get_a_prefix_towards_grpc_and_the_transports_own_end() {
        let mut headers = map(&[
            ("accept", "a"),
            ("x", "1"),
            ("grpc-status", "7"),
            ("te", "trailers"),
            ("connection", "x-mine"),
            ("x-mine", "1"),
        ]);
        for_grpc(&mut headers, Origin::Http);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["dapr-accept", "dapr-grpc-status", "x"]);
        let mut headers = map(&[("grpc-status", "7"), ("x-bin", "AA"), ("x", "1")]);
        for_http(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["dapr-grpc-status", "x"]);
    }

    #[test]
    fn sec_055_a_caller_cannot_claim_an_identity() {
        let mut headers = map(&[
            (CALLER, "somebody"),
            ("dapr_caller_app_id", "somebody"),
            ("dapr-caller_namespace", "x"),
            (CALLEE, "y"),
        ]);
        let parties = Parties {
            caller: "orders",
            namespace: "default",
            callee: "stock",
        };
        stamp(&mut headers, &parties);
        assert_eq!(headers.len(), 3, "{headers:?}");
        assert_eq!(headers[CALLER], "orders");
        assert_eq!(headers[CALLEE], "stock");
    }
}
