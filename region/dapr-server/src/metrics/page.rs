//! What a Dapr Server says of its metrics, and the port of the drop-in form where it is read.
//!
//! One idea: everything, whatever is asked for; the form is Prometheus' text. In platform mode there is no such port: the agent
//! gets the same answer on the gateway listener (`platform.rs`). Must never look into a request: who may ask is decided
//! before there is one.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use hyper::service::service_fn;
use palladium_http::{Accept, Server as HttpServer, Upload};

use crate::http::Body;
use crate::server::Server;

/// Prometheus reads nothing that does not say what it is.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// All of them.
pub(crate) fn answer(server: &Server) -> Response<Body> {
    let mut answer = Response::new(Body::from(server.metrics.text()));
    answer.headers_mut().insert(CONTENT_TYPE, TEXT);
    answer
}

/// Serves them until the server's shutdown.
pub(crate) async fn serve<L: Accept>(server: Arc<Server>, listener: HttpServer<L>) {
    let shutdown = server.shutdown.clone();
    let make = move |_| {
        let server = server.clone();
        service_fn(move |_: Request<Upload>| {
            let answer = answer(&server);
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    listener.serve(make, &shutdown).await;
}
