//! `middleware.http.bearer`: only requests with a token of an OpenID Connect issuer pass.
//!
//! The one idea: the issuer's keys are found once, by its discovery document or an address that is said, and kept fresh
//! behind the requests; a token is judged with what is here. Must never take a token that names no end, nor a signature that
//! its key was not made for, nor put a token into an error or a log.

mod keys;
mod token;

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_components_web as web;
use palladium_tasks::Shutdown;
use reqwest::Url;
use serde::Deserialize;

use crate::answer;
use keys::KeySet;
use token::{Fault, Rules};

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.bearer",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: BearerMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How long one call to the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Greatest discovery document.
const MAX_DOCUMENT: usize = 1 << 20;
/// In front of the token, whatever its case.
const PREFIX: &str = "bearer ";

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct BearerMetadata {
    /// Who must have issued the token, as its 'iss' says it. An address, below which the discovery document is looked for.
    #[metadata(alias = "issuerURL")]
    issuer: String,
    /// Whom the token must be for: one of its 'aud'. Usually the client's ID.
    #[metadata(alias = "clientID")]
    audience: String,
    /// Address of the issuer's key set; the one in its discovery document when absent.
    #[metadata(name = "jwksURL")]
    jwks_url: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = BearerMetadata::parse(&context.properties)?;
    let hosted = context.hosting.is_platform();
    let said = metadata.jwks_url.as_deref().filter(|said| !said.is_empty());
    let url = match said {
        Some(said) => web::address("jwksURL", said, hosted)?,
        None => discovered(&metadata.issuer, hosted).await?,
    };
    if url.scheme() == "http" {
        tracing::warn!("an issuer's keys are fetched without TLS: whoever is on the way can replace them");
    }
    let client = web::client("jwksURL", TIMEOUT, hosted)?;
    let keys = Arc::new(KeySet::fetch(client, url).await.map_err(OpenError::Unavailable)?);
    let stop = Shutdown::new();
    let keeping = {
        let (keys, stop) = (keys.clone(), stop.clone());
        tokio::spawn(async move { stop.unless(keys.keep()).await })
    };
    Ok(Arc::new(Bearer {
        rules: Rules::new(metadata.issuer, metadata.audience),
        keys,
        stop,
        _keeping: keeping,
    }))
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Option<String>,
}

/// Where the issuer's discovery document says that its keys are.
async fn discovered(issuer: &str, hosted: bool) -> Result<Url, OpenError> {
    let base = web::address("issuer", issuer, hosted)?;
    let document = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let client = web::client("issuer", TIMEOUT, hosted)?;
    let failed =
        |reason: String| OpenError::Unavailable(format!("failed to retrieve OpenID Configuration document: {reason}"));
    let answer = web::send(client.get(web::address("issuer", &document, hosted)?), MAX_DOCUMENT).await;
    let answer = answer.map_err(|failure| failed(failure.to_string()))?;
    if answer.status != StatusCode::OK {
        return Err(failed(format!(
            "invalid response status code: {}",
            answer.status.as_u16()
        )));
    }
    let document: Discovery = serde_json::from_slice(&answer.body).map_err(|error| {
        failed(format!(
            "it cannot be read at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    // To the letter: another spelling is another issuer, as the standard has it.
    if document.issuer != issuer {
        let reason = "the issuer in its OpenID Configuration document is another one";
        return Err(MetadataError::new("issuer", reason, "write it as the document has it").into());
    }
    let Some(keys) = document.jwks_uri.filter(|uri| !uri.is_empty()) else {
        return Err(failed("it does not contain a 'jwks_uri'".to_owned()));
    };
    let keys =
        web::address("jwks_uri", &keys, hosted).map_err(|_| failed("its 'jwks_uri' is no address".to_owned()))?;
    // What a document says was looked at by nobody.
    if hosted && keys.origin() != base.origin() {
        let reason = "the issuer's keys are at another host than the issuer";
        return Err(MetadataError::new("jwksURL", reason, "give their address").into());
    }
    Ok(keys)
}

struct Bearer {
    rules: Rules,
    keys: Arc<KeySet>,
    stop: Shutdown,
    /// Ends with `stop`, at the latest when this is dropped.
    _keeping: tokio::task::JoinHandle<Option<()>>,
}

impl Drop for Bearer {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

impl Bearer {
    /// With a key that is not here, the issuer is asked whether it has come since.
    async fn judge_again(&self, token: &str) -> Verdict {
        self.keys.ask_again().await;
        match self.rules.check(token, &self.keys.now()) {
            Ok(()) => Verdict::pass(),
            Err(_) => unauthorized(INVALID),
        }
    }
}

impl Middleware for Bearer {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        let mut said = head.headers.get_all(AUTHORIZATION).iter();
        // Of two, whoever stands behind may read the one that was not judged.
        let (first, None) = (said.next(), said.next()) else {
            return Reply::ready(Ok(unauthorized(INVALID)));
        };
        let said = first.and_then(|value| value.to_str().ok());
        let token = said.and_then(|said| {
            let prefix = said.get(..PREFIX.len())?;
            prefix.eq_ignore_ascii_case(PREFIX).then_some(&said[PREFIX.len()..])
        });
        let Some(token) = token else {
            return Reply::ready(Ok(unauthorized(MISSING)));
        };
        match self.rules.check(token, &self.keys.now()) {
            Ok(()) => Reply::ready(Ok(Verdict::pass())),
            Err(Fault::Invalid) => Reply::ready(Ok(unauthorized(INVALID))),
            Err(Fault::UnknownKey) => Reply::wait(async move { Ok(self.judge_again(token).await) }),
        }
    }
}

const MISSING: &str = "Bearer";
const INVALID: &str = "Bearer error=\"invalid_token\"";

fn unauthorized(challenge: &'static str) -> Verdict {
    let mut verdict = answer::refuse(StatusCode::UNAUTHORIZED);
    if let Verdict::Answer(answer) = &mut verdict {
        let headers = answer.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    verdict
}

#[cfg(test)]
mod tests;
