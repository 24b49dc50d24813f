//! One call of a model's service.
//!
//! One idea: JSON goes out and comes back, with an end to both the wait and the length; what a service says about its
//! failure is told by status and code, never in its own words, which may quote the key or the conversation. Must never put
//! either into an error or a log.

use std::time::Duration;

use palladium_component::{CallError, MetadataError, OpenError};
use palladium_components_web as web;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

/// How long a model may think when no policy says less.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Longest answer.
pub(crate) const MAX_ANSWER: usize = 8 << 20;
/// Longest code that is told.
const MAX_CODE: usize = 60;

/// Where a model answers.
pub(crate) struct Service {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Service {
    /// The service at this address, which takes its key in a header behind `prefix`. `hosted`: whether a
    /// tenant says the address.
    pub(crate) fn new(
        url: Url,
        header: HeaderName,
        prefix: &str,
        key: &SecretString,
        hosted: bool,
    ) -> Result<Self, OpenError> {
        if url.scheme() == "http" && !key.expose_secret().is_empty() {
            tracing::warn!(
                "a model is called without TLS: whoever is on the way can read the key and the conversation"
            );
        }
        let text = Zeroizing::new(format!("{prefix}{}", key.expose_secret().trim()));
        let value = HeaderValue::from_str(&text);
        let mut value = value.map_err(|_| MetadataError::new("key", "it is no key", "correct it"))?;
        value.set_sensitive(true);
        let has_key = !key.expose_secret().trim().is_empty();
        Ok(Self {
            client: web::client("endpoint", TIMEOUT, hosted)?,
            url,
            headers: has_key.then_some((header, value)).into_iter().collect(),
        })
    }

    /// The same with another header.
    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        self.headers.insert(name, value);
        self
    }

    /// The same with less patience.
    #[cfg(test)]
    pub(crate) fn impatient(mut self) -> Self {
        self.client = web::client("endpoint", Duration::from_millis(300), false).unwrap();
        self
    }

    /// Sends `body` and reads the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, body: &Value) -> Result<T, CallError> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .json(body);
        let answer = web::send(request, MAX_ANSWER).await.map_err(|failure| match failure {
            web::Failure::Unreachable(words) => CallError::Unavailable(format!("the model did not answer: {words}")),
            web::Failure::TooLong(_) => CallError::Other(format!("the model: {failure}")),
        })?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            CallError::Other(format!(
                "the model's answer cannot be read at line {line}, column {column}"
            ))
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Reason,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    #[serde(rename = "type")]
    kind: Value,
    code: Value,
}

impl Service {
    /// Repeating helps where there is too much to do, or something broke.
    fn refused(&self, answer: &web::Answer) -> CallError {
        let reason = serde_json::from_slice::<Refusal>(&answer.body)
            .unwrap_or_default()
            .error;
        let told = [reason.kind, reason.code].into_iter().filter_map(|said| code(&said));
        let mut told: Vec<String> = told.filter(|code| !self.is_of_a_key(code)).collect();
        told.dedup();
        let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse::<u32>().ok());
        told.extend(after.map(|seconds| format!("retry after {seconds}s")));
        let told = match told.is_empty() {
            true => String::new(),
            false => format!(" ({})", told.join(", ")),
        };
        let words = format!("the model answered {}{told}", answer.status.as_u16());
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => CallError::Unavailable(words),
            status if status.is_client_error() => CallError::Invalid(words),
            _ => CallError::Unavailable(words),
        }
    }

    /// Whether a code is the key, or a piece of it.
    fn is_of_a_key(&self, code: &str) -> bool {
        let mut values = self.headers.values().filter(|value| value.is_sensitive());
        values.any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.contains(code) || code.contains(value))
        })
    }
}

/// A word or a number, and not something that a service wrote there instead.
fn code(said: &Value) -> Option<String> {
    let text = match said {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_code = !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(is_plain);
    is_code.then_some(text)
}
