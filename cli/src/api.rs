//! The REST client: one method per verb, JSON in and out, bounded in time, retrying only what cannot do harm twice.
//!
//! Must never follow a redirect (the key would go with it) and never log a body.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(30);
const TRIES: u32 = 4;

/// A control plane and the key for it.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
}

impl Api {
    /// Connects to nobody yet.
    pub fn new(base: Url, key: SecretString, ca_file: Option<&Path>) -> Result<Self, Error> {
        Ok(Self {
            http: http_client(ca_file)?,
            base,
            key,
        })
    }

    /// The control plane's URL.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// The key that is sent.
    pub fn key(&self) -> &SecretString {
        &self.key
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(Method::GET, path, None).await
    }

    /// Reads a whole collection, page by page.
    pub async fn get_all(&self, path: &str) -> Result<Value, Error> {
        let mut all = self.get(path).await?;
        while let Some(after) = all["metadata"]["continue"].as_str().map(str::to_owned) {
            let mut next = self
                .get(&format!("{path}?continue={}", crate::resource::segment(&after)))
                .await?;
            all["metadata"]["continue"] = next["metadata"]["continue"].take();
            if let (Some(items), Value::Array(more)) = (all["items"].as_array_mut(), next["items"].take()) {
                items.extend(more);
            }
        }
        if let Some(list) = all.as_object_mut() {
            list.remove("metadata");
        }
        Ok(all)
    }

    /// Creates, or acts.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Replaces.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// Merges (RFC 7396).
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Result<Value, Error> {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let url = self.base.join(path).map_err(|error| self.bad_answer(&error))?;
        let repeatable = method != Method::POST;
        let mut attempt = 1;
        loop {
            let mut request = self
                .http
                .request(method.clone(), url.clone())
                .header("x-diagrid-api-key", self.key.expose_secret());
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(response) if attempt < TRIES && is_passing(response.status(), repeatable) => {}
                Ok(response) => return self.read(response, path).await,
                Err(error) if attempt < TRIES && (error.is_connect() || repeatable) => {}
                Err(error) => return Err(unreachable(&self.base, &error)),
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            attempt += 1;
        }
    }

    async fn read(&self, response: Response, path: &str) -> Result<Value, Error> {
        let status = response.status();
        let text = response
            .bytes()
            .await
            .map_err(|error| unreachable(&self.base, &error))?;
        if status.is_success() {
            if text.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&text).map_err(|error| self.bad_answer(&error));
        }
        let body: Value = serde_json::from_slice(&text).unwrap_or_default();
        let first = &body["errors"][0];
        let details: Vec<&str> = body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|e| e["detail"].as_str())
            .collect();
        let detail = if details.is_empty() {
            "the server gave no reason".to_owned()
        } else {
            details.join("\n  ")
        };
        let detail = match status {
            StatusCode::NOT_FOUND => match asked_for(path, &detail) {
                Some(named) => format!("{detail}: {named}"),
                None => detail,
            },
            _ => detail,
        };
        Err(Error::Refused {
            status: status.as_u16(),
            title: first["title"]
                .as_str()
                .or(status.canonical_reason())
                .unwrap_or("error")
                .to_owned(),
            detail,
        })
    }

    fn bad_answer(&self, reason: &impl ToString) -> Error {
        Error::Answer {
            target: origin(&self.base),
            reason: reason.to_string(),
        }
    }
}

/// A client that trusts `ca_file`, or the system's roots without one.
pub fn http_client(ca_file: Option<&Path>) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .timeout(DEADLINE)
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("palladium/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca_file {
        let fail = |reason: String| Error::File {
            path: path.to_owned(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.to_string()))?;
        if roots.is_empty() {
            return Err(fail("holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|error| Error::Answer {
        target: "TLS set-up".to_owned(),
        reason: chain(&error),
    })
}

/// `error` as a failure to reach `url`.
pub fn unreachable(url: &Url, error: &reqwest::Error) -> Error {
    Error::Unreachable {
        target: origin(url),
        reason: chain(error),
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A 429 was refused before anything was done; the others may come after it was done, so only what can be done twice is repeated.
fn is_passing(status: StatusCode, repeatable: bool) -> bool {
    match status.as_u16() {
        429 => true,
        502..=504 => repeatable,
        _ => false,
    }
}

/// What is missing, as a person would say it: `projects/shop/components/redis`, or the project alone. `None` when the path names no
/// object.
fn asked_for(path: &str, detail: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.splitn(5, '/').last().unwrap_or_default().split('/').collect();
    // Kind and name in turn; a kind or an action without a name is left at the end.
    let mut named = parts.len() / 2 * 2;
    if detail.starts_with("Project ") {
        named = named.min(2);
    }
    // One "name" that holds no & or = decodes to itself; + does not occur in what `segment` writes.
    url::form_urlencoded::parse(parts[..named].join("/").as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
}

/// The innermost cause says it best ("certificate has expired", "connection refused").
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_done_twice_is_repeated_after_it_may_have_been_done() {
        let repeated = |status, repeatable| is_passing(StatusCode::from_u16(status).expect("a status"), repeatable);
        assert!(repeated(429, false) && repeated(429, true) && repeated(503, true) && repeated(504, true));
        assert!(!repeated(502, false) && !repeated(503, false) && !repeated(504, false) && !repeated(500, true));
    }

    #[test]
    fn a_404_names_what_was_asked_for() {
        let named =
            |path: &str, detail| asked_for(&format!("/apis/cra.diagrid.io/v1beta1/{path}"), detail).unwrap_or_default();
        let path = "projects/shop/components/my%2Eredis?showsensitive=false";
        assert_eq!(named(path, "Component not found"), "projects/shop/components/my.redis");
        let path = "projects/shop/appids/a/tokens:rotate";
        assert_eq!(named(path, "AppIdentity not found"), "projects/shop/appids/a");
        assert_eq!(named("projects/shop/appids", "Project not found"), "projects/shop");
        assert_eq!(named("apikeys", "Project not found"), "");
    }
}
