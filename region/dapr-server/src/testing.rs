//! What tests of this crate share: a Dapr Server without an agent, components by their manifests, applications on ports.
//!
//! Must never be part of a program.

use std::io;
use std::sync::Arc;

use palladium_component::Hosting;
use palladium_http::{Accept, Arrival, Connection};
use palladium_launch::DaprServerConfig;
use palladium_spiffe::SpiffeId;
use palladium_tasks::Shutdown;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::app_channel::AppChannel;
use crate::auth::Auth;
use crate::components::{Opened, Opener};
use crate::config::AppProtocol;
use crate::entry::Entry;
use crate::platform::new_server;
use crate::resources::{Component, References};
use crate::server::{Components, Registered, Server};

/// App ID `orders` of project `prj-a`, with an agent, a Sentry and folders that are nowhere.
pub(crate) fn config() -> DaprServerConfig {
    let id = |name: &str| format!("spiffe://reg-a.palladium.internal/ns/{name}");
    let config = json!({
        "app_id": "orders", "project_id": "prj-a",
        "identity": {
            "spiffe_id": id("prj-a/orders"), "sentry_address": "127.0.0.1:1",
            "sentry_id": id("palladium/dapr-sentry"), "roots_file": "/nowhere",
        },
        "agent_address": "127.0.0.1:1", "agent_id": id("palladium/agent"), "gateway_id": id("palladium/gateway"),
        "gateway_listen": "127.0.0.1:0", "internal_listen": "127.0.0.1:0", "data_folder": "/nowhere",
    });
    serde_json::from_value(config).expect("complete")
}

/// The Dapr Server of [`config`].
pub(crate) fn server() -> Arc<Server> {
    Arc::new(new_server(&config(), &Default::default(), Shutdown::new()))
}

/// The same, but it asks callers for no token.
pub(crate) fn open_server() -> Arc<Server> {
    Arc::new(Server {
        auth: Auth::Open,
        ..new_server(&config(), &Default::default(), Shutdown::new())
    })
}

/// Connections whose handshake has proven this peer.
pub(crate) struct Proven(pub(crate) TcpListener, pub(crate) SpiffeId);

impl Accept for Proven {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Arrival<TcpStream>> {
        let (stream, remote) = self.0.accept().await?;
        let mut connection = Connection::default();
        connection.peer = Some(self.1.clone());
        Ok(Arrival {
            remote: Some(remote),
            opening: Box::pin(async move { Ok((stream, connection)) }),
        })
    }
}

/// Opens a component by name, type and metadata.
pub(crate) async fn open(server: &Server, name: &str, kind: &str, metadata: &[(&str, &str)]) -> (Entry, Registered) {
    let opener = Opener {
        app_id: server.app_id.clone(),
        namespace: server.namespace.clone(),
        hosting: Hosting::SelfHosted,
        managed: None,
        pluggable: Vec::new(),
        secrets: Default::default(),
    };
    let metadata: Vec<Value> = metadata
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let document = json!({
        "metadata": { "name": name }, "spec": { "type": kind, "version": "v1", "metadata": metadata },
    });
    let declared = Component::read(document, &server.app_id, &server.namespace, References::Resolved);
    match opener.open(&declared.unwrap().unwrap(), &server.metrics).await {
        Ok(Opened::Ready(entry, about)) => (entry, about),
        Ok(Opened::Unavailable(_)) => panic!("{kind} is not there yet"),
        Err(error) => panic!("{error}"),
    }
}

/// Puts these in the place of all components.
pub(crate) fn use_components(server: &Server, opened: impl IntoIterator<Item = (Entry, Registered)>) {
    let (entries, abouts): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
    let components = Components::new(entries, abouts, Vec::new());
    server.components.store(Arc::new(components));
    server.subscriptions.ring();
    server.bindings.ring();
}

/// An application that speaks HTTP, at the path `/base` of its port. It gets the whole request and gives status and body.
pub(crate) async fn application<F>(answer: impl Fn(String) -> F + Send + Sync + 'static) -> Arc<AppChannel>
where
    F: Future<Output = (u16, String)> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move { serve(stream, &*answer).await });
        }
    });
    channel(port)
}

/// The way to a port, whoever is there.
pub(crate) fn channel(port: u16) -> Arc<AppChannel> {
    let url = format!("http://127.0.0.1:{port}/base");
    Arc::new(AppChannel::endpoint(&url, AppProtocol::Http, None, None, false).unwrap())
}

/// A port where nobody is.
pub(crate) async fn nobody() -> Arc<AppChannel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    channel(listener.local_addr().unwrap().port())
}

async fn serve<F>(mut stream: TcpStream, answer: &(impl Fn(String) -> F + Sync))
where
    F: Future<Output = (u16, String)>,
{
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&piece[..length]),
        }
    }
    let (status, body) = answer(String::from_utf8_lossy(&request).into_owned()).await;
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    body.len() >= length.unwrap_or_default()
}
