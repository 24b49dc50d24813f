//! A plain client of the REST API and of the gateway: status and JSON, nothing interpreted.
//!
//! One idea: a scenario judges answers, so the client never retries, follows or hides one.

use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, redirect::Policy};
use serde_json::Value;

use crate::until;

/// Of one request.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of a change to become true everywhere.
pub const SETTLE: Duration = Duration::from_secs(30);

/// A client that trusts exactly the roots of a file.
pub fn client(ca_file: &Path) -> Result<Client> {
    Ok(builder(ca_file)?.build()?)
}

fn builder(ca_file: &Path) -> Result<ClientBuilder> {
    palladium_tls::install_crypto_provider();
    let pem = fs::read(ca_file).with_context(|| ca_file.display().to_string())?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem)?;
    Ok(Client::builder()
        .tls_certs_only(roots)
        .redirect(Policy::none())
        .timeout(DEADLINE))
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as JSON; `Null` when empty, a string when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is a 2xx.
    pub fn good(self) -> Result<Value> {
        ensure!(
            (200..300).contains(&self.status),
            "answer {}: {}",
            self.status,
            self.body
        );
        Ok(self.body)
    }
}

/// A server with a header that proves who asks.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    header: &'static str,
    secret: String,
}

impl Api {
    /// The control plane, with an API key.
    pub fn new(port: u16, ca_file: &Path, key: String) -> Result<Self> {
        let base = format!("https://localhost:{port}");
        Ok(Self {
            client: client(ca_file)?,
            base,
            header: "x-diagrid-api-key",
            secret: key,
        })
    }

    /// The gateway as an application knows it, with an App ID token. Whatever its name, it is on this machine.
    pub fn gateway(url: &str, ca_file: &Path, token: String) -> Result<Self> {
        let url = reqwest::Url::parse(url)?;
        let (host, port) = url.host_str().zip(url.port()).context("no host and port")?;
        Ok(Self {
            client: builder(ca_file)?
                .resolve(host, (Ipv4Addr::LOCALHOST, port).into())
                .build()?,
            base: format!("https://{host}:{port}"),
            header: "dapr-api-token",
            secret: token,
        })
    }

    /// A request without the header that proves who asks.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// One request.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.bare(method, path).header(self.header, &self.secret);
        if let Some(body) = body {
            request = request.json(body);
        }
        Self::answer(request).await
    }

    /// Sends a request.
    pub async fn answer(request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Ok(Answer { status, body })
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path, None).await
    }

    /// Creates.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Replaces.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.call(Method::DELETE, path, None).await
    }

    /// Reads again and again until what is read is as it should be.
    pub async fn settled(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        until(SETTLE, what, async || {
            let body = self.get(path).await?.good()?;
            ensure!(holds(&body), "it is {body}");
            Ok(body)
        })
        .await
    }
}
