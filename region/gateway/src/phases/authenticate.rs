//! Second phase: whose token is it?
//!
//! Exactly one header `dapr-api-token`; a typo is refused by its checksum before anything is looked up; what is looked up
//! is a digest. Must never say which of these failed, and never keep the token.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use palladium_http::Upload;
use palladium_launch::app_token;

use super::Exchange;
use crate::failure::{Failure, Kind};
use crate::table::{Digest, Grant};
use crate::target;
use crate::worker::Worker;

/// The header in which every Dapr client sends its token.
const TOKEN_HEADER: &str = "dapr-api-token";

pub(super) fn authenticate(exchange: &mut Exchange, request: &Request<Upload>) -> Result<Arc<Grant>, Failure> {
    if request.uri().query().is_some_and(target::has_token_parameter) {
        return Err(Kind::Unauthenticated.because("token in the query"));
    }
    let mut values = request.headers().get_all(TOKEN_HEADER).iter();
    let token = values
        .next()
        .ok_or(Kind::Unauthenticated.because("no token"))?
        .as_bytes();
    if values.next().is_some() {
        return Err(Kind::Unauthenticated.because("two tokens"));
    }
    if !app_token::is_well_formed(token) {
        return Err(Kind::Unauthenticated.because("not a token"));
    }
    exchange.digest = app_token::digest(token);
    let grant = grant(&exchange.worker, &exchange.digest)?;
    grant.uses.mark();
    exchange.record.route = Some(grant.route.clone());
    Ok(grant)
}

/// What a token with this digest entitles to now.
pub(super) fn grant(worker: &Worker, digest: &Digest) -> Result<Arc<Grant>, Failure> {
    if worker.shared.freshness.is_too_old() {
        return Err(Kind::Unavailable.because("cut off from the agent for longer than is allowed"));
    }
    let table = worker.shared.table.load();
    let grant = table
        .grant(digest)
        .ok_or(Kind::Unauthenticated.because("unknown token"))?;
    if grant.is_valid_at(unix_seconds) {
        Ok(grant.clone())
    } else {
        Err(Kind::Unauthenticated.because("expired token"))
    }
}

fn unix_seconds() -> i64 {
    // A clock before 1970 makes every token with an end expired.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
