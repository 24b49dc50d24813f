//! A Dapr Server and services to call, for the tests of invocation; and who the own application is.

mod judged;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use palladium_proto::common::http_extension::Verb;
use palladium_tasks::Shutdown;
use palladium_tls::{SvidSource, TrustBundles};
use tokio::net::TcpListener;

use super::*;
use crate::app_channel::AppChannel;
use crate::config::AppProtocol;
use crate::platform::new_server;
use crate::testing;

/// A Dapr Server of App ID `orders`, for tenants or as a drop-in.
pub(super) fn server(hosted: bool) -> Server {
    let server = new_server(&testing::config(), &Default::default(), Shutdown::new());
    if hosted {
        return server;
    }
    let invoke = Invoke::new(Peers::on_network("prj-a", None), None);
    Server {
        hosted,
        invoke,
        ..server
    }
}

/// What a service was asked: method, path, headers, body.
pub(super) type Asked = (http::request::Parts, Bytes);

/// A service that answers with these statuses, one after the other, the last one again and again.
pub(super) struct Service {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    pub(super) async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("any port");
        let address = listener.local_addr().expect("bound").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let taken = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, statuses, taken.clone()));
            }
        });
        Self { address, asked }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

pub(super) async fn serve<S>(stream: S, statuses: &'static [u16], asked: Arc<Mutex<Vec<Asked>>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request: http::Request<Incoming>| {
        let asked = asked.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("whole").to_bytes();
            let number = {
                let mut asked = asked.lock().expect("no panic");
                asked.push((parts, body));
                asked.len()
            };
            let status = statuses.get(number - 1).or(statuses.last()).copied().expect("some");
            let mut answer = Response::new(Full::new(Bytes::from(format!("answer {number}"))));
            *answer.status_mut() = StatusCode::from_u16(status).expect("valid");
            let headers = answer.headers_mut();
            headers.insert("location", HeaderValue::from_static("/elsewhere"));
            headers.insert("connection", HeaderValue::from_static("x-hop"));
            headers.insert("x-hop", HeaderValue::from_static("1"));
            Ok::<_, Infallible>(answer)
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// The application of a Dapr Server.
pub(super) fn app(server: &Server, service: &Service) {
    let url = format!("http://{}", service.address);
    let app = AppChannel::endpoint(&url, AppProtocol::Http, None, None, false).expect("sound");
    server.app.store(Some(Arc::new(app)));
}

/// A call, as one that came by HTTP.
pub(super) fn post(target: &str, method: &str, headers: &[(&'static str, &str)], body: Body) -> Invocation {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).expect("ascii");
        (http::HeaderName::from_static(name), value)
    });
    Invocation {
        target: target.to_owned(),
        method: method.to_owned(),
        http: Some(HttpExtension {
            verb: Verb::Post.into(),
            querystring: "x=1".to_owned(),
        }),
        headers: headers.collect(),
        origin: Origin::Http,
        content_type: "text/plain".to_owned(),
        type_url: String::new(),
        length: http_body::Body::size_hint(&body).exact(),
        body,
    }
}

/// The status and the body of an answer.
pub(super) async fn shown(reply: Reply) -> (u16, Bytes) {
    let Outcome::Http(status) = reply.outcome else {
        panic!("{:?}", reply.outcome)
    };
    let body = reply.body.collect().await.expect("whole").to_bytes();
    (status.as_u16(), body)
}

#[tokio::test]
async fn the_own_application_is_found_by_both_names_of_its_namespace() {
    let (server, service) = (server(true), Service::start(&[200]).await);
    app(&server, &service);
    let identity = peers::Identity {
        svid: SvidSource::new(),
        bundles: TrustBundles::new(),
    };
    server.invoke.peers.set_table(&identity, "shop", std::iter::empty());
    for target in ["orders", "orders.prj-a", "orders.shop"] {
        let reply = invoke(&server, post(target, "a/b", &[], Body::from("hello"))).await;
        assert_eq!(shown(reply.expect(target)).await.0, 200);
        assert!(server.invoke.is_own_app(&server, target), "{target}");
        let (parts, body) = service.asked().pop().expect("asked");
        assert_eq!((parts.uri.path(), &body[..]), ("/a/b", &b"hello"[..]));
        assert_eq!(parts.headers[metadata::CALLEE], "orders");
    }
    for target in ["orders.other", "orders."] {
        assert!(
            invoke(&server, post(target, "a", &[], Body::Empty)).await.is_err(),
            "{target}"
        );
        assert!(!server.invoke.is_own_app(&server, target), "{target}");
    }
}

#[tokio::test]
async fn the_state_of_a_call_is_small() {
    let server = server(true);
    let call = || post("orders", "a", &[], Body::Empty);
    let built_in = Policy::default();
    let (whole, once) = (
        size_of_val(&invoke(&server, call())),
        size_of_val(&once(&server, call(), &built_in)),
    );
    // Each call under way has one, and without optimization a thread's stack has several copies.
    assert!(whole < 24 << 10 && once < 20 << 10, "{whole} {once}");
}
