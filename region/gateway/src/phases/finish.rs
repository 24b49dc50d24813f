//! Last phase: the answer. A Dapr Server's is passed on less what belonged to its connection; ours is made from a
//! failure.
//!
//! The record of the request travels inside the body and ends with it. Must never pass a switch of protocols on, nor
//! tell a caller the reason of a failure, which is for the record.

use http::{HeaderValue, Response, StatusCode, header::CONNECTION};

use super::Exchange;
use super::forward::Answer;
use crate::body::{Body, Relay};
use crate::failure::{Failure, Kind};
use crate::headers;

pub(super) fn relay(exchange: Exchange, answer: Answer) -> Response<Body> {
    let (mut head, incoming) = answer.response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return fail(
            exchange,
            Kind::Unavailable.because("the Dapr Server switched protocols"),
        );
    }
    headers::clean_response(&mut head.headers);
    let mut record = exchange.record;
    record.status = head.status.as_u16();
    record.grpc_status(&head.headers);
    let relay = Relay {
        incoming,
        record,
        lease: Some(answer.lease),
        request: answer.request,
        grpc: exchange.grpc,
        grant: answer.grant,
        token_ended: None,
        failed: false,
    };
    let mut response = Response::new(Body::Relay(relay));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

pub(super) fn fail(exchange: Exchange, failure: Failure) -> Response<Body> {
    let mut record = exchange.record;
    record.status = failure.kind.status().as_u16();
    record.failed(failure.kind, failure.reason);
    let (response, bytes) = failure.kind.response(exchange.grpc);
    let mut response = response.map(|()| Body::Own(Some(bytes), record));
    // The rest of a body that nobody wants is not read: the connection ends with this answer.
    if !exchange.http2 && matches!(failure.kind, Kind::BadRequest | Kind::TooLarge | Kind::BodyTimeout) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
