//! Service invocation over HTTP.
//!
//! One idea: find the target (header, Basic user, path), decode the method once, and show the answer as it is. What an
//! application answers by gRPC becomes HTTP here. Must never choose or dial a target itself: that is `crate::invoke`, so
//! that both protocols keep the same rules.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Limited;
use palladium_proto::common::HttpExtension;
use palladium_proto::internals::Status as InternalStatus;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use tonic::Code;

use super::{Answer, Body, Head, Incoming, read};
use crate::errors::Fault;
use crate::invoke::{
    APP_ID, Invocation, InvokeError, Origin, Outcome, Reply, decode, for_http, http_status, invoke, verb_of,
    wants_events,
};
use crate::server::Server;

/// Bodies up to this many bytes are read before they are sent on: in one piece they are cheaper, and can be sent again.
const WHOLE: u64 = 64 << 10;

pub(super) async fn call(server: &Arc<Server>, head: Head, body: Incoming) -> Answer {
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
    let method = match decode(&method) {
        Ok(method) => method.into_owned(),
        Err(error) => return Err(InvokeError::from(error).fault(&target)),
    };
    if let Some(about) = &head.about {
        about.invoked(&target, &method);
    }
    let limit = server.max_body();
    let length = body.size_hint().exact();
    if body.size_hint().lower() > limit as u64 {
        let reason = "request body too large";
        return Err(Fault::invoke(413, Code::ResourceExhausted, &target, reason));
    }
    let body = if body.is_end_stream() {
        Body::Empty
    } else if length.is_some_and(|length| length <= WHOLE) {
        let whole = read(body, limit).await;
        Body::from(whole.map_err(|fault| match fault.status() {
            StatusCode::BAD_REQUEST => Fault::invoke(500, Code::Internal, &target, fault.report.message),
            _ => fault,
        })?)
    } else {
        Body::Limited(Limited::new(body.passing(), limit))
    };
    let events = wants_events(&head.headers);
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let call = Invocation {
        method,
        http: Some(HttpExtension {
            verb: verb_of(&head.method).into(),
            querystring: head.query.unwrap_or_default(),
        }),
        origin: Origin::Http,
        content_type: String::from_utf8_lossy(content_type.unwrap_or_default()).into_owned(),
        type_url: String::new(),
        length: match &body {
            Body::Empty => None,
            _ => length,
        },
        headers: head.headers,
        body,
        target,
    };
    let target = call.target.clone();
    let reply = invoke(server, call).await.map_err(|error| error.fault(&target))?;
    Ok(shown(reply, events))
}

/// An answer for a caller that speaks HTTP.
fn shown(reply: Reply, events: bool) -> Response<Body> {
    let mut headers = reply.headers;
    for_http(&mut headers);
    let kind = if reply.type_url.is_empty() {
        reply.content_type
    } else {
        "application/x-protobuf".to_owned()
    };
    if let Ok(kind) = HeaderValue::try_from(kind)
        && !kind.is_empty()
    {
        headers.insert(CONTENT_TYPE, kind);
    }
    let (status, body) = match reply.outcome {
        Outcome::Http(status) => (status, reply.body),
        Outcome::Grpc(status) => match http_status(status.code) {
            StatusCode::OK => (StatusCode::OK, reply.body),
            other => (other, Body::from(status_json(&status))),
        },
    };
    if events && status.is_success() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// A status as protobuf's JSON. Details are told by their type alone: what they hold only their own kind knows.
fn status_json(status: &InternalStatus) -> String {
    let mut json = Map::new();
    if status.code != 0 {
        json.insert("code".to_owned(), status.code.into());
    }
    if !status.message.is_empty() {
        json.insert("message".to_owned(), status.message.as_str().into());
    }
    let details: Vec<Value> = status
        .details
        .iter()
        .map(|detail| serde_json::json!({ "@type": detail.type_url }))
        .collect();
    if !details.is_empty() {
        json.insert("details".to_owned(), details.into());
    }
    Value::Object(json).to_string()
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
    use http::Method;

    use super::*;

    #[test]
    fn a_grpc_status_is_shown_as_http() {
        let status = tonic::Status::not_found("no such thing");
        let answer = shown(Reply::failed(&status), false);
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let status = InternalStatus {
            code: 5,
            message: "m".into(),
            ..InternalStatus::default()
        };
        assert_eq!(status_json(&status), r#"{"code":5,"message":"m"}"#);
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
                about: None,
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
