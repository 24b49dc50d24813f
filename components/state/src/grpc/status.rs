//! From gRPC statuses to driver errors.
//!
//! The one idea: Dapr's component protocol says "etag" by one detail, a bad request on the field `etag`, and "answer
//! exactly this" by an `ErrorInfo` with three metadata entries; everything else is just a code and words. Must never
//! take one of a detail's kind for another one.

use std::error::Error as _;

use palladium_component::{RemoteAnswer, RemoteError, StateError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

/// Whether the other side is away, or went away under the call: then nobody knows what became of a write.
pub(super) fn is_away(status: &Status) -> bool {
    // A cause is never sent: such a status was made here, of a connection that broke, under the call (unknown) or before it was
    // sent (cancelled).
    let is_made_here = status.source().is_some();
    status.code() == Code::Unavailable || (is_made_here && matches!(status.code(), Code::Unknown | Code::Cancelled))
}

/// The driver error that a status means.
pub(super) fn to_error(status: &Status) -> StateError {
    let details = status.get_error_details_vec();
    match (details.as_slice(), status.code()) {
        ([ErrorDetail::BadRequest(bad)], code @ (Code::FailedPrecondition | Code::InvalidArgument)) => {
            if let [violation] = bad.field_violations.as_slice()
                && violation.field == "etag"
            {
                let detail = Some(violation.description.clone()).filter(|text| !text.is_empty());
                return match code {
                    Code::FailedPrecondition => StateError::EtagMismatch(detail),
                    _ => StateError::EtagInvalid(detail),
                };
            }
        }
        (_, Code::DeadlineExceeded) if details.is_empty() => {
            return StateError::Unavailable(remote(status, None).to_string());
        }
        _ if details.is_empty() && is_away(status) => {
            // As Dapr's own client calls a connection that broke.
            let grpc_code = Code::Unavailable as u32;
            let error = RemoteError {
                grpc_code,
                ..remote(status, None)
            };
            return StateError::Unavailable(error.to_string());
        }
        _ => {}
    }
    let answer = match details.as_slice() {
        [ErrorDetail::ErrorInfo(info)] if info.metadata.get("kit_error").is_some_and(|flag| flag == "true") => {
            let http_status = info.metadata.get("http_code").and_then(|code| code.parse().ok());
            http_status.map(|http_status| RemoteAnswer {
                http_status,
                tag: info.metadata.get("tag").cloned().unwrap_or_default(),
                reason: info.reason.clone(),
                domain: info.domain.clone(),
            })
        }
        _ => None,
    };
    StateError::Remote(Box::new(remote(status, answer)))
}

fn remote(status: &Status, answer: Option<RemoteAnswer>) -> RemoteError {
    RemoteError {
        grpc_code: status.code() as u32,
        message: status.message().to_string(),
        answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::io;
    use std::sync::Arc;
    use tonic_types::{BadRequest, ErrorDetails};

    #[test]
    fn etag_failures_are_told_apart() {
        let details = |field: &str| ErrorDetails::with_bad_request_violation(field, "mine");
        let mismatch = Status::with_error_details(Code::FailedPrecondition, "m", details("etag"));
        assert!(matches!(to_error(&mismatch), StateError::EtagMismatch(Some(detail)) if detail == "mine"));
        let invalid = Status::with_error_details(Code::InvalidArgument, "m", details("etag"));
        assert!(matches!(to_error(&invalid), StateError::EtagInvalid(_)));
        for other in [
            Status::with_error_details(Code::InvalidArgument, "m", details("key")),
            Status::with_error_details(Code::Internal, "m", details("etag")),
            Status::with_error_details_vec(
                Code::FailedPrecondition,
                "m",
                vec![ErrorDetail::BadRequest(BadRequest::new(vec![]))],
            ),
        ] {
            assert!(matches!(to_error(&other), StateError::Remote(_)), "{other:?}");
        }
    }

    #[test]
    fn a_structured_answer_is_kept() {
        let metadata: HashMap<String, String> = [("kit_error", "true"), ("http_code", "506"), ("tag", "get-tag")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let status = Status::with_error_details(
            Code::DataLoss,
            "get-error",
            ErrorDetails::with_error_info("get-reason", "get-domain", metadata),
        );
        let StateError::Remote(remote) = to_error(&status) else {
            panic!("not remote")
        };
        assert_eq!(remote.to_string(), "api error: code = DataLoss desc = get-error");
        let answer = remote.answer.unwrap();
        assert_eq!(
            (answer.http_status, answer.tag.as_str(), answer.reason.as_str()),
            (506, "get-tag", "get-reason")
        );
    }

    #[test]
    fn plain_statuses_read_as_upstream_prints_them() {
        assert_eq!(
            to_error(&Status::internal("boom")).to_string(),
            "rpc error: code = Internal desc = boom"
        );
        assert!(matches!(
            to_error(&Status::unavailable("gone")),
            StateError::Unavailable(_)
        ));
        // Said by the other side, and made here of a broken connection.
        for said in [Status::unknown("odd"), Status::cancelled("by me")] {
            assert!(matches!(to_error(&said), StateError::Remote(_)));
        }
        let broken = Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert_eq!(broken.code(), Code::Unknown);
        // As of a call that still waits for its turn on a connection when that ends.
        let mut unsent = Status::cancelled("operation was canceled");
        unsent.set_source(Arc::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        for made_here in [broken, unsent] {
            let StateError::Unavailable(said) = to_error(&made_here) else {
                panic!("not away: {made_here:?}")
            };
            assert!(said.starts_with("rpc error: code = Unavailable "), "{said}");
        }
    }
}
