//! Whom a call over HTTP is for, and which method of theirs.
//!
//! One idea: a header, the user of Basic authorization or the path itself names the App ID, in this order; whatever of the
//! path is left is the method, still percent-encoded. Must never decode the method: that is done once, by whoever calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

use crate::invoke::APP_ID;

/// The target and the method, the latter still percent-encoded. `path`: as it came, not as it is routed by, which would take
/// a slash from a target `http://host`. Dots that are left in the method are taken out before access control is asked and the
/// application called. What stands in a pipeline and judges paths must not trust one that has dots: `path_filter` of the drivers.
pub(crate) fn target(path: &str, headers: &HeaderMap) -> Option<(String, String)> {
    let path = path.trim_start_matches('/');
    if let Some(id) = headers
        .get(APP_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| !id.is_empty())
    {
        return Some((id.to_owned(), path.to_owned()));
    }
    if let Some(id) = basic_user(headers) {
        return Some((id, path.to_owned()));
    }
    let rest = path
        .strip_prefix("v1.0/")?
        .trim_start_matches('/')
        .strip_prefix("invoke/")?
        .trim_start_matches('/');
    let at = rest.find("/method/")?;
    let (id, method) = (&rest[..at], &rest[at + "/method/".len()..]);
    let id = id.replace('+', " ");
    let id = percent_decode_str(&id).decode_utf8().ok()?;
    (!id.is_empty()).then(|| (id.into_owned(), method.trim_start_matches('/').to_owned()))
}

/// `http://dapr-app-id:<id>@host/<method>`.
fn basic_user(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, id) = text.split_once(':')?;
    (user.eq_ignore_ascii_case(APP_ID) && !id.is_empty() && !id.contains(':')).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_from_three_places() {
        let of = |path: &str, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().expect("ascii"));
            }
            target(path, &map)
        };
        let is = |found: Option<(String, String)>, id: &str, method: &str| {
            assert_eq!(found, Some((id.to_owned(), method.to_owned())));
        };
        is(of("/v1.0/invoke/app.ns/method/x/y", &[]), "app.ns", "x/y");
        is(of("/v1.0/invoke/http%3A%2F%2Fh%3A1/method/x", &[]), "http://h:1", "x");
        is(of("/x/y", &[(APP_ID, "app")]), "app", "x/y");
        let basic = format!("Basic {}", STANDARD.encode("dapr-app-id:app"));
        is(of("/x", &[("authorization", &basic)]), "app", "x");
        assert_eq!(of("/x", &[]), None);
        assert_eq!(of("/v1.0/invoke/app", &[]), None);
    }
}
