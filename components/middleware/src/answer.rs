//! Answers that several drivers give.
//!
//! Must never say more than the status does, unless the words are about the request's own form.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use palladium_component::MetadataError;
use palladium_component::middleware::Verdict;

/// The status in its own words, as Dapr's drivers write it: without a line end.
pub(crate) fn refuse(status: StatusCode) -> Verdict {
    told(status, status.canonical_reason().unwrap_or_default())
}

/// A plain text answer.
pub(crate) fn told(status: StatusCode, words: &'static str) -> Verdict {
    let mut answer = Response::new(Bytes::from_static(words.as_bytes()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    Verdict::Answer(answer)
}

/// The name of a header in a setting.
pub(crate) fn header(field: &str, said: &str) -> Result<HeaderName, MetadataError> {
    HeaderName::try_from(said).map_err(|_| MetadataError::new(field, "it is no header's name", "correct it"))
}
