//! Metrics of a whole installation, read as Prometheus reads them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    api::{Answer, Api, client},
    app::App,
    system::System,
    until,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Whoever reads metrics: nobody in particular.
struct Reader {
    client: reqwest::Client,
    port: u16,
}

impl Reader {
    async fn get(&self, address: &str, path: &str) -> Result<Answer> {
        Api::answer(self.client.get(format!("http://{address}{path}"))).await
    }

    /// A path of the installation's port.
    async fn own(&self, path: &str) -> Result<Answer> {
        self.get(&format!("127.0.0.1:{}", self.port), path).await
    }

    async fn targets(&self) -> Result<Vec<Value>> {
        let list = self.own("/targets").await?.good()?;
        Ok(list.as_array().context("not a list")?.clone())
    }

    /// What Prometheus gets of a target.
    async fn scrape(&self, target: &Value) -> Result<String> {
        let address = target["targets"][0].as_str().context("no address")?;
        let path = target["labels"]["__metrics_path__"].as_str().context("no path")?;
        let text = self.get(address, path).await?.good()?;
        Ok(text.as_str().context("not text")?.to_owned())
    }

    /// The one target of an App ID.
    async fn of(&self, app: &App) -> Result<Value> {
        let mut all = self.targets().await?;
        all.retain(|target| is_of(target, app));
        ensure!(all.len() == 1, "{all:?}");
        all.pop().context("no target")
    }
}

fn is_of(target: &Value, app: &App) -> bool {
    let labels = &target["labels"];
    labels["project"] == app.project.as_str() && labels["app_id"] == app.id.as_str()
}

fn path(project: &str, app: &str) -> String {
    format!("/metrics/{project}/{app}")
}

#[tokio::test]
async fn prometheus_finds_what_there_is_and_reads_it() -> Result<()> {
    let flag = |port: u16| vec!["--port-metrics".to_owned(), port.to_string()];
    let mut system = System::start_where(|ports| flag(ports.extra(0))).await?;
    system.project("shop").await?;
    system.project("yard").await?;
    let (orders, tools) = (
        App::create(&system, "shop", "orders").await?,
        App::create(&system, "yard", "tools").await?,
    );
    let reader = Reader {
        client: client(&system.ca_file())?,
        port: system.ports.extra(0),
    };
    orders.save("kvstore", "kept", &json!("one coffee")).await?.good()?;
    each_app_id_tells_its_own(&reader, &orders, &tools).await?;
    the_gateway_is_listed_beside_them(&reader, &orders).await?;
    system.kill(&tools.server())?;
    until(SOON, "a Dapr Server that was killed is read again", async || {
        reader.scrape(&reader.of(&tools).await?).await
    })
    .await?;
    let listening = system.ports.listening()?;
    ensure!(
        listening.iter().all(|address| address.ip().is_loopback()),
        "{listening:?}"
    );
    let delete = ["appid", "delete", "orders", "-p", "shop", "--yes", "--wait"];
    system.cli(&delete).await?;
    let left = reader.targets().await?;
    ensure!(!left.iter().any(|target| is_of(target, &orders)), "{left:?}");
    ensure!(left.iter().any(|target| is_of(target, &tools)), "{left:?}");
    let gone = reader.own(&path(&orders.project, "orders")).await?;
    ensure!(gone.status == 404, "{gone:?}");
    // The ports are the same ever after.
    let listed = reader.targets().await?;
    system.stop().await?;
    system.launch().await?;
    system.ready().await?;
    ensure!(reader.targets().await? == listed, "it was {listed:?}");
    system.finish().await
}

async fn each_app_id_tells_its_own(reader: &Reader, orders: &App, tools: &App) -> Result<()> {
    const SAVES: &str = r#"dapr_http_server_request_count{app_id="orders",method="POST","#;
    let text = reader.scrape(&reader.of(orders).await?).await?;
    ensure!(text.lines().any(|line| line.starts_with(SAVES)), "{text}");
    ensure!(!text.contains("one coffee"), "a value is in {text}");
    let text = reader.scrape(&reader.of(tools).await?).await?;
    ensure!(text.contains(r#"app_id="tools""#) && !text.contains("orders"), "{text}");
    for (project, app) in [
        (&orders.project, "tools"),
        (&tools.project, "orders"),
        (&orders.project, "nobody"),
    ] {
        let answer = reader.own(&path(project, app)).await?;
        ensure!(answer.status == 404, "{app} in {project}: {answer:?}");
        let said = answer.body.as_str().unwrap_or_default();
        ensure!(said.contains("/targets"), "{said}");
    }
    Ok(())
}

async fn the_gateway_is_listed_beside_them(reader: &Reader, orders: &App) -> Result<()> {
    let all = reader.targets().await?;
    let gateway = all.iter().find(|target| target["labels"].get("app_id").is_none());
    let gateway = gateway.context("it is not listed")?;
    let labels = format!(
        r#"palladium_gateway_requests_total{{project="{}",app_id="orders",class="2xx"}}"#,
        orders.project
    );
    // A request is counted when its answer has gone out.
    until(SOON, "the call is counted", async || {
        let text = reader.scrape(gateway).await?;
        ensure!(text.contains(&labels), "{text}");
        Ok(())
    })
    .await
}
