//! Why a request was not answered by a Dapr Server, and how that is said to the application.
//!
//! One idea: a failure is a kind, and everything else (status, gRPC code, error code, words) follows from it in one table.
//! The words are constant: they never say which check failed, nor repeat anything of the request.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The request breaks a rule of HTTP, or has no or two hosts.
    BadRequest,
    /// No token, more than one, an unknown, expired or revoked one.
    Unauthenticated,
    /// A good token at another project's host, or a call that is not for applications.
    Forbidden,
    /// A host name that belongs to no project here.
    UnknownHost,
    /// The body makes no progress.
    BodyTimeout,
    /// The body, or a gRPC message, is larger than allowed.
    TooLarge,
    /// Server name, host and authority do not agree.
    Misdirected,
    /// No Dapr Server took the request within the time that it was held, or its answer broke off before it began.
    Unavailable,
    /// The Dapr Server took the request and did not answer in time.
    NoAnswer,
}

/// A failed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// For the log only.
    pub(crate) reason: &'static str,
}

impl Kind {
    pub(crate) const fn because(self, reason: &'static str) -> Failure {
        Failure { kind: self, reason }
    }

    /// Status, gRPC code, error code, message.
    const fn table(self) -> (StatusCode, u8, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                3,
                "ERR_BAD_REQUEST",
                "the request is malformed",
            ),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, 16, "ERR_UNAUTHENTICATED", "invalid api token"),
            Self::Forbidden => (StatusCode::FORBIDDEN, 7, "ERR_PERMISSION_DENIED", "permission denied"),
            Self::UnknownHost => (
                StatusCode::NOT_FOUND,
                5,
                "ERR_HOST_NOT_FOUND",
                "no project has this host name",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                4,
                "ERR_BODY_TIMEOUT",
                "the request body did not arrive in time",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                8,
                "ERR_BODY_TOO_LARGE",
                "the request body is too large",
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                9,
                "ERR_MISDIRECTED",
                "server name, host and authority of the request do not agree",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                14,
                "ERR_UNAVAILABLE",
                "the Dapr Server is not available",
            ),
            Self::NoAnswer => (
                StatusCode::GATEWAY_TIMEOUT,
                4,
                "ERR_TIMEOUT",
                "the Dapr Server did not answer in time",
            ),
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.table().0
    }

    /// For metrics: never more than there are kinds.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::UnknownHost => "unknown_host",
            Self::BodyTimeout => "body_timeout",
            Self::TooLarge => "too_large",
            Self::Misdirected => "misdirected",
            Self::Unavailable => "unavailable",
            Self::NoAnswer => "no_answer",
        }
    }

    /// The answer in Dapr's form: JSON for HTTP, trailers only for gRPC.
    pub(crate) fn response(self, grpc: bool) -> (Response<()>, Bytes) {
        let (status, _, error_code, message) = self.table();
        let mut response = Response::new(());
        if grpc {
            *response.headers_mut() = self.trailers();
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            return (response, Bytes::new());
        }
        let body = Bytes::from(format!(r#"{{"errorCode":"{error_code}","message":"{message}"}}"#));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        (response, body)
    }

    /// The end of a gRPC stream that fails after its beginning.
    pub(crate) fn trailers(self) -> HeaderMap {
        let (_, code, _, message) = self.table();
        let mut trailers = HeaderMap::with_capacity(3);
        trailers.insert("grpc-status", u16::from(code).into());
        trailers.insert("grpc-message", HeaderValue::from_static(message));
        trailers
    }
}
