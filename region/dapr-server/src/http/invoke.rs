//! Service invocation over HTTP.
//!
//! One idea: find the target (header, Basic user, path), bring the method into the one canonical form that is checked and
//! called, and stream the request through. Calls to the own App ID go to the own application; calls to others are not
//! available yet and say so. Must never pass on an identity that the caller claims.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::Body as _;
use http_body_util::Limited;
use palladium_http::Upload;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tonic::Code;

use super::{Answer, Body, Head};
use crate::app_channel::{CallError, strip_request, strip_response};
use crate::errors::Fault;
use crate::server::Server;

const APP_ID: &str = "dapr-app-id";
const IDENTITY: [&str; 3] = ["dapr-caller-app-id", "dapr-caller-namespace", "dapr-callee-app-id"];
/// What may not stand in a path: the rest is written as it is.
pub(crate) const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%')
    .add(b'\\')
    .add(b'^')
    .add(b'|')
    .add(b'[')
    .add(b']');

pub(super) async fn call(server: &Arc<Server>, head: Head, body: Upload) -> Answer {
    let Some((target, method)) = target(&head) else {
        let message = "failed getting app id either from the URL path or the header dapr-app-id";
        return Err(Fault::plain(
            404,
            Code::NotFound,
            "ERR_DIRECT_INVOKE",
            "service-invocation",
            message,
        ));
    };
    if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > server.max_body()) {
        return Err(Fault::invoke(
            413,
            Code::ResourceExhausted,
            &target,
            "request body too large",
        ));
    }
    let body = if body.is_end_stream() {
        Body::Empty
    } else {
        Body::Limited(Limited::new(body, server.max_body()))
    };
    let call = Invocation {
        target,
        method,
        query: head.query,
        verb: head.method,
        headers: head.headers,
        body,
    };
    invoke(server, call).await
}

/// One call of an application, whichever protocol it came by.
pub(crate) struct Invocation {
    /// The App ID as the caller wrote it, with or without its namespace.
    pub(crate) target: String,
    /// The path at the application, still percent-encoded.
    pub(crate) method: String,
    /// The query without its question mark.
    pub(crate) query: Option<String>,
    /// The HTTP method.
    pub(crate) verb: Method,
    /// The caller's headers.
    pub(crate) headers: HeaderMap,
    /// The request's body.
    pub(crate) body: Body,
}

/// Carries out a call; the answer has lost the headers of its connection.
///
/// # Errors
/// As a fault with Dapr's words and codes.
pub(crate) async fn invoke(server: &Server, call: Invocation) -> Result<Response<Body>, Fault> {
    let Invocation {
        target,
        method,
        query,
        verb,
        mut headers,
        body,
    } = call;
    let method = canonical(&method).map_err(|reason| Fault::invoke(400, Code::InvalidArgument, &target, reason))?;
    if !is_own(server, &target) {
        let reason = "calls to other App IDs are not available yet";
        return Err(Fault::invoke(501, Code::Unimplemented, &target, reason));
    }
    let Some(app) = server.app.load_full() else {
        return Err(Fault::invoke(
            500,
            Code::Internal,
            &target,
            "app channel is not initialized",
        ));
    };
    let mut path = format!("/{}", utf8_percent_encode(&method, PATH));
    if let Some(query) = query {
        path.push('?');
        path.push_str(&query);
    }
    // Before stamping: a header that the caller's `Connection` names would take a stamp along at the next hop.
    strip_request(&mut headers);
    stamp(&server.app_id, &server.namespace, &mut headers);
    let answer = app.call(verb, &path, headers, body).await.map_err(|error| {
        let code = if matches!(error, CallError::Timeout(_)) {
            Code::DeadlineExceeded
        } else {
            Code::Internal
        };
        Fault::invoke(500, code, &target, error)
    })?;
    let (mut parts, body) = answer.into_parts();
    strip_response(&mut parts.headers);
    Ok(Response::from_parts(parts, body))
}

fn is_own(server: &Server, target: &str) -> bool {
    match target.strip_prefix(server.app_id.as_str()) {
        Some("") => true,
        Some(rest) => {
            let own = if server.namespace.is_empty() {
                "default"
            } else {
                &server.namespace
            };
            rest.strip_prefix('.') == Some(own)
        }
        None => false,
    }
}

