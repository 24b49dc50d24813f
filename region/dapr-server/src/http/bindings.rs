//! The bindings API over HTTP.
//!
//! One idea: data that is JSON goes to the service as it stands in the request. Must never decide anything:
//! `crate::bindings` does, for both protocols.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use palladium_component::bindings::{Metadata, Operation};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Body, Head, Incoming, body, empty, failed, json};
use crate::bindings;
use crate::errors::Fault;
use crate::server::Server;
use crate::trace;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    operation: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

pub(super) async fn invoke(server: &Server, head: &Head, name: &str, incoming: Incoming) -> Answer {
    let bytes = body::read(incoming, server.max_body()).await?;
    let request: Request<'_> = serde_json::from_slice(&bytes)
        .map_err(|error| Fault::malformed(format!("failed deserializing HTTP body: {error}")))?;
    let mut metadata = request.metadata.unwrap_or_default();
    trace::put_beside(&head.headers, &mut metadata);
    let operation = Operation {
        name: request.operation,
        data: request.data.map_or(Bytes::from_static(b"null"), |data| {
            bytes.slice_ref(data.get().as_bytes())
        }),
        metadata,
    };
    match bindings::send(server, name, &operation).await {
        Ok(answer) => {
            let mut response = match answer.data {
                Some(data) => json(StatusCode::OK, data),
                None => empty(),
            };
            add_metadata(&mut response, &answer.metadata);
            Ok(response)
        }
        Err(refused) => {
            server.metrics.fault(&refused.fault);
            let mut response = failed(&refused.fault);
            add_metadata(&mut response, &refused.metadata);
            Ok(response)
        }
    }
}

/// What the service said, as headers. What cannot be a header is left out.
fn add_metadata(response: &mut Response<Body>, metadata: &Metadata) {
    for (name, value) in metadata {
        let name = HeaderName::try_from(format!("metadata.{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}
