//! Calls of an application that allows one at a time, and which endpoints are called at all.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

const MOMENT: Duration = Duration::from_millis(300);

/// An application that answers with a body larger than what is on the way, after taking the request.
async fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("any port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(async |request: Request<Incoming>| {
                // Broken off or not.
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; 16 << 20]))))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    port
}

async fn channel(port: u16) -> AppChannel {
    let settings = AppSettings {
        port: Some(port),
        protocol: AppProtocol::Http,
        address: "127.0.0.1".to_owned(),
        max_concurrency: Some(1),
        health: None,
        token: None,
    };
    let mut channel = AppChannel::local(&settings, port).expect("sound");
    channel.timeout = Some(MOMENT);
    channel
}

async fn get(channel: &AppChannel, body: Body) -> Result<Response<Body>, CallError> {
    channel.call(Method::POST, "/", HeaderMap::new(), body).await
}

#[tokio::test]
async fn a_place_is_kept_until_the_answer_is_read_and_waited_for_with_a_deadline() {
    let channel = channel(application().await).await;
    let mut first = get(&channel, Body::Empty).await.expect("free").into_body();
    first.frame().await.expect("more").expect("readable");
    let refused = get(&channel, Body::Empty).await;
    assert!(matches!(refused, Err(CallError::Busy(MOMENT))), "{refused:?}");
    // Read to its end.
    while first.frame().await.is_some_and(|frame| frame.is_ok()) {}
    let second = get(&channel, Body::Empty).await.expect("free again");
    // Given up.
    drop(second);
    let third = tokio::join!(get(&channel, Body::Empty), async {
        tokio::time::sleep(MOMENT / 3).await;
        drop(first);
    });
    third.0.expect("free again");
}

#[tokio::test]
async fn an_endpoint_that_wants_tls_is_refused_rather_than_called_in_clear() {
    let endpoint = |url: &str| AppChannel::endpoint(url, AppProtocol::Grpc, None, None, false);
    for url in ["https://app:443", "grpcs://app:443"] {
        assert!(matches!(endpoint(url), Err(ChannelError::Protocol("https"))), "{url}");
    }
    for url in ["ftp://app:21", "app:80", "/app"] {
        assert!(matches!(endpoint(url), Err(ChannelError::Address(_))), "{url}");
    }
    for url in ["http://app:80", "grpc://app:80"] {
        assert!(endpoint(url).is_ok(), "{url}");
    }
}
