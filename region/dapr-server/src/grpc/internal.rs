//! The internal port: calls of other Dapr Servers.
//!
//! Service invocation between App IDs is not available yet; the port exists so that addresses are in their final place,
//! and every call is told the truth. Must never answer as if a call had been delivered.

use http::{Request, Response};
use palladium_http::Upload;
use tonic::Status;

use super::{is_grpc, refused};
use crate::http::Body;

/// Answers one call.
pub fn handle_internal(request: &Request<Upload>) -> Response<Body> {
    if !is_grpc(request.headers()) {
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return answer;
    }
    refused(Status::unimplemented("calls between App IDs are not available yet"))
}
