//! First phase: is this one sound request to one host? Needs nothing but the request and its connection.
//!
//! Byte framing was checked before, in `palladium-http`. Must never look at a token or a route.

use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Version};
use palladium_http::Upload;

use super::Exchange;
use crate::failure::{Failure, Kind};
use crate::target;

pub(super) fn accept(exchange: &mut Exchange, request: &Request<Upload>) -> Result<(), Failure> {
    let content_type = request.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    exchange.grpc = exchange.http2
        && content_type
            .is_some_and(|value| value.starts_with(b"application/grpc") && !value.starts_with(b"application/grpc-web"));
    exchange.record.grpc = exchange.grpc;
    exchange.record.http2 = exchange.http2;

    if request.method() == Method::CONNECT {
        return Err(Kind::BadRequest.because("CONNECT"));
    }
    let target = request
        .uri()
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str);
    if !target::is_well_encoded(target) {
        return Err(Kind::BadRequest.because("bad percent-encoding"));
    }
    exchange.host = host(request)?;
    if exchange
        .connection
        .sni
        .as_deref()
        .is_some_and(|sni| *sni != *exchange.host)
    {
        return Err(Kind::Misdirected.because("host is not the server name of the connection"));
    }
    Ok(())
}

/// The one host that the request is for: `:authority`, `Host` and an absolute target, as far as they are there, agree.
fn host(request: &Request<Upload>) -> Result<Box<str>, Failure> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(Kind::BadRequest.because("two hosts"));
    }
    let header = match header {
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(target::host)
                .ok_or(Kind::BadRequest.because("bad host"))?,
        ),
        None => None,
    };
    if header.is_none() && request.version() == Version::HTTP_11 {
        return Err(Kind::BadRequest.because("no host"));
    }
    let authority = match request.uri().authority() {
        Some(authority) => Some(target::host(authority.as_str()).ok_or(Kind::BadRequest.because("bad authority"))?),
        None => None,
    };
    match (authority, header) {
        (Some(authority), Some(header)) if authority != header => {
            Err(Kind::Misdirected.because("authority and host disagree"))
        }
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(Kind::BadRequest.because("no host")),
    }
}
