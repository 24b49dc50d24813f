//! Third phase: may this App ID ask for this, here?
//!
//! The token has named the route; what is checked is that the host is the same project's, that the call is one for
//! applications, and that a declared body is not too large. Must never choose a route by anything but the token.

use http::header::CONTENT_LENGTH;
use http::{Method, Request};
use palladium_http::Upload;

use super::Exchange;
use crate::failure::{Failure, Kind};
use crate::table::{Grant, HostOwner};
use crate::target;

pub(super) fn route(exchange: &Exchange, request: &Request<Upload>, grant: &Grant) -> Result<(), Failure> {
    let table = exchange.worker.shared.table.load();
    match table.host_owner(&exchange.host, &grant.route.project_id) {
        HostOwner::Same => {}
        HostOwner::Other => {
            grant.uses.mark_foreign_host();
            return Err(Kind::Forbidden.because("token at another project's host"));
        }
        HostOwner::Nobody => return Err(Kind::UnknownHost.because("host of no project")),
    }
    if *request.method() == Method::POST && target::is_shutdown(request.uri().path()) {
        return Err(Kind::Forbidden.because("shutdown"));
    }
    let declared = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if !exchange.grpc && declared.is_some_and(|length| length > grant.route.max_body) {
        return Err(Kind::TooLarge.because("declared length"));
    }
    Ok(())
}