/// Says who calls: here always the own App ID.
fn stamp(app_id: &str, namespace: &str, headers: &mut HeaderMap) {
    // Some servers read an underscore as a dash.
    let claims = |name: &&HeaderName| IDENTITY.contains(&name.as_str().replace('_', "-").as_str());
    let claimed: Vec<HeaderName> = headers.keys().filter(claims).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    for (name, value) in IDENTITY.into_iter().zip([app_id, namespace, app_id]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// The target and the method, the latter still percent-encoded.
fn target(head: &Head) -> Option<(String, String)> {
    let path = head.path.trim_start_matches('/');
    if let Some(id) = head
        .headers
        .get(APP_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| !id.is_empty())
    {
        return Some((id.to_owned(), path.to_owned()));
    }
    if let Some(id) = basic_user(&head.headers) {
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
    (!id.is_empty()).then(|| (id.into_owned(), method.to_owned()))
}

/// `http://dapr-app-id:<id>@host/<method>`.
fn basic_user(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, id) = text.split_once(':')?;
    (user.eq_ignore_ascii_case(APP_ID) && !id.is_empty() && !id.contains(':')).then(|| id.to_owned())
}

/// Decoded, without `.`, `..`, doubled slashes, and nothing in it that another program could read differently.
fn canonical(method: &str) -> Result<String, &'static str> {
    let decoded: Cow<'_, str> = percent_decode_str(method)
        .decode_utf8()
        .map_err(|_| "the method is not valid UTF-8")?;
    if decoded
        .bytes()
        .any(|byte| byte < 0x20 || byte == 0x7f || byte == b'#' || byte == b'?')
    {
        return Err("the method has characters that are not allowed");
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    Ok(kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_a_caller_cannot_have_the_stamp_removed() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("dapr-caller-app-id, close"));
        for name in [
            "dapr-caller-app-id",
            "dapr_caller_app_id",
            "dapr-caller_namespace",
            "dapr-callee-app-id",
        ] {
            headers.append(name, HeaderValue::from_static("somebody"));
            headers.append(name, HeaderValue::from_static("somebody else"));
        }
        strip_request(&mut headers);
        stamp("orders", "", &mut headers);
        // What the way to the application does once more.
        strip_request(&mut headers);
        assert_eq!(headers["dapr-caller-app-id"], "orders");
        assert_eq!(headers["dapr-caller-namespace"], "default");
        assert_eq!(headers["dapr-callee-app-id"], "orders");
        assert_eq!(headers.len(), 3, "{headers:?}");
    }

    #[test]
    fn methods_have_one_form() {
        for (given, expected) in [
            ("a/b", "a/b"),
            ("a//b/./c", "a/b/c"),
            ("../../etc/x", "etc/x"),
            ("a%2Fb", "a/b"),
            ("a%20b", "a b"),
            ("", ""),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(expected), "{given}");
        }
        for bad in ["a%3Fb", "a%23", "a%00", "a%0a", "%ff"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_come_from_three_places() {
        let head = |path: &str, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().expect("ascii"));
            }
            Head {
                method: Method::GET,
                headers: map,
                query: None,
                path: path.to_owned(),
            }
        };
        let is = |found: Option<(String, String)>, id: &str, method: &str| {
            assert_eq!(found, Some((id.to_owned(), method.to_owned())));
        };
        is(target(&head("/v1.0/invoke/app.ns/method/x/y", &[])), "app.ns", "x/y");
        is(
            target(&head("/v1.0/invoke/http%3A%2F%2Fh%3A1/method/x", &[])),
            "http://h:1",
            "x",
        );
        is(target(&head("/x/y", &[(APP_ID, "app")])), "app", "x/y");
        let basic = format!("Basic {}", STANDARD.encode("dapr-app-id:app"));
        is(target(&head("/x", &[("authorization", &basic)])), "app", "x");
        assert_eq!(target(&head("/x", &[])), None);
        assert_eq!(target(&head("/v1.0/invoke/app", &[])), None);
    }
}
