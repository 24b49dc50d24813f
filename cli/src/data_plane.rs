//! Calls an App ID's Dapr Server through the gateway, exactly as an application would: its endpoint and its token.
//!
//! Must never print the token, and never send it anywhere but to the project's own endpoint.

use std::time::Duration;

use palladium_kinds::{app_identity, project};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::Error;
use crate::api;
use crate::context::Context;
use crate::resource;

const DEADLINE: Duration = Duration::from_secs(30);

/// What an application needs to reach its Dapr Server.
#[derive(Debug)]
pub struct Access {
    /// `DAPR_HTTP_ENDPOINT`
    pub http_endpoint: String,
    /// `DAPR_GRPC_ENDPOINT`
    pub grpc_endpoint: String,
    /// `DAPR_API_TOKEN`
    pub token: SecretString,
}

/// A 2xx answer.
#[derive(Debug)]
pub struct Reply {
    /// Empty for a key without a value.
    pub body: Vec<u8>,
    /// Of the value.
    pub etag: Option<String>,
}

impl Access {
    /// Reads endpoints and token of `app_id` from the control plane. Needs a role that may read tokens.
    pub async fn of(context: &Context, project_name: &str, app_id: &str) -> Result<Self, Error> {
        let project = context
            .api
            .get(&resource::object(&project::KIND, None, project_name))
            .await?;
        let path = resource::object(&app_identity::KIND, Some(project_name), app_id);
        let app = context.api.get(&path).await?;
        let endpoint = |protocol: &str| {
            let pointer = format!("/status/endpoints/{protocol}/url");
            project
                .pointer(&pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| Error::Answer {
                    target: format!("project {project_name}"),
                    reason: "it has no endpoints yet: its region has not connected".to_owned(),
                })
        };
        let token = app["status"]["apiToken"].as_str().ok_or_else(|| Error::Refused {
            status: 403,
            title: "No token".to_owned(),
            detail: format!("the token of {app_id} was not given: it does not exist yet, or your role may not read it"),
        })?;
        Ok(Self {
            http_endpoint: endpoint("http")?,
            grpc_endpoint: endpoint("grpc")?,
            token: token.to_owned().into(),
        })
    }

    /// One Dapr HTTP call. Dapr's error text is in the error when the answer is not a 2xx.
    pub async fn call(
        &self,
        context: &Context,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, Error> {
        let base = Url::parse(&self.http_endpoint).map_err(|error| Error::Answer {
            target: self.http_endpoint.clone(),
            reason: error.to_string(),
        })?;
        let url = base.join(path).map_err(|error| Error::Argument {
            argument: "path",
            reason: error.to_string(),
        })?;
        let client = api::http_client(context.ca_file.as_deref())?;
        let mut request = client
            .request(method, url)
            .timeout(DEADLINE)
            .header("dapr-api-token", self.token.expose_secret());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| api::unreachable(&base, &error))?;
        let status = response.status();
        let etag = response
            .headers()
            .get("etag")
            .and_then(|etag| etag.to_str().ok())
            .map(str::to_owned);
        let bytes = response
            .bytes()
            .await
            .map_err(|error| api::unreachable(&base, &error))?;
        if status.is_success() {
            return Ok(Reply {
                body: bytes.to_vec(),
                etag,
            });
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(Error::Refused {
            status: status.as_u16(),
            title: body["errorCode"]
                .as_str()
                .or(status.canonical_reason())
                .unwrap_or("error")
                .to_owned(),
            detail: body["message"]
                .as_str()
                .map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned),
        })
    }
}
