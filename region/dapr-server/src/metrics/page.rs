//! Where metrics are read: the port of the drop-in form, a Unix socket in platform mode.
//!
//! One idea: everything, whatever is asked for; the form is Prometheus' text. The socket lies in the Dapr Server's own folder,
//! where nobody gets but the user that everything of an installation runs as. Must never keep a Dapr Server from serving: where
//! there can be no socket, that is told and calls are served all the same.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use hyper::service::service_fn;
use palladium_http::{Accept, BindError, Limits, Server as HttpServer, Upload, bind_unix};
use palladium_launch::METRICS_SOCKET;
use tokio::net::UnixListener;

use crate::http::Body;
use crate::server::Server;

/// Prometheus reads nothing that does not say what it is.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Only the agent reads the socket, on a connection for each time.
const CONNECTIONS: usize = 16;
const DRAIN: Duration = Duration::from_millis(200);

/// Opens the socket in `folder`, in place of one that a killed process left. `None` where there can be none.
pub(crate) fn on_socket(folder: &Path) -> Option<HttpServer<UnixListener>> {
    let limits = Limits {
        connections: CONNECTIONS,
        drain: DRAIN,
        ..Limits::default()
    };
    match bind_unix("metrics", &folder.join(METRICS_SOCKET)) {
        Ok(listener) => Some(HttpServer::new(listener, limits)),
        Err(error) => {
            let remedy = match &error {
                BindError::Unix { source, .. } if source.kind() == ErrorKind::InvalidInput => {
                    "a socket's path has at most 107 bytes: choose a shorter data folder or App ID"
                }
                _ => "it is tried again at the next start",
            };
            tracing::error!(%error, remedy, "nobody can read the metrics; all else is served");
            None
        }
    }
}

/// Serves them until the server's shutdown.
pub(crate) async fn serve<L: Accept>(server: Arc<Server>, listener: HttpServer<L>) {
    let shutdown = server.shutdown.clone();
    let make = move |_| {
        let server = server.clone();
        service_fn(move |_: Request<Upload>| {
            let mut answer = Response::new(Body::from(server.metrics.text()));
            answer.headers_mut().insert(CONTENT_TYPE, TEXT);
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    listener.serve(make, &shutdown).await;
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn what_is_counted_is_read_on_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        drop(on_socket(folder.path()).expect("a new one"));
        let listener = on_socket(folder.path()).expect("in place of what a killed process left");
        let server = testing::server();
        let call = server.metrics.http("/v1.0/metadata");
        call.answered(&Method::GET, 200, Duration::ZERO, (0, None));
        let shutdown = server.shutdown.clone();
        let serving = tokio::spawn(serve(server, listener));
        let mut stream = UnixStream::connect(folder.path().join(METRICS_SOCKET)).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        for part in [
            "HTTP/1.1 200 ",
            "content-type: text/plain; version=0.0.4; charset=utf-8\r\n",
            r#"dapr_http_server_request_count{app_id="orders","#,
        ] {
            assert!(answer.contains(part), "{part} is missing in {answer}");
        }
        shutdown.trigger();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn without_a_socket_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        assert!(on_socket(&folder.path().join("x".repeat(108))).is_none(), "too long");
        std::fs::write(folder.path().join(METRICS_SOCKET), "kept").unwrap();
        assert!(on_socket(folder.path()).is_none(), "a file is in the way");
    }
}
