//! Metrics of a whole installation, read as Prometheus reads them.

use std::os::unix::fs::PermissionsExt as _;
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

/// Whoever holds the token.
struct Reader {
    client: reqwest::Client,
    port: u16,
    token: String,
}

impl Reader {
    async fn get(&self, address: &str, path: &str) -> Result<Answer> {
        let request = self.client.get(format!("http://{address}{path}"));
        Api::answer(request.bearer_auth(&self.token)).await
    }

    /// A path of the installation's port.
    async fn own(&self, path: &str) -> Result<Answer> {
        self.get(&format!("127.0.0.1:{}", self.port), path).await
    }

    /// The same as anybody on the machine may ask.
    async fn without_token(&self, path: &str) -> Result<Answer> {
        Api::answer(self.client.get(format!("http://127.0.0.1:{}{path}", self.port))).await
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
    let reader = reader(&system)?;
    orders.save("kvstore", "kept", &json!("one coffee")).await?.good()?;
    tools.load("kvstore", "none").await?.good()?;
    nobody_else_is_told_anything(&reader, &orders).await?;
    each_app_id_tells_its_own(&reader, &orders, &tools).await?;
    sec_065_a_tenant_whose_application_is_there_is_told_nothing(&system, &reader).await?;
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
    it_is_remembered_until_it_is_ended(&mut system, &reader).await?;
    system.finish().await
}

fn reader(system: &System) -> Result<Reader> {
    let file = system.data().join("region/metrics-token");
    let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the token's file has mode {mode:o}");
    let token = std::fs::read_to_string(&file)?;
    let agent = std::fs::read_to_string(system.data().join("region/config/agent.json"))?;
    ensure!(!agent.contains(&token), "the agent is told the token");
    Ok(Reader {
        client: client(&system.ca_file())?,
        port: system.ports.extra(0),
        token,
    })
}

async fn nobody_else_is_told_anything(reader: &Reader, orders: &App) -> Result<()> {
    // The port is opened beside all else.
    let refused = until(SOON, "the port", || reader.without_token("/targets")).await?;
    for path in ["/".to_owned(), path(&orders.project, "orders"), path("prj-x", "nobody")] {
        let other = reader.without_token(&path).await?;
        ensure!(
            other.status == 401 && other.body == refused.body,
            "{path}: {other:?}, {refused:?}"
        );
    }
    ensure!(refused.status == 401, "{refused:?}");
    Ok(())
}

async fn each_app_id_tells_its_own(reader: &Reader, orders: &App, tools: &App) -> Result<()> {
    // A call is counted when its answer has gone out.
    let counted = async |app: &App, method: &str| {
        let counted = format!(
            r#"dapr_http_server_request_count{{app_id="{}",method="{method}","#,
            app.id
        );
        until(SOON, "its call is counted", async || {
            let text = reader.scrape(&reader.of(app).await?).await?;
            ensure!(text.lines().any(|line| line.starts_with(&counted)), "{text}");
            Ok(text)
        })
        .await
    };
    let text = counted(orders, "POST").await?;
    ensure!(!text.contains("one coffee"), "a value is in {text}");
    let text = counted(tools, "GET").await?;
    ensure!(!text.contains("orders"), "{text}");
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

/// The region's owner lets Dapr Servers call applications on loopback, where the port of metrics is too.
async fn sec_065_a_tenant_whose_application_is_there_is_told_nothing(system: &System, reader: &Reader) -> Result<()> {
    let url = format!("http://127.0.0.1:{}", reader.port);
    let create = [
        "appid",
        "create",
        "prober",
        "-p",
        "yard",
        "--app-endpoint",
        &url,
        "--wait",
    ];
    system.cli(&create).await?;
    let prober = App::of(system, "yard", "prober").await?;
    let refused = reader.without_token("/targets").await?;
    for method in ["targets".to_owned(), path(&prober.project, "prober")[1..].to_owned()] {
        let invoke = format!("/v1.0/invoke/prober/method/{method}");
        until(SOON, "the application's own answer", async || {
            let answer = prober.gateway.get(&invoke).await?;
            ensure!(
                answer.status == 401 && answer.body == refused.body,
                "{invoke}: {answer:?}"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn it_is_remembered_until_it_is_ended(system: &mut System, reader: &Reader) -> Result<()> {
    let listed = reader.targets().await?;
    system.stop().await?;
    system.set_flags(&[]);
    system.launch().await?;
    system.ready().await?;
    until(SOON, "the same with the same token", async || {
        let now = reader.targets().await?;
        ensure!(now == listed, "it was {listed:?}, is {now:?}");
        Ok(())
    })
    .await?;
    system.stop().await?;
    system.set_flags(&["--port-metrics", "0"]);
    system.launch().await?;
    system.ready().await?;
    let listening = system.ports.listening()?;
    ensure!(
        !listening.iter().any(|address| address.port() == reader.port),
        "{listening:?}"
    );
    Ok(())
}
