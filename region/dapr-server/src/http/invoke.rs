//! Service invocation over HTTP.
//!
//! One idea: find the target (header, Basic user, path), decode the method once, and show the answer as it is. What an
//! application answers by gRPC becomes HTTP here. Must never choose or dial a target itself: that is `crate::invoke`, so
//! that both protocols keep the same rules.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::Limited;
use palladium_proto::common::HttpExtension;
use palladium_proto::internals::Status as InternalStatus;
use serde_json::{Map, Value};
use tonic::Code;

use super::target::target;
use super::{Answer, Body, Head, Incoming, read};
use crate::errors::Fault;
use crate::invoke::{
    Invocation, InvokeError, Origin, Outcome, Reply, decode, for_http, http_status, invoke, verb_of, wants_events,
};
use crate::server::Server;

/// Bodies up to this many bytes are read before they are sent on: in one piece they are cheaper, and can be sent again.
const WHOLE: u64 = 64 << 10;

pub(super) async fn call(server: &Arc<Server>, head: Head, body: Incoming) -> Answer {
    let Some((target, method)) = target(&head.path, &head.headers) else {
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

#[cfg(test)]
mod tests {
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
}
