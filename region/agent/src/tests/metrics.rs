//! The region's metrics: who is listed and asked, and what becomes of Dapr Servers that do not answer as they should.

mod door;
mod late;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use palladium_sealing::token_digest;
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::{ALPN_HTTP, Acceptor, exactly, mtls_server_config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::control::{Control, DOMAIN, PROJECT, Wanted, config};
use super::pki::Pki;
use crate::metrics::Endpoint;
use crate::metrics::ask::{Bounds, Dial, Questions, Stream, TURNS, mutual_tls};
use crate::region::Region;
use crate::views::{DaprServer, server_name};
use crate::{Error, MetricsConfig};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "the-token-of-whoever-reads";
/// How long Dapr Servers have that are to answer, and one that never does.
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(1);
const BYTES: usize = 64;

/// Where something stands in for a Dapr Server, by the SPIFFE ID and the address that the agent is to dial.
type Fakes = Arc<Mutex<HashMap<(String, SocketAddr), SocketAddr>>>;

/// A region with the App IDs `orders` and `stock`, and its metrics.
struct Served {
    region: Arc<Region>,
    control: Control,
    fakes: Fakes,
    address: SocketAddr,
    turns: Arc<Semaphore>,
    shutdown: Shutdown,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

fn configured(listen: SocketAddr) -> MetricsConfig {
    let digest = token_digest(TOKEN);
    MetricsConfig {
        listen,
        token_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Plain TCP to whoever stands in.
fn plain(fakes: Fakes) -> Dial {
    Arc::new(move |spiffe_id: String, address: SocketAddr| {
        let fake = fakes.lock().unwrap().get(&(spiffe_id, address)).copied();
        async move {
            let fake = fake.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let stream: Box<dyn Stream> = Box::new(TcpStream::connect(fake).await?);
            io::Result::Ok(stream)
        }
        .boxed()
    })
}

impl Served {
    async fn start(wait: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::new();
        control.join(&folder.path().join("agent"));
        let region = Arc::new(Region::open(config(folder.path())).unwrap());
        let wanted = [Wanted::project(), Wanted::app("orders"), Wanted::app("stock")];
        region.take_snapshot(&control.snapshot(&wanted)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fakes = Fakes::default();
        let mut endpoint = Endpoint::new(&configured(address), plain(fakes.clone())).unwrap();
        endpoint.questions.bounds = Bounds { wait, bytes: BYTES };
        let turns = endpoint.questions.turns.clone();
        let (shutdown, mut tasks) = (Shutdown::new(), Tasks::new());
        tasks.spawn("metrics", endpoint.serve_on(listener, region.clone(), shutdown.clone()));
        Self {
            region,
            control,
            fakes,
            address,
            turns,
            shutdown,
            tasks,
            _folder: folder,
        }
    }

    /// What stands in for an App ID's Dapr Server.
    async fn fake(&self, app: &str) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ports = self.region.ports.ensure(&server_name(PROJECT, app)).unwrap();
        let dialled = (self.region.names.app(PROJECT, app), ports.gateway_address());
        let address = listener.local_addr().unwrap();
        self.fakes.lock().unwrap().insert(dialled, address);
        listener
    }

    /// A Dapr Server that answers everything with this.
    async fn dapr_server(&mut self, app: &str, answer: String) {
        let listener = self.fake(app).await;
        self.tasks.spawn("dapr-server", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let length = stream.read(&mut request).await.unwrap_or_default();
                assert!(request[..length].starts_with(b"GET /metrics HTTP/1.1\r\n"));
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
    }

    /// The whole answer to a request with this first line.
    async fn ask(&self, line: &str) -> String {
        self.ask_with(line, &format!("host: 127.0.0.1:9464\r\nauthorization: Bearer {TOKEN}"))
            .await
    }

    /// The same with these headers.
    async fn ask_with(&self, line: &str, headers: &str) -> String {
        ask_at(self.address, line, headers).await
    }

    async fn get(&self, app: &str) -> String {
        self.ask(&format!("GET /metrics/{PROJECT}/{app}")).await
    }

    async fn targets(&self) -> Value {
        let answer = self.ask("GET /targets").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"),
            "{head}"
        );
        serde_json::from_str(body).unwrap()
    }

    async fn unavailable(&self, app: &str, reason: &str) {
        let said = self.get(app).await;
        assert!(
            said.starts_with("HTTP/1.1 503 ") && said.contains(reason),
            "{reason}: {said}"
        );
    }
}

async fn ask_at(address: SocketAddr, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.expect("closed in time").unwrap();
    answer
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn what_there_is_to_read_is_listed() {
    let mut served = Served::start(LONG).await;
    let own = served.address.to_string();
    let app = |app: &str| {
        let path = format!("/metrics/{PROJECT}/{app}");
        json!({ "targets": [own], "labels": { "__metrics_path__": path, "project": PROJECT, "app_id": app } })
    };
    // Neither has a Dapr Server that runs: Prometheus is to notice.
    assert_eq!(served.targets().await, json!([app("orders"), app("stock")]));
    let gone = served.control.delete(&Wanted::app("orders"));
    served.region.take_entry(&gone).unwrap();
    assert_eq!(served.targets().await, json!([app("stock")]));
    served.shutdown.trigger();
    served.tasks.drain(PATIENCE).await.expect("it ends when it is told to");
}

#[tokio::test]
async fn each_app_id_is_read_by_its_own_name_only() {
    let mut served = Served::start(LONG).await;
    served.dapr_server("orders", answer("200 OK", "of orders")).await;
    served.dapr_server("stock", answer("200 OK", "of stock")).await;
    for (app, body) in [("orders", "of orders"), ("stock", "of stock")] {
        let said = served.get(app).await;
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with(body), "{said}");
        for header in [
            "content-type: text/plain; version=0.0.4; charset=utf-8\r\n",
            "x-content-type-options: nosniff\r\n",
        ] {
            assert!(said.contains(header), "{header} is missing in {said}");
        }
    }
    let head = served.ask(&format!("HEAD /metrics/{PROJECT}/orders")).await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    for path in [
        "/".to_owned(),
        "/metrics".to_owned(),
        "/metrics/orders".to_owned(),
        "/metrics/prj-qqqqqqqqqqqq/orders".to_owned(),
        format!("/metrics/{PROJECT}/nobody"),
        format!("/metrics/{PROJECT}/orders/"),
        format!("/metrics/{PROJECT}/stock/../orders"),
        format!("/metrics/{PROJECT}/../{PROJECT}/orders"),
        format!("/metrics/{PROJECT}/%6frders"),
        format!("/metrics//{PROJECT}/orders"),
    ] {
        let said = served.ask(&format!("GET {path}")).await;
        assert!(
            said.starts_with("HTTP/1.1 404 ") && said.contains("/targets"),
            "{path}: {said}"
        );
    }
    for path in ["/targets".to_owned(), format!("/metrics/{PROJECT}/orders")] {
        let said = served.ask(&format!("POST {path}")).await;
        assert!(
            said.starts_with("HTTP/1.1 405 ") && said.contains("allow: GET, HEAD\r\n"),
            "{path}: {said}"
        );
    }
    let gone = served.control.delete(&Wanted::app("orders"));
    served.region.take_entry(&gone).unwrap();
    assert!(
        served.get("orders").await.starts_with("HTTP/1.1 404 "),
        "its port is still recorded"
    );
}

#[tokio::test]
async fn a_dapr_server_that_does_not_answer_holds_up_nobody() {
    let mut served = Served::start(SHORT).await;
    served.unavailable("orders", "it has no port yet").await;
    // One that takes connections and says nothing.
    let silent = served.fake("orders").await;
    served.dapr_server("stock", answer("200 OK", "of stock")).await;
    let begun = Instant::now();
    let slow = async {
        served.unavailable("orders", "it takes longer than 1s").await;
        begun.elapsed()
    };
    let quick = async {
        let said = served.get("stock").await;
        assert!(said.ends_with("of stock"), "{said}");
        begun.elapsed()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(slow >= SHORT && quick < slow, "{slow:?} {quick:?}");
    drop(silent);
    served.unavailable("orders", "it cannot be reached").await;
}

#[tokio::test]
async fn few_are_asked_at_a_time() {
    let mut served = Served::start(SHORT).await;
    served.dapr_server("orders", answer("200 OK", "of orders")).await;
    let others = u32::try_from(TURNS).unwrap();
    let held = served.turns.clone().acquire_many_owned(others).await.unwrap();
    served.unavailable("orders", "it takes longer than 1s").await;
    drop(held);
    assert!(served.get("orders").await.ends_with("of orders"));
    // An answer that has gone out takes no turn any more.
    let all = served.turns.acquire_many(others);
    drop(timeout(PATIENCE, all).await.expect("given back").unwrap());
}

#[tokio::test]
async fn a_dapr_server_that_says_too_much_or_something_else_is_not_passed_on() {
    let mut served = Served::start(LONG).await;
    served.dapr_server("orders", answer("200 OK", &"x".repeat(BYTES))).await;
    assert!(served.get("orders").await.starts_with("HTTP/1.1 200 "), "not yet");
    served
        .dapr_server("stock", answer("200 OK", &"x".repeat(BYTES + 1)))
        .await;
    served.unavailable("stock", "it says more than 64 bytes").await;
    let mut served = Served::start(LONG).await;
    served.dapr_server("orders", answer("500 Broken", "no")).await;
    served.unavailable("orders", "it answers 500").await;
    served.dapr_server("stock", "no HTTP\r\n\r\n".to_owned()).await;
    served.unavailable("stock", "it broke off").await;
}

#[tokio::test]
async fn only_the_app_ids_own_identity_is_asked() {
    let pki = Pki::new(DOMAIN);
    let (svid, bundles) = (pki.svid(&format!("/ns/{PROJECT}/orders")), pki.bundles());
    let agent = exactly(&pki.id("/ns/palladium/agent"));
    let tls = mtls_server_config(&svid, &bundles, agent, ALPN_HTTP);
    let tls = Acceptor::mtls(tls, bundles, LONG);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(stream).await else {
                continue;
            };
            assert_eq!(stream.alpn(), Some(&b"http/1.1"[..]));
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer("200 OK", "of orders").as_bytes()).await;
        }
    });
    let questions = Questions::new(mutual_tls(pki.svid("/ns/palladium/agent"), pki.bundles()));
    for (app, text) in [("stock", None), ("orders", Some("of orders"))] {
        let server = DaprServer {
            spiffe_id: pki.id(&format!("/ns/{PROJECT}/{app}")).to_string(),
            address: Some(address),
        };
        let said = questions.ask(server).await;
        let said = said.ok().map(|said| String::from_utf8_lossy(&said).into_owned());
        assert_eq!(said.as_deref(), text, "{app}");
    }
    serving.abort();
}
