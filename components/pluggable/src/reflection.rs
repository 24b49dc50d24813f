//! Asks a gRPC server which services it has, by the reflection protocol (`grpc.reflection.v1alpha`, which Dapr uses).
//!
//! Only the one question and the one answer of that protocol are here; the field numbers are the protocol's. Must never
//! believe more than names: what a service can do is asked of the service itself.

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "6")]
    list_services: Option<Services>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

/// Full names of the server's services.
pub(crate) async fn services(channel: Channel) -> Result<Vec<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
    let question = tokio_stream::once(Question {
        list_services: Some(String::new()),
    });
    let answers = client
        .streaming(Request::new(question), path, ProstCodec::<Question, Answer>::default())
        .await?;
    let answer = answers.into_inner().message().await?;
    let services = answer
        .and_then(|answer| answer.list_services)
        .unwrap_or_default()
        .services;
    Ok(services.into_iter().map(|service| service.name).collect())
}
