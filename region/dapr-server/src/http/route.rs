//! The routes of the API as one table.
//!
//! One idea: a path is cleaned as a whole, cut at its slashes, and matched as a slice; parts that hold names are decoded
//! after matching, so an encoded slash never makes a new part. What matches nothing is a call to an application. Must
//! never touch the path that an application is to see.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

/// A matched request.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// Read one key.
    StateGet { store: Cow<'a, str>, key: Cow<'a, str> },
    /// Write.
    StateSave { store: Cow<'a, str> },
    /// Delete one key.
    StateDelete { store: Cow<'a, str>, key: Cow<'a, str> },
    /// Read many keys.
    StateBulkGet { store: Cow<'a, str> },
    /// All or none.
    StateTransaction { store: Cow<'a, str> },
    /// Query (alpha).
    StateQuery { store: Cow<'a, str> },
    /// Publish one message.
    Publish { pubsub: Cow<'a, str>, topic: Cow<'a, str> },
    /// Publish many messages.
    BulkPublish {
        pubsub: Cow<'a, str>,
        topic: Cow<'a, str>,
        version: &'static str,
    },
    /// Read one secret.
    SecretGet { store: Cow<'a, str>, name: Cow<'a, str> },
    /// Read all secrets.
    SecretGetAll { store: Cow<'a, str> },
    /// Call a binding.
    Binding { name: Cow<'a, str> },
    /// Talk to a language model.
    Converse { name: Cow<'a, str>, version: &'static str },
    /// Read configuration.
    ConfigurationGet { store: Cow<'a, str>, version: &'static str },
    /// Have the application told of changed configuration.
    ConfigurationSubscribe { store: Cow<'a, str>, version: &'static str },
    /// End that.
    ConfigurationUnsubscribe {
        store: Cow<'a, str>,
        id: Cow<'a, str>,
        version: &'static str,
    },
    /// Take a lock.
    Lock { store: Cow<'a, str> },
    /// Give a lock back.
    Unlock { store: Cow<'a, str> },
    /// Encrypt a document.
    Encrypt { name: Cow<'a, str> },
    /// Decrypt one.
    Decrypt { name: Cow<'a, str> },
    /// Tell about this process.
    MetadataGet,
    /// Attach a name and a value to this process.
    MetadataPut { key: Cow<'a, str> },
    /// Ready?
    Health,
    /// Ready for outgoing calls?
    HealthOutbound,
    /// Stop.
    Shutdown,
    /// Call an application by path.
    Invoke,
    /// Known to Dapr, not served by this program yet.
    Unavailable { group: &'static str, version: &'static str },
    /// A part that cannot be decoded.
    Malformed(&'static str),
    /// Anything else: perhaps a call to an application by header.
    Fallback,
}

/// The group of the API that a route belongs to.
pub struct Group {
    /// As rules name it.
    pub name: &'static str,
    /// As the path spells it.
    pub version: &'static str,
}

impl Route<'_> {
    /// The group for rules and logs.
    pub fn group(&self) -> Group {
        let (name, version) = match self {
            Self::StateGet { .. }
            | Self::StateSave { .. }
            | Self::StateDelete { .. }
            | Self::StateBulkGet { .. }
            | Self::StateTransaction { .. } => ("state", "v1.0"),
            Self::StateQuery { .. } => ("state", "v1.0-alpha1"),
            Self::Publish { .. } => ("publish", "v1.0"),
            Self::BulkPublish { version, .. } => ("publish", *version),
            Self::SecretGet { .. } | Self::SecretGetAll { .. } => ("secrets", "v1.0"),
            Self::Binding { .. } => ("bindings", "v1.0"),
            Self::Converse { version, .. } => ("conversation", *version),
            Self::ConfigurationGet { version, .. }
            | Self::ConfigurationSubscribe { version, .. }
            | Self::ConfigurationUnsubscribe { version, .. } => ("configuration", *version),
            Self::Lock { .. } => ("lock", "v1.0-alpha1"),
            Self::Unlock { .. } => ("unlock", "v1.0-alpha1"),
            Self::Encrypt { .. } | Self::Decrypt { .. } => ("crypto", "v1.0-alpha1"),
            Self::MetadataGet | Self::MetadataPut { .. } => ("metadata", "v1.0"),
            Self::Health | Self::HealthOutbound => ("healthz", "v1.0"),
            Self::Shutdown => ("shutdown", "v1.0"),
            Self::Invoke | Self::Fallback | Self::Malformed(_) => ("invoke", "v1.0"),
            Self::Unavailable { group, version } => (*group, *version),
        };
        Group { name, version }
    }

    /// Whether the handler never looks at the original path.
    pub fn is_fast(&self) -> bool {
        !matches!(self, Self::Invoke | Self::Fallback)
    }
}

/// Matches a cleaned path.
pub fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    if let ("POST" | "PUT", Some(matched)) = (method.as_str(), publish(path)) {
        return matched;
    }
    let mut parts = [""; 8];
    let mut count = 0;
    for part in path.trim_start_matches('/').splitn(parts.len(), '/') {
        parts[count] = part;
        count += 1;
    }
    let matched = match (method.as_str(), &parts[..count]) {
        ("GET", ["v1.0", "state", store, key]) => pair(store, key, |store, key| Route::StateGet { store, key }),
        ("POST" | "PUT", ["v1.0", "state", store]) => name(store, |store| Route::StateSave { store }),
        ("DELETE", ["v1.0", "state", store, key]) => pair(store, key, |store, key| Route::StateDelete { store, key }),
        ("POST" | "PUT", ["v1.0", "state", store, "bulk"]) => name(store, |store| Route::StateBulkGet { store }),
        ("POST" | "PUT", ["v1.0", "state", store, "transaction"]) => {
            name(store, |store| Route::StateTransaction { store })
        }
        ("POST" | "PUT", ["v1.0-alpha1", "state", store, "query"]) => name(store, |store| Route::StateQuery { store }),
        ("GET", ["v1.0", "secrets", store, "bulk"]) => name(store, |store| Route::SecretGetAll { store }),
        ("GET", ["v1.0", "secrets", store, key]) => pair(store, key, |store, name| Route::SecretGet { store, name }),
        ("POST" | "PUT", ["v1.0", "bindings", binding]) => name(binding, |name| Route::Binding { name }),
        ("POST", ["v1.0-alpha1", "conversation", component, "converse"]) => name(component, |name| Route::Converse {
            name,
            version: "v1.0-alpha1",
        }),
        ("POST", ["v1.0-alpha2", "conversation", component, "converse"]) => name(component, |name| Route::Converse {
            name,
            version: "v1.0-alpha2",
        }),
        ("GET", [version @ ("v1.0" | "v1.0-alpha1"), "configuration", rest @ ..]) => configuration(version, rest),
        ("POST", ["v1.0-alpha1", "lock", store]) => name(store, |store| Route::Lock { store }),
        ("POST", ["v1.0-alpha1", "unlock", store]) => name(store, |store| Route::Unlock { store }),
        ("PUT", ["v1.0-alpha1", "crypto", component, "encrypt"]) => name(component, |name| Route::Encrypt { name }),
        ("PUT", ["v1.0-alpha1", "crypto", component, "decrypt"]) => name(component, |name| Route::Decrypt { name }),
        ("GET", ["v1.0", "metadata"]) => Some(Route::MetadataGet),
        ("PUT", ["v1.0", "metadata", key]) => name(key, |key| Route::MetadataPut { key }),
        ("GET", ["v1.0", "healthz"]) => Some(Route::Health),
        ("GET", ["v1.0", "healthz", "outbound"]) => Some(Route::HealthOutbound),
        ("POST", ["v1.0", "shutdown"]) => Some(Route::Shutdown),
        (_, ["v1.0", "invoke", ..]) => Some(Route::Invoke),
        (_, [version, group, _, ..]) => Some(unavailable(version, group)),
        _ => Some(Route::Fallback),
    };
    matched.unwrap_or(Route::Malformed("failed to unescape request parameter"))
}

/// Configuration, the same in both versions.
fn configuration<'a>(version: &str, rest: &[&'a str]) -> Option<Route<'a>> {
    let version = if version == "v1.0" { "v1.0" } else { "v1.0-alpha1" };
    match rest {
        [store] => name(store, |store| Route::ConfigurationGet { store, version }),
        [store, "subscribe"] => name(store, |store| Route::ConfigurationSubscribe { store, version }),
        [store, id, "unsubscribe"] => pair(store, id, |store, id| Route::ConfigurationUnsubscribe {
            store,
            id,
            version,
        }),
        _ => Some(Route::Fallback),
    }
}

/// Publishing: everything behind the component's name is the topic, slashes too.
fn publish(path: &str) -> Option<Route<'_>> {
    let malformed = Some(Route::Malformed("failed to unescape request parameter"));
    let (version, rest) = match path.strip_prefix("/v1.0/publish/") {
        Some(rest) => ("v1.0", rest),
        None => ("v1.0-alpha1", path.strip_prefix("/v1.0-alpha1/publish/bulk/")?),
    };
    let many = match version {
        "v1.0" => rest.strip_prefix("bulk/"),
        _ => Some(rest),
    };
    let (pubsub, topic) = many
        .unwrap_or(rest)
        .split_once('/')
        .unwrap_or((many.unwrap_or(rest), ""));
    let matched = match (many, decode(pubsub), decode(topic)) {
        (_, None, _) | (_, _, None) => return malformed,
        (None, Some(pubsub), Some(topic)) => Route::Publish { pubsub, topic },
        (Some(_), Some(pubsub), Some(topic)) => Route::BulkPublish { pubsub, topic, version },
    };
    Some(matched)
}

/// Groups that Dapr has and this program has not yet: a truthful 501 instead of "no app id".
fn unavailable(version: &str, group: &str) -> Route<'static> {
    const GROUPS: [&str; 5] = ["actors", "subtlecrypto", "workflows", "jobs", "job"];
    const VERSIONS: [&str; 4] = ["v1.0", "v1.0-alpha1", "v1.0-alpha2", "v1.0-beta1"];
    let version = VERSIONS.into_iter().find(|known| *known == version);
    let group = GROUPS.into_iter().find(|known| *known == group);
    match (version, group) {
        (Some(version), Some(group)) => Route::Unavailable { group, version },
        _ => Route::Fallback,
    }
}

fn name<'a>(part: &'a str, make: impl FnOnce(Cow<'a, str>) -> Route<'a>) -> Option<Route<'a>> {
    decode(part).map(make)
}

fn pair<'a>(
    first: &'a str,
    second: &'a str,
    make: impl FnOnce(Cow<'a, str>, Cow<'a, str>) -> Route<'a>,
) -> Option<Route<'a>> {
    Some(make(decode(first)?, decode(second)?))
}

/// Decodes as Dapr does: percent escapes, and a plus is a space.
fn decode(part: &str) -> Option<Cow<'_, str>> {
    if !part.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Some(Cow::Borrowed(part));
    }
    let bytes = part.as_bytes();
    let well_formed = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| {
            bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
    if !well_formed {
        return None;
    }
    let spaced = part.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(|decoded| Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Route<'_> {
        route(&Method::GET, path)
    }

    #[test]
    fn names_are_decoded_after_matching() {
        assert_eq!(
            get("/v1.0/state/my+store/a%2Fb%2B"),
            Route::StateGet {
                store: "my store".into(),
                key: "a/b+".into()
            }
        );
        assert!(matches!(get("/v1.0/state/s/%zz"), Route::Malformed(_)));
        assert_eq!(get("/v1.0/state/s/a/b"), Route::Fallback);
    }

    #[test]
    fn a_topic_is_everything_behind_the_component() {
        let post = |path: &'static str| route(&Method::POST, path);
        let (pubsub, topic) = ("ps".into(), "a/b c".into());
        assert_eq!(post("/v1.0/publish/ps/a/b%20c"), Route::Publish { pubsub, topic });
        let (pubsub, topic) = ("ps".into(), "".into());
        assert_eq!(post("/v1.0/publish/ps"), Route::Publish { pubsub, topic });
        for (path, version) in [
            ("/v1.0/publish/bulk/ps/t/u", "v1.0"),
            ("/v1.0-alpha1/publish/bulk/ps/t/u", "v1.0-alpha1"),
        ] {
            let (pubsub, topic) = ("ps".into(), "t/u".into());
            assert_eq!(post(path), Route::BulkPublish { pubsub, topic, version });
        }
        assert!(matches!(post("/v1.0/publish/ps/%zz"), Route::Malformed(_)));
        assert_eq!(get("/v1.0/publish/ps/t"), Route::Fallback);
    }

    #[test]
    fn every_other_path_is_a_call_to_an_application() {
        assert_eq!(get("/v1.0/invoke/a/method/b/c/d/e/f/g"), Route::Invoke);
        assert_eq!(get("/orders"), Route::Fallback);
        assert_eq!(get("/"), Route::Fallback);
        assert_eq!(route(&Method::OPTIONS, "/v1.0/metadata"), Route::Fallback);
        assert!(matches!(get("/v1.0/jobs/s"), Route::Unavailable { group: "jobs", .. }));
    }

    #[test]
    fn configuration_locks_and_documents() {
        let (store, version) = ("s".into(), "v1.0");
        assert_eq!(get("/v1.0/configuration/s"), Route::ConfigurationGet { store, version });
        let (store, version) = ("a b".into(), "v1.0-alpha1");
        let subscribed = get("/v1.0-alpha1/configuration/a%20b/subscribe");
        assert_eq!(subscribed, Route::ConfigurationSubscribe { store, version });
        let (store, id, version) = ("s".into(), "1-2".into(), "v1.0");
        let ended = get("/v1.0/configuration/s/1-2/unsubscribe");
        assert_eq!(ended, Route::ConfigurationUnsubscribe { store, id, version });
        assert_eq!(get("/v1.0/configuration/s/t"), Route::Fallback);
        assert_eq!(route(&Method::POST, "/v1.0/configuration/s"), Route::Fallback);
        let (post, put) = (|path| route(&Method::POST, path), |path| route(&Method::PUT, path));
        assert_eq!(post("/v1.0-alpha1/lock/s"), Route::Lock { store: "s".into() });
        assert_eq!(post("/v1.0-alpha1/unlock/s"), Route::Unlock { store: "s".into() });
        assert_eq!(post("/v1.0/lock/s"), Route::Fallback);
        assert_eq!(
            put("/v1.0-alpha1/crypto/k/encrypt"),
            Route::Encrypt { name: "k".into() }
        );
        assert_eq!(
            put("/v1.0-alpha1/crypto/k/decrypt"),
            Route::Decrypt { name: "k".into() }
        );
        assert_eq!(post("/v1.0-alpha1/crypto/k/decrypt"), Route::Fallback);
    }
}
