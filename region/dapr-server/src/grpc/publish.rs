//! Publishing over gRPC.
//!
//! Must never decide anything: what HTTP and gRPC share is in `crate::pubsub::publish`, the rules are the engine's.

use palladium_engine_pubsub::{ApiError, BulkEntry};
use palladium_proto::runtime::{BulkPublishRequest, BulkPublishResponse, PublishEventRequest};
use tonic::{Request, Status};

use crate::api_rules::Protocol;
use crate::errors::pubsub_grpc;
use crate::pubsub::publish::{self, Bulk, Single};
use crate::server::Server;
use crate::trace;

/// As the spans of single messages are called.
const BULK: &str = "/dapr.proto.runtime.v1.Dapr/BulkPublishEvent";

pub(super) async fn single(server: &Server, request: Request<PublishEventRequest>) -> Result<(), Status> {
    let trace = trace::of_headers(request.metadata().as_ref());
    let request = request.into_inner();
    let failed = |error: ApiError| pubsub_grpc(server, &error);
    let entry = publish::find(server, &request.pubsub_name, &request.topic).map_err(failed)?;
    let call = Single {
        topic: request.topic,
        data: request.data,
        content_type: request.data_content_type,
        metadata: request.metadata,
        trace,
        trace_beside: true,
    };
    publish::single(server, &entry, Protocol::Grpc, call)
        .await
        .map_err(failed)
}

pub(super) async fn bulk(server: &Server, request: Request<BulkPublishRequest>) -> Result<BulkPublishResponse, Status> {
    let trace = trace::of_headers(request.metadata().as_ref());
    let request = request.into_inner();
    let failed = |error: ApiError| pubsub_grpc(server, &error);
    let entry = publish::find(server, &request.pubsub_name, &request.topic).map_err(failed)?;
    let entries = request.entries.into_iter().map(|one| BulkEntry {
        entry_id: one.entry_id,
        event: one.event,
        content_type: one.content_type,
        metadata: one.metadata,
    });
    let call = Bulk {
        topic: request.topic.clone(),
        metadata: request.metadata,
        trace,
        spans: server.tracing.now().map(|tracer| (tracer, BULK.to_owned())),
        entries: entries.collect(),
    };
    let failures = publish::bulk(server, &entry, Protocol::Grpc, call)
        .await
        .map_err(failed)?;
    // As in Dapr, one failure fails the call: the caller has to take all of it for unpublished.
    match failures.into_iter().next() {
        None => Ok(BulkPublishResponse::default()),
        Some(first) => Err(failed(ApiError::Publish {
            pubsub: entry.component.name().to_owned(),
            topic: request.topic,
            source: first.error,
        })),
    }
}
