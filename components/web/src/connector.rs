//! Connections for whoever speaks HTTP over hyper.
//!
//! One idea: TCP and TLS in one deadline, to addresses that may be called, written in a URI or found for its name. Must never
//! speak plain HTTP where TLS was asked for.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use palladium_tls::ClientConfig;
use reqwest::dns::{Addrs, Resolve, Resolving};
use tokio::time::timeout;
use tower_service::Service;

use crate::{CONNECT, addresses, is_refused};

/// How long a connection is silent before the other machine is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Why there is no connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects; `https` by TLS with the configuration that it was made with.
#[derive(Clone)]
pub struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    hosted: bool,
}

/// Makes one; nothing is dialled yet.
pub fn connector(config: Arc<ClientConfig>, hosted: bool) -> Connector {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::new(hosted));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    Connector {
        inner: HttpsConnector::from((tcp, config)),
        hosted,
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector<Resolver>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if self.hosted && uri.host().is_some_and(is_refused) {
            let refused = io::Error::new(io::ErrorKind::AddrNotAvailable, "that address may not be called here");
            return Box::pin(async move { Err(refused.into()) });
        }
        let dialled = self.inner.call(uri);
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}"));
            timeout(CONNECT, dialled).await.map_err(late)?
        })
    }
}

/// Resolves names; where tenants call, only to addresses that they may have called.
#[derive(Clone)]
pub struct Resolver {
    inner: GaiResolver,
    hosted: bool,
}

impl Resolver {
    pub(crate) fn new(hosted: bool) -> Self {
        Self {
            inner: GaiResolver::new(),
            hosted,
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let mut resolver = self.clone();
        Box::pin(async move {
            let found: Addrs = Box::new(resolver.call(name.as_str().parse()?).await?);
            Ok(found)
        })
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (hosted, looked_up) = (self.hosted, self.inner.call(name.clone()));
        Box::pin(async move {
            let found = looked_up.await?;
            let found = match hosted {
                true => addresses::callable(name.as_str(), found)?,
                false => found.collect(),
            };
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use palladium_tls::{ALPN_HTTP, WebRoots, web_client_config};
    use tokio::net::TcpListener;

    use super::*;

    async fn dialled(host: &str, hosted: bool) -> Result<(), String> {
        palladium_tls::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let config = web_client_config(WebRoots::Nobody, None, ALPN_HTTP).expect("sound");
        let uri = format!("http://{host}:{port}/").parse().expect("a URI");
        let dialled = connector(config, hosted).call(uri).await;
        dialled.map(drop).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn sec_119_names_and_addresses_are_judged_when_they_are_dialled() {
        // The system reads that name as 127.0.0.1.
        assert_eq!(dialled("127.1", false).await, Ok(()));
        let refused = dialled("127.1", true).await.expect_err("it leads back");
        assert!(refused.contains("no address that may be called"), "{refused}");
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(dialled(host, true).await, Ok(()), "the owner's to refuse");
        }
        let refused = dialled("[::ffff:169.254.169.254]", true)
            .await
            .expect_err("about machines");
        assert!(refused.contains("may not be called here"), "{refused}");
    }
}
