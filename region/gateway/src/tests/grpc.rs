//! gRPC through the gateway with an ordinary client: unary calls, streams, trailers, limits.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use palladium_proto::region::workload_client::WorkloadClient;
use palladium_proto::region::{ReportRequest, RouteTable, WatchRequest};
use palladium_tls::{ALPN_H2, Connector, pem_roots_client_config};
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::agent::{self, Serving};
use super::client::{Client, request};
use super::world::{A, World};

type Intercept = Box<dyn FnMut(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Send>;

/// An App ID whose Dapr Server is a real gRPC server, and a client with its token.
async fn connected(world: &mut World) -> (Serving, String, WorkloadClient<InterceptedService<Channel, Intercept>>) {
    let server = agent::serve(&world.ca, &format!("/ns/{A}/orders"), 0);
    let app = world.app(A, "orders").await;
    world.table.routes[0].address = server.address.to_string();
    world.publish().await;
    let client = client(world, &app.token);
    (server, app.token, client)
}

fn client(world: &World, token: &str) -> WorkloadClient<InterceptedService<Channel, Intercept>> {
    let config = pem_roots_client_config(world.roots.as_bytes(), ALPN_H2).unwrap();
    let connector = Connector::named(config, "localhost".try_into().unwrap(), Duration::from_secs(5));
    let channel = palladium_tls::channel(connector, &format!("localhost:{}", world.gateway.address.port())).unwrap();
    let token: MetadataValue<_> = token.parse().unwrap();
    let intercept: Intercept = Box::new(move |mut request| {
        request.metadata_mut().insert("dapr-api-token", token.clone());
        Ok(request)
    });
    WorkloadClient::with_interceptor(channel, intercept)
}

#[tokio::test]
async fn unary_calls_streams_and_trailers_pass() {
    let mut world = World::new().await;
    let (server, _, mut client) = connected(&mut world).await;
    for version in 0..10 {
        client
            .report(ReportRequest {
                applied_version: version,
                ..ReportRequest::default()
            })
            .await
            .unwrap();
    }
    assert_eq!(server.agent.reports.lock().unwrap().len(), 10);
    // A status in trailers, with its message.
    let status = client.watch_app_server(WatchRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such App ID"));
    // A stream that goes on.
    let mut stream = client.watch_routes(WatchRequest::default()).await.unwrap().into_inner();
    for version in 0..5 {
        assert_eq!(stream.message().await.unwrap().unwrap().version, version);
        server.agent.table.send_replace(RouteTable {
            version: version + 1,
            ..RouteTable::default()
        });
    }
}

#[tokio::test]
async fn a_stream_whose_dapr_server_dies_ends_with_unavailable() {
    let mut world = World::new().await;
    let (mut server, _, mut client) = connected(&mut world).await;
    let mut stream = client.watch_routes(WatchRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    server.kill();
    let status = tokio::time::timeout(Duration::from_secs(5), stream.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn sec_051_a_revoked_tokens_stream_ends() {
    let mut world = World::new().await;
    let (_server, _, mut client) = connected(&mut world).await;
    let mut stream = client.watch_routes(WatchRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    world.table.routes[0].tokens.clear();
    world.publish().await;
    let status = tokio::time::timeout(Duration::from_secs(2), stream.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}

#[tokio::test]
async fn refusals_are_grpc_statuses() {
    let mut world = World::new().await;
    let (server, token, _) = connected(&mut world).await;
    // Another letter than the last one, whichever that is.
    let last = if token.ends_with('x') { 'y' } else { 'x' };
    let wrong = format!("{}{last}", &token[..token.len() - 1]);
    let status = client(&world, &wrong)
        .report(ReportRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    // A message larger than allowed is refused by its prefix, wherever the frames are cut.
    world.table.routes[0].max_body_bytes = 100;
    world.publish().await;
    let mut raw = Client::http2(&world).await;
    let mut message = vec![0, 0, 0, 0, 101];
    message.resize(5 + 101, 0);
    let mut call = request(
        true,
        "POST",
        "/palladium.region.v1.Workload/Report",
        &token,
        Full::new(Bytes::from(message)),
    );
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = raw.send(call).await;
    assert_eq!((answer.status, answer.grpc()), (StatusCode::OK, Some("8")));
    assert!(server.agent.reports.lock().unwrap().is_empty());
    // Many messages, each within the limit, are not too much.
    let report = ReportRequest {
        applied_version: 1,
        ..ReportRequest::default()
    };
    client(&world, &token).report(report).await.unwrap();
}
