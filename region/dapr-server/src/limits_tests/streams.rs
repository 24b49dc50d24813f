//! Streams: what they hold as long as they live. Must never take for given back what is only out of sight.

use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use palladium_proto::common::InvokeRequest;
use palladium_proto::prost_types::Any;
use palladium_proto::runtime::dapr_client::DaprClient;
use palladium_proto::runtime::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Asked;
use palladium_proto::runtime::{
    InvokeServiceRequest, SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1,
};

use tokio::sync::oneshot;
use tonic::transport::Endpoint;

use super::*;
use crate::config::AppSettings;

#[tokio::test]
async fn sec_059_a_subscription_has_room_for_one_message_as_long_as_it_lives() {
    let world = World::start().await;
    let initial = Asked::InitialRequest(SubscribeTopicEventsRequestInitialAlpha1 {
        pubsub_name: "events".to_owned(),
        topic: "t".to_owned(),
        ..SubscribeTopicEventsRequestInitialAlpha1::default()
    });
    let asked = SubscribeTopicEventsRequestAlpha1 {
        subscribe_topic_events_request_type: Some(initial),
    };
    let (end, ended) = oneshot::channel::<()>();
    let until = stream::once(ended).filter_map(|_| std::future::ready(None));
    let asked = stream::once(std::future::ready(asked)).chain(until);
    let channel = Endpoint::from_shared(format!("http://{}", world.address)).expect("an address");
    let mut client = DaprClient::new(channel.connect().await.expect("listening"));
    let events = client.subscribe_topic_events_alpha1(asked).await;
    let mut events = events.expect("subscribed").into_inner();
    events.message().await.expect("good").expect("told");
    assert!(world.server.budget.hold().take(BUDGET - (64 << 10) + 1).is_err());
    drop((events, end));
    world.until_free().await;
}

/// An application that speaks gRPC; whatever is called goes on until it is given up, and nothing of a request is read.
async fn endless(most: usize) -> AppChannel {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("any port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(async |request: Request<hyper::body::Incoming>| {
                let held = stream::pending().map(move |frame: Result<http_body::Frame<Bytes>, Infallible>| {
                    let _ = &request;
                    frame
                });
                Ok::<_, hyper::Error>(Response::new(StreamBody::new(held)))
            });
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // What is sent and not read is not to be out of sight.
            server.initial_stream_window_size(1 << 16);
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    });
    let settings = AppSettings {
        port: Some(port),
        protocol: AppProtocol::Grpc,
        address: "127.0.0.1".to_owned(),
        max_concurrency: Some(most),
        health: None,
        token: None,
    };
    AppChannel::local(&settings, port).expect("sound")
}

#[tokio::test]
async fn a_proxied_call_has_its_place_at_the_application_until_its_answer_is_given_up() {
    let world = World::start().await;
    let app = endless(1).await.behind(&world.server);
    world.server.app.store(Some(Arc::new(app)));
    let mut client = world.http2().await;
    let mut call = |patience: Duration| {
        let request = Request::post("http://x/some.Service/Method")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("dapr-app-id", "orders")
            .body(Full::new(Bytes::from_static(&[0; 5])).boxed());
        timeout(patience, client.send_request(request.expect("valid")))
    };
    let first = call(SOON).await.expect("in time").expect("answered");
    assert!(!first.headers().contains_key("grpc-status"), "{first:?}");
    // However slow the machine, an answer that must not come does not come.
    assert!(call(Duration::from_millis(200)).await.is_err(), "there is one place");
    drop(first);
    call(SOON).await.expect("in time").expect("answered");
}

#[tokio::test]
async fn sec_059_what_an_application_is_sent_by_grpc_counts() {
    let world = World::start().await;
    let app = endless(9).await.behind(&world.server);
    world.server.app.store(Some(Arc::new(app)));
    let request = InvokeServiceRequest {
        id: "orders".to_owned(),
        message: Some(InvokeRequest {
            method: "a".to_owned(),
            data: Some(Any {
                value: vec![7; 400_000],
                ..Any::default()
            }),
            ..InvokeRequest::default()
        }),
    };
    let under_way = world.call("InvokeService", &request, None);
    tokio::pin!(under_way);
    tokio::select! {
        answer = &mut under_way => panic!("{answer:?}"),
        () = world.until_held(BUDGET - 700_000) => {}
    }
    let refused = world.call("SaveState", &saved(700_000), None).await;
    assert_eq!(refused.grpc.as_deref(), Some("8"), "{refused:?}");
}
