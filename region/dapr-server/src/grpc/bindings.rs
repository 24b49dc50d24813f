//! The bindings API over gRPC.
//!
//! One idea: the call's own metadata go along where the request says nothing of that name. Must never decide anything:
//! `crate::bindings` does, for both protocols; nor pass on metadata that are gRPC's own.

use http::{HeaderMap, HeaderName};
use palladium_component::bindings::{Metadata, Operation};
use palladium_proto::runtime::{InvokeBindingRequest, InvokeBindingResponse};
use tonic::metadata::{KeyAndValueRef, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use crate::bindings;
use crate::errors::grpc_fault;
use crate::http::Body;
use crate::server::Server;
use crate::trace;

pub(super) async fn invoke(
    server: &Server,
    request: Request<InvokeBindingRequest>,
) -> Result<Response<InvokeBindingResponse>, Status> {
    let (beside, _, message) = request.into_parts();
    let mut metadata = message.metadata;
    let mut stands = Metadata::new();
    trace::put_beside(beside.as_ref(), &mut stands);
    for (name, value) in stands {
        metadata.entry(name).or_insert(value);
    }
    for pair in beside.iter() {
        let KeyAndValueRef::Ascii(name, value) = pair else {
            continue;
        };
        let (name, Ok(value)) = (name.as_str(), value.to_str()) else {
            continue;
        };
        // As in Dapr: names that are gRPC's own are marked as having come by it.
        let own = name.starts_with("grpc-") || ["content-type", "te", "user-agent"].contains(&name);
        let name = if own { format!("dapr-{name}") } else { name.to_owned() };
        metadata.entry(name).or_insert_with(|| value.to_owned());
    }
    let operation = Operation {
        name: message.operation,
        data: message.data,
        metadata,
    };
    match bindings::send(server, &message.name, &operation).await {
        Ok(answer) => {
            let mut response = Response::new(InvokeBindingResponse {
                data: answer.data.unwrap_or_default(),
                metadata: answer.metadata.clone(),
            });
            add_metadata(response.metadata_mut(), &answer.metadata);
            Ok(response)
        }
        Err(failed) => {
            let mut status = grpc_fault(server, &failed.fault);
            add_metadata(status.metadata_mut(), &failed.metadata);
            Err(status)
        }
    }
}

/// A failure as two steps: what the service said as the head, the status behind it. In one step clients take all of it for
/// the end of the call.
pub(super) fn head_first(mut answer: http::Response<Body>) -> http::Response<Body> {
    let is_status = |name: &&HeaderName| name.as_str().starts_with("grpc-");
    let names: Vec<HeaderName> = answer.headers().keys().filter(is_status).cloned().collect();
    if names.is_empty() {
        return answer;
    }
    let mut trailers = HeaderMap::new();
    for name in names {
        if let Some(value) = answer.headers_mut().remove(&name) {
            trailers.insert(name, value);
        }
    }
    answer.map(|_| Body::Message(None, Some(trailers)))
}

/// What the service said, as metadata. What cannot be is left out.
fn add_metadata(map: &mut MetadataMap, metadata: &Metadata) {
    for (name, value) in metadata {
        let name = MetadataKey::from_bytes(format!("metadata.{}", name.to_ascii_lowercase()).as_bytes());
        if let (Ok(name), Ok(value)) = (name, MetadataValue::try_from(value)) {
            map.insert(name, value);
        }
    }
}
