//! The region's metrics: who is listed, who is asked, and what becomes of Dapr Servers that do not answer as they should.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palladium_launch::METRICS_SOCKET;
use palladium_tasks::{Shutdown, Tasks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};
use tokio::time::{Instant, timeout};

use super::control::{Control, PROJECT, Wanted, config};
use crate::Error;
use crate::metrics::{Bounds, Listener};
use crate::region::Region;

const PATIENCE: Duration = Duration::from_secs(20);
const GATEWAY: &str = "127.0.0.1:9";
/// How long Dapr Servers have that are to answer, and one that never does.
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);
const BYTES: usize = 64;

/// A region with the App IDs `orders` and `stock`, and its metrics.
struct Served {
    region: Arc<Region>,
    control: Control,
    address: SocketAddr,
    shutdown: Shutdown,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

impl Served {
    fn start(wait: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::new();
        control.join(&folder.path().join("agent"));
        let mut config = config(folder.path());
        config.gateway_metrics = Some(GATEWAY.parse().unwrap());
        let region = Arc::new(Region::open(config).unwrap());
        let wanted = [Wanted::project(), Wanted::app("orders"), Wanted::app("stock")];
        region.take_snapshot(&control.snapshot(&wanted)).unwrap();
        let mut listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.bounds = Bounds { wait, bytes: BYTES };
        let (address, shutdown, mut tasks) = (listener.address, Shutdown::new(), Tasks::new());
        tasks.spawn("metrics", listener.serve(region.clone(), shutdown.clone()));
        Self {
            region,
            control,
            address,
            shutdown,
            tasks,
            _folder: folder,
        }
    }

    /// A socket where an App ID's Dapr Server has its own.
    fn socket(&self, app: &str) -> UnixListener {
        let folder = self.region.app_folder(PROJECT, app);
        std::fs::create_dir_all(&folder).unwrap();
        UnixListener::bind(folder.join(METRICS_SOCKET)).unwrap()
    }

    /// A Dapr Server that answers everything with this.
    fn dapr_server(&mut self, app: &str, answer: String) {
        let listener = self.socket(app);
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
        self.ask_as("127.0.0.1:9464", line).await
    }

    /// The same, by this name of the listener.
    async fn ask_as(&self, host: &str, line: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.expect("closed in time").unwrap();
        answer
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

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn what_there_is_to_read_is_listed() {
    let mut served = Served::start(LONG);
    let own = served.address.to_string();
    let app = |app: &str| {
        let path = format!("/metrics/{PROJECT}/{app}");
        json!({ "targets": [own], "labels": { "__metrics_path__": path, "project": PROJECT, "app_id": app } })
    };
    let gateway = json!({ "targets": [GATEWAY], "labels": { "__metrics_path__": "/metrics" } });
    // Neither has a Dapr Server that runs: Prometheus is to notice.
    assert_eq!(served.targets().await, json!([app("orders"), app("stock"), gateway]));
    let gone = served.control.delete(&Wanted::app("orders"));
    served.region.take_entry(&gone).unwrap();
    assert_eq!(served.targets().await, json!([app("stock"), gateway]));
    served.shutdown.trigger();
    served.tasks.drain(PATIENCE).await.expect("it ends when it is told to");
}

#[tokio::test]
async fn each_app_id_is_read_by_its_own_name_only() {
    let mut served = Served::start(LONG);
    served.dapr_server("orders", answer("200 OK", "of orders"));
    served.dapr_server("stock", answer("200 OK", "of stock"));
    for (app, body) in [("orders", "of orders"), ("stock", "of stock")] {
        let said = served.get(app).await;
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with(body), "{said}");
        assert!(
            said.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{said}"
        );
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
        "its socket is still there"
    );
}

#[tokio::test]
async fn a_dapr_server_that_does_not_answer_holds_up_nobody() {
    let served = Served::start(SHORT);
    served.unavailable("orders", "its socket cannot be used").await;
    // One that takes connections and says nothing.
    let silent = served.socket("orders");
    let begun = Instant::now();
    served.unavailable("orders", "it takes longer than 200ms").await;
    assert!(begun.elapsed() >= SHORT);
    drop(silent);
    served.unavailable("orders", "its socket cannot be used").await;
}

#[tokio::test]
async fn a_dapr_server_that_says_too_much_or_something_else_is_not_passed_on() {
    let mut served = Served::start(LONG);
    served.dapr_server("orders", answer("200 OK", &"x".repeat(BYTES)));
    assert!(served.get("orders").await.starts_with("HTTP/1.1 200 "), "not yet");
    served.dapr_server("stock", answer("200 OK", &"x".repeat(BYTES + 1)));
    served.unavailable("stock", "it says more than 64 bytes").await;
    let mut served = Served::start(LONG);
    served.dapr_server("orders", answer("500 Broken", "no"));
    served.unavailable("orders", "it answers 500").await;
    served.dapr_server("stock", "no HTTP\r\n\r\n".to_owned());
    served.unavailable("stock", "it broke off").await;
}

#[tokio::test]
async fn metrics_are_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = Listener::open(address.parse().unwrap()).map(|_| ());
        assert!(
            matches!(&refused, Err(Error::Config(reason)) if reason.contains("loopback")),
            "{address}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_tenants_folder_leads_to_no_other_socket() {
    let mut served = Served::start(LONG);
    served.dapr_server("orders", answer("200 OK", "whose"));
    let socket = |app| served.region.app_folder(PROJECT, app).join(METRICS_SOCKET);
    std::fs::create_dir_all(served.region.app_folder(PROJECT, "stock")).unwrap();
    std::os::unix::fs::symlink(socket("orders"), socket("stock")).unwrap();
    served.unavailable("stock", "its socket cannot be used").await;
    assert!(served.get("orders").await.contains("whose"), "it is there itself");
}

#[tokio::test]
async fn a_page_whose_name_leads_here_learns_nothing() {
    let mut served = Served::start(LONG);
    served.dapr_server("orders", answer("200 OK", "whose"));
    let path = format!("/metrics/{PROJECT}/orders");
    for (host, status) in [
        ("localhost:9464", "200"),
        ("127.0.0.1", "200"),
        ("[::1]:9464", "200"),
        ("evil.example:9464", "421"),
        ("127.0.0.1.evil.example", "421"),
        ("192.0.2.1", "421"),
        ("", "421"),
    ] {
        let said = served.ask_as(host, &format!("GET {path}")).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {said}");
    }
}
