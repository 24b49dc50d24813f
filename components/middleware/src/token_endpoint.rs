//! A token from an OAuth 2.0 authorization server, for the drivers that get one.
//!
//! One idea: servers differ in where they want the client's secret; the header is tried first, the form where that is
//! refused, and what worked is what is done from then on, as Go's library does it. Must never put the secret, a code or a
//! token into an error, a log or a Debug.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use palladium_component::OpenError;
use palladium_components_web as web;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize, parse};
use zeroize::Zeroizing;

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Greatest answer.
const MAX_ANSWER: usize = 1 << 20;
/// Longest time that a token is believed to live.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Where the client's secret goes; the numbers are Go's.
pub(crate) const AUTO: u8 = 0;
pub(crate) const IN_FORM: u8 = 1;
pub(crate) const IN_HEADER: u8 = 2;

/// The server and who asks it.
pub(crate) struct TokenEndpoint {
    client: Client,
    url: Url,
    client_id: String,
    secret: SecretString,
    style: AtomicU8,
}

/// What it gave.
pub(crate) struct Token {
    /// Kind and token, as a header has them; marked as sensitive.
    pub(crate) header: HeaderValue,
    /// How long it is good; `None` = not said.
    pub(crate) life: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    access_token: Option<SecretString>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    error: Option<String>,
}

impl TokenEndpoint {
    /// `hosted`: whether a tenant says the address.
    pub(crate) fn new(
        url: &str,
        client_id: String,
        secret: SecretString,
        style: u8,
        hosted: bool,
    ) -> Result<Self, OpenError> {
        let url = web::address("tokenURL", url, hosted)?;
        if url.scheme() == "http" {
            tracing::warn!("tokens are fetched without TLS: whoever is on the way can read the client's secret");
        }
        Ok(Self {
            client: web::client("tokenURL", TIMEOUT, hosted)?,
            url,
            client_id,
            secret,
            style: AtomicU8::new(style),
        })
    }

    /// Asks for a token with this form.
    pub(crate) async fn ask(&self, form: &[(&str, &str)]) -> Result<Token, String> {
        let style = self.style.load(Ordering::Relaxed);
        if style != AUTO {
            return self.once(form, style).await.map_err(|failure| failure.words);
        }
        let failure = match self.once(form, IN_HEADER).await {
            Ok(token) => {
                self.style.store(IN_HEADER, Ordering::Relaxed);
                return Ok(token);
            }
            Err(failure) => failure,
        };
        if !failure.answered {
            return Err(failure.words);
        }
        let token = self.once(form, IN_FORM).await.map_err(|failure| failure.words)?;
        self.style.store(IN_FORM, Ordering::Relaxed);
        Ok(token)
    }

    async fn once(&self, form: &[(&str, &str)], style: u8) -> Result<Token, Failure> {
        let mut request = self.client.post(self.url.clone());
        if style != IN_FORM {
            request = request.header(AUTHORIZATION, self.basic()?);
        }
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.fields(form, style));
        let answer = web::send(request, MAX_ANSWER).await;
        let answer = answer.map_err(|failure| Failure::unanswered(failure.to_string()))?;
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let read = read(kind.unwrap_or_default(), &answer.body);
        let is_good = answer.status.is_success();
        let failed = |words: String| Failure { words, answered: true };
        match read {
            Some(read) if is_good && read.error.is_none() => token(read).map_err(failed),
            read => {
                let code = read.and_then(|read| read.error).filter(|code| is_code(code));
                let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
                let status = answer.status.as_u16();
                Err(failed(format!("the token endpoint answered {status}{code}")))
            }
        }
    }

    fn fields(&self, form: &[(&str, &str)], style: u8) -> String {
        let mut fields = Serializer::new(String::new());
        fields.extend_pairs(form);
        if style == IN_FORM {
            fields.append_pair("client_id", &self.client_id);
            if !self.secret.expose_secret().is_empty() {
                fields.append_pair("client_secret", self.secret.expose_secret());
            }
        }
        fields.finish()
    }

    /// As RFC 6749 has it: both are escaped before they are joined.
    fn basic(&self) -> Result<HeaderValue, Failure> {
        use base64::Engine as _;
        let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let secret = Zeroizing::new(escaped(self.secret.expose_secret()));
        let pair = Zeroizing::new(format!("{}:{}", escaped(&self.client_id), *secret));
        let coded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
        let value = HeaderValue::try_from(format!("Basic {}", *coded));
        let mut value = value.map_err(|_| Failure::unanswered("the client's secret is too long".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

struct Failure {
    words: String,
    /// Whether somebody answered, who may want the secret elsewhere.
    answered: bool,
}

impl Failure {
    fn unanswered(words: String) -> Self {
        let answered = false;
        Self { words, answered }
    }
}

/// An error's code, and not something that a server wrote there instead.
fn is_code(code: &str) -> bool {
    code.len() <= 40 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// JSON, or the form that servers of old answer with.
fn read(kind: &str, body: &[u8]) -> Option<Answer> {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !matches!(kind, "application/x-www-form-urlencoded" | "text/plain") {
        return serde_json::from_slice(body).ok();
    }
    let mut answer = Answer::default();
    for (name, value) in parse(body) {
        let value = value.into_owned();
        match &*name {
            "access_token" => answer.access_token = Some(value.into()),
            "token_type" => answer.token_type = Some(value),
            "expires_in" => answer.expires_in = Some(value.into()),
            "error" => answer.error = Some(value),
            _ => {}
        }
    }
    Some(answer)
}

fn token(answer: Answer) -> Result<Token, String> {
    let none = || "the token endpoint answered without a token".to_owned();
    let access = answer.access_token.filter(|token| !token.expose_secret().is_empty());
    let access = access.ok_or_else(none)?;
    let kind = answer.token_type.unwrap_or_default();
    let kind = match kind.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "mac" => "MAC",
        "basic" => "Basic",
        _ => kind.as_str(),
    };
    let text = Zeroizing::new(format!("{kind} {}", access.expose_secret()));
    let mut header = HeaderValue::from_str(&text).map_err(|_| none())?;
    header.set_sensitive(true);
    let seconds = answer.expires_in.and_then(|said| match said {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let life = seconds
        .filter(|seconds| *seconds > 0.0)
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_or(LONGEST, |life| life.min(LONGEST)));
    Ok(Token { header, life })
}
