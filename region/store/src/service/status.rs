//! How failures are said in Dapr's component protocol.
//!
//! Must never say an etag failure otherwise than by that detail: drivers and Dapr know it by nothing else.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::rows::StorageError;

/// An etag failure: by protocol a failed precondition with one bad-request detail on the field `etag`.
pub(super) fn etag_mismatch() -> Status {
    let details =
        ErrorDetails::with_bad_request_violation("etag", "the stored value has another etag, or the key exists");
    Status::with_error_details(Code::FailedPrecondition, "etag mismatch", details)
}

/// A failure of the file.
pub(super) fn storage(error: StorageError) -> Status {
    tracing::error!(%error, "a call to the managed store failed");
    match &error {
        StorageError::TooMuch | StorageError::Full => Status::resource_exhausted(error.to_string()),
        StorageError::Closed => Status::unavailable(error.to_string()),
        StorageError::ReadOnly | StorageError::Other(_) => Status::internal(error.to_string()),
    }
}
