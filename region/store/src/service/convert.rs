//! Between protocol messages and rows.
//!
//! One idea: a message is checked and turned into a step once, here; behind it there are only valid keys, conditions
//! and instants. Must never read project, App ID or component out of a message: they come from the certificate, in
//! `scope`.

use std::collections::HashMap;

use bytes::Bytes;
use palladium_proto::components as pb;
use palladium_sealing::random_bytes;
use pb::state_options::StateConcurrency;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::Status;

use crate::rows::{Condition, Found, Step, now_ms};

/// Longest key in bytes.
const MAX_KEY: usize = 8192;

/// A write, read from a message; the value is still in clear.
pub(super) struct Set {
    pub(super) key: String,
    pub(super) value: Bytes,
    pub(super) expires_ms: Option<i64>,
    pub(super) condition: Condition,
}

pub(super) fn set(request: pb::SetRequest) -> Result<Set, Status> {
    Ok(Set {
        expires_ms: expiry(&request.metadata)?,
        condition: condition(request.etag, request.options),
        key: key(request.key)?,
        value: request.value,
    })
}

pub(super) fn delete(request: pb::DeleteRequest) -> Result<Step, Status> {
    Ok(Step::Delete {
        key: key(request.key)?,
        condition: condition(request.etag, None),
    })
}

pub(super) fn key(key: String) -> Result<String, Status> {
    match key.len() {
        0 => Err(Status::invalid_argument("missing key")),
        length if length > MAX_KEY => Err(Status::invalid_argument(format!("a key has at most {MAX_KEY} bytes"))),
        _ => Ok(key),
    }
}

pub(super) fn response(found: Found) -> pb::GetResponse {
    pb::GetResponse {
        metadata: metadata(found.expires_ms),
        data: found.value.into(),
        etag: Some(pb::Etag { value: found.etag }),
        content_type: String::new(),
    }
}

pub(super) fn item(key: String, found: &HashMap<String, Found>) -> pb::BulkStateItem {
    match found.get(&key) {
        None => pb::BulkStateItem {
            key,
            ..pb::BulkStateItem::default()
        },
        Some(found) => pb::BulkStateItem {
            key,
            data: found.value.clone().into(),
            etag: Some(pb::Etag {
                value: found.etag.clone(),
            }),
            metadata: metadata(found.expires_ms),
            ..pb::BulkStateItem::default()
        },
    }
}

/// Etags are opaque and never come twice.
pub(super) fn new_etag() -> String {
    random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An etag that is given must match, whatever the concurrency.
fn condition(etag: Option<pb::Etag>, options: Option<pb::StateOptions>) -> Condition {
    let first =
        options.is_some_and(|options| options.concurrency == i32::from(StateConcurrency::ConcurrencyFirstWrite));
    match etag.map(|etag| etag.value).filter(|etag| !etag.is_empty()) {
        Some(etag) => Condition::Etag(etag),
        None if first => Condition::Absent,
        None => Condition::Always,
    }
}

fn expiry(metadata: &HashMap<String, String>) -> Result<Option<i64>, Status> {
    let wrong = || {
        Status::invalid_argument("incorrect value for metadata 'ttlInSeconds': must be a whole number, -1 or greater")
    };
    let Some(text) = metadata.get("ttlInSeconds").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.trim().parse::<i32>().map_err(|_| wrong())? {
        -1 | 0 => Ok(None),
        seconds @ 1.. => Ok(Some(now_ms() + i64::from(seconds) * 1000)),
        _ => Err(wrong()),
    }
}

fn metadata(expires_ms: Option<i64>) -> HashMap<String, String> {
    let at = expires_ms
        .and_then(|ms| OffsetDateTime::from_unix_timestamp(ms / 1000).ok())
        .and_then(|at| at.format(&Rfc3339).ok());
    at.map(|at| ("ttlExpireTime".to_string(), at)).into_iter().collect()
}
