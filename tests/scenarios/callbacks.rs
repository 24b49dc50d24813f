//! What reaches an application through the whole installation: calls of other App IDs as its Configuration allows them,
//! and the events of a declared subscription.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use palladium_tests::{app::App, system::System, until};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(20);
const APP_TOKEN: &str = "the-applications-own-token";

/// One request that the application got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    path: String,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

/// An application that answers everything with what it was asked.
#[derive(Clone)]
pub(crate) struct Echo {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Echo {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let got = Arc::new(Mutex::new(Vec::new()));
        let echo = Self { url, got };
        let all = echo.got.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = all.clone();
                let answer = service_fn(move |request: Request<Incoming>| answer(all.clone(), request));
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), answer).await.is_ok() });
            }
        });
        Ok(echo)
    }

    /// What it got at a path.
    pub(crate) fn at(&self, path: &str) -> Vec<Got> {
        let got = self.got.lock().map(|got| got.clone()).unwrap_or_default();
        got.into_iter().filter(|one| one.path == path).collect()
    }
}

async fn answer(all: Arc<Mutex<Vec<Got>>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let known = ["/hello", "/events"].contains(&path.as_str());
    if let Ok(mut all) = all.lock() {
        all.push(Got {
            path: path.clone(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        });
    }
    let mut answer = Response::new(Full::from(json!({ "path": path }).to_string()));
    if !known {
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
    }
    Ok(answer)
}

#[tokio::test]
async fn applications_are_called_as_their_owner_says() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    let echo = Echo::start().await?;
    let create = ["appid", "create", "orders", "-p", "shop", "--app-endpoint", &echo.url];
    let create = [&create[..], &["--app-token", APP_TOKEN, "--wait"]].concat();
    system.cli(&create).await?;
    let orders = App::of(&system, "shop", "orders").await?;
    let (billing, stranger) = (
        App::create(&system, "shop", "billing").await?,
        App::create(&system, "shop", "stranger").await?,
    );
    others_call_it_and_it_knows_who(&billing, &echo).await?;
    access_control_is_in_force_and_follows_its_configuration(&system, &billing, &stranger, &echo).await?;
    declared_subscriptions_are_delivered(&system, &orders, &echo).await?;
    system.finish().await
}

const HELLO: &str = "/v1.0/invoke/orders/method/hello";

async fn others_call_it_and_it_knows_who(billing: &App, echo: &Echo) -> Result<()> {
    until(SOON, "the first call", || async {
        billing.gateway.call(Method::GET, HELLO, None).await?.good()
    })
    .await?;
    let got = echo.at("/hello").pop().context("the application was called")?;
    ensure!(
        (got.header("dapr-caller-app-id"), got.header("dapr-api-token")) == ("billing", APP_TOKEN),
        "{got:?}"
    );
    ensure!(
        !got.headers.values().any(|value| value == billing.token.as_str()),
        "the caller's token leaks"
    );
    Ok(())
}

async fn access_control_is_in_force_and_follows_its_configuration(
    system: &System,
    billing: &App,
    stranger: &App,
    echo: &Echo,
) -> Result<()> {
    let allow = |app: &str| {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: strict}}\n\
             spec: {{accessControl: {{defaultAction: deny, policies: [{{appId: {app}, defaultAction: allow}}]}}}}\n"
        )
    };
    let apply = async |text: String| {
        let done = system
            .cli_with(&["apply", "-f", "-", "-p", "shop", "--wait"], &text)
            .await?;
        ensure!(done.code == 0, "{done:?}");
        Ok(())
    };
    apply(allow("billing")).await?;
    system
        .cli(&[
            "appid",
            "update",
            "orders",
            "-p",
            "shop",
            "--app-config",
            "strict",
            "--wait",
        ])
        .await?;
    let status = async |app: &App| Ok::<_, anyhow::Error>(app.gateway.call(Method::GET, HELLO, None).await?.status);
    until(SOON, "the stranger is refused", || async {
        let status = status(stranger).await?;
        ensure!(status == 403, "answer {status}");
        Ok(())
    })
    .await?;
    ensure!(status(billing).await? == 200);
    // Never while it is replaced: the old rules hold until the new ones do, so whoever finds the stranger let in finds billing
    // refused from then on.
    let asking = async {
        let mut new = false;
        loop {
            match (status(stranger).await?, status(billing).await?) {
                (403, 200) if !new => {}
                // They changed between the two calls.
                (403, 403) if !new => new = true,
                (200, 403) => return Ok(()),
                (of_stranger, of_billing) => {
                    bail!("by no rule: {of_stranger} for the stranger, {of_billing} for billing")
                }
            }
        }
    };
    let (applied, asked) = tokio::join!(apply(allow("stranger")), tokio::time::timeout(SOON, asking));
    applied?;
    asked.context("the new rules do not come")??;
    let (of_stranger, of_billing) = (status(stranger).await?, status(billing).await?);
    ensure!((of_stranger, of_billing) == (200, 403), "{of_stranger} {of_billing}");
    let callers = echo.at("/hello");
    ensure!(
        callers
            .iter()
            .all(|got| ["billing", "stranger"].contains(&got.header("dapr-caller-app-id")))
    );
    Ok(())
}

async fn declared_subscriptions_are_delivered(system: &System, orders: &App, echo: &Echo) -> Result<()> {
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: bus}\n\
                spec: {type: pubsub.in-memory, version: v1}\nscopes: [orders]\n---\n\
                apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: events}\n\
                spec: {pubsubname: bus, topic: placed, routes: {default: /events}}\nscopes: [orders]\n";
    let done = system
        .cli_with(&["apply", "-f", "-", "-p", "shop", "--wait"], text)
        .await?;
    ensure!(done.code == 0, "{done:?}");
    until(SOON, "an event is delivered", || async {
        let body = json!({ "order": 7 });
        orders.gateway.post("/v1.0/publish/bus/placed", &body).await?.good()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let got = echo.at("/events").pop().context("no event yet")?;
        ensure!(
            got.body.contains("\"order\":7") && got.header("dapr-api-token") == APP_TOKEN,
            "{got:?}"
        );
        Ok(())
    })
    .await?;
    system
        .cli(&["subscription", "delete", "events", "-p", "shop", "--yes", "--wait"])
        .await?;
    until(SOON, "nothing is subscribed to any more", || async {
        let known = orders.gateway.get("/v1.0/metadata").await?.good()?;
        ensure!(known.get("subscriptions").is_none(), "{known}");
        Ok(())
    })
    .await
}
