//! An application: an App ID with its token, as it calls the gateway over plain HTTP with JSON.
//!
//! Must never go around the gateway: what a test sees is what an application sees.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api},
    system::{System, dapr_server},
};

/// See the module.
#[derive(Clone)]
pub struct App {
    /// Id of its project.
    pub project: String,
    /// Its App ID.
    pub id: String,
    /// What lets it in.
    pub token: String,
    /// The name of its project's gateway.
    pub host: String,
    /// Where it calls.
    pub gateway: Api,
}

impl App {
    /// Creates an App ID in a project, and waits until it serves.
    pub async fn create(system: &System, project: &str, id: &str) -> Result<Self> {
        system.cli(&["appid", "create", id, "-p", project, "--wait"]).await?;
        Self::of(system, project, id).await
    }

    /// An App ID that is there, with its present token.
    pub async fn of(system: &System, project: &str, id: &str) -> Result<Self> {
        let found = system.cli(&["appid", "get", id, "-p", project, "-o", "json"]).await?;
        let text = |path: &str| found.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let token = text("/status/apiToken").context("no token")?;
        let found = system.cli(&["project", "get", project, "-o", "json"]).await?;
        let url = found["status"]["endpoints"]["http"]["url"]
            .as_str()
            .context("no endpoint")?;
        let host = reqwest::Url::parse(url)?.host_str().context("no host")?.to_owned();
        Ok(Self {
            project: text("/metadata/projectId").context("no project id")?,
            id: id.to_owned(),
            gateway: Api::gateway(url, &system.ca_file(), token.clone())?,
            token,
            host,
        })
    }

    /// Its Dapr Server, to be used like a role.
    pub fn server(&self) -> String {
        dapr_server(&self.project, &self.id)
    }

    /// Saves one key.
    pub async fn save(&self, store: &str, key: &str, value: &Value) -> Result<Answer> {
        let body = json!([{"key": key, "value": value}]);
        self.gateway.post(&format!("/v1.0/state/{store}"), &body).await
    }

    /// Saves keys, all or none.
    pub async fn save_together(&self, store: &str, pairs: &[(String, Value)]) -> Result<Answer> {
        let upsert =
            |(key, value): &(String, Value)| json!({"operation": "upsert", "request": {"key": key, "value": value}});
        let body = json!({"operations": pairs.iter().map(upsert).collect::<Vec<_>>()});
        self.gateway
            .post(&format!("/v1.0/state/{store}/transaction"), &body)
            .await
    }

    /// Reads one key: 200 with its value, or 204.
    pub async fn load(&self, store: &str, key: &str) -> Result<Answer> {
        self.gateway
            .call(Method::GET, &format!("/v1.0/state/{store}/{key}"), None)
            .await
    }
}
