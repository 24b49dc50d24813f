//! The `jwks` validator: tokens signed by keys of a JSON Web Key Set.
//!
//! One idea: the key set is fetched when it is needed and at most once per refresh interval; an unknown key makes it be
//! fetched again. A token must be for this Sentry and about exactly the identity that is asked for.
//! Never a symmetric algorithm.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, JwkSet},
};
use palladium_spiffe::SpiffeId;
use palladium_tls::{ALPN_HTTP, pem_roots_client_config};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::duration;
use crate::{Error, refusal::Refusal};

/// Dapr's tolerance for clocks, seconds.
const SKEW: f64 = 300.0;
const MAX_SET_BYTES: usize = 1024 * 1024;

enum Source {
    Inline(Arc<JwkSet>),
    File(std::path::PathBuf),
    Url(reqwest::Client, reqwest::Url),
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The validator with its cached keys.
pub(super) struct Jwks {
    own_id: SpiffeId,
    source: Source,
    min_refresh: Duration,
    cached: Mutex<Option<(Instant, Arc<JwkSet>)>>,
}

impl Jwks {
    pub(super) fn new(options: &BTreeMap<String, String>, own_id: SpiffeId) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Config(format!("token validator jwks: {reason}"));
        let option = |name: &str| {
            options
                .get(name)
                .map(|value| value.trim())
                .filter(|value| !value.is_empty())
        };
        let span = |name: &str, default: Duration| match option(name) {
            None => Ok(default),
            Some(text) => duration::parse(text)
                .and_then(|span| Duration::try_from(span).map_err(|error| error.to_string()))
                .map_err(|error| wrong(format!("{name}: {error}"))),
        };
        let min_refresh = span("minRefreshInterval", Duration::from_secs(600))?;
        let timeout = span("requestTimeout", Duration::from_secs(30))?;
        let source = option("source").ok_or_else(|| wrong("source is missing".to_owned()))?;
        let source = if source.starts_with("http://") || source.starts_with("https://") {
            let url = source.parse().map_err(|error| wrong(format!("source: {error}")))?;
            Source::Url(client(option("caCertificate"), timeout).map_err(wrong)?, url)
        } else if source.starts_with('{') {
            Source::Inline(Arc::new(parse(source.as_bytes()).map_err(wrong)?))
        } else if let Ok(decoded) = STANDARD.decode(source) {
            Source::Inline(Arc::new(parse(&decoded).map_err(wrong)?))
        } else {
            Source::File(source.strip_prefix("file://").unwrap_or(source).into())
        };
        Ok(Self {
            own_id,
            source,
            min_refresh,
            cached: Mutex::new(None),
        })
    }

    /// Judges a token for the identity `id`.
    pub(super) async fn validate(&self, token: &str, id: &SpiffeId) -> Result<(), Refusal> {
        let failed = |reason: &str| Refusal::denied(format!("token validation failed: {reason}"));
        if token.is_empty() {
            return Err(failed("token is required"));
        }
        let claims = self.verified(token).await.map_err(|reason| failed(&reason))?;
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos();
        #[expect(clippy::cast_precision_loss, reason = "seconds need no more")]
        let now = (now / 1_000_000) as f64 / 1000.0;
        if claims.exp.is_none_or(|exp| exp + SKEW <= now) {
            return Err(failed("\"exp\" not satisfied"));
        }
        if claims.iat.is_some_and(|iat| iat - SKEW > now) {
            return Err(failed("\"iat\" not satisfied"));
        }
        if claims.nbf.is_some_and(|nbf| nbf - SKEW > now) {
            return Err(failed("\"nbf\" not satisfied"));
        }
        let own = self.own_id.as_str();
        let for_us = match &claims.aud {
            Some(Audience::One(one)) => one == own,
            Some(Audience::Many(many)) => many.iter().any(|one| one == own),
            None => false,
        };
        if !for_us {
            return Err(failed("\"aud\" not satisfied"));
        }
        if claims.sub.as_deref() != Some(id.as_str()) {
            return Err(failed("\"sub\" not satisfied"));
        }
        Ok(())
    }

    async fn verified(&self, token: &str) -> Result<Claims, String> {
        const UNVERIFIED: &str = "could not verify message using any of the signatures or keys";
        let header = jsonwebtoken::decode_header(token).map_err(|_| "the token is not a JWT".to_owned())?;
        if matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
            return Err(UNVERIFIED.to_owned());
        }
        for fresh in [false, true] {
            let set = self.keys(fresh).await?;
            let fits = |key: &&Jwk| header.kid.is_none() || key.common.key_id == header.kid;
            for key in set.keys.iter().filter(fits) {
                if let Some(claims) = check_signature(token, header.alg, key) {
                    return Ok(claims);
                }
            }
            if set.keys.iter().any(|key| fits(&key)) {
                break;
            }
        }
        Err(UNVERIFIED.to_owned())
    }

    async fn keys(&self, fresh: bool) -> Result<Arc<JwkSet>, String> {
        if let Source::Inline(set) = &self.source {
            return Ok(set.clone());
        }
        let mut cached = self.cached.lock().await;
        if let Some((at, set)) = &*cached
            && (!fresh || at.elapsed() < self.min_refresh)
        {
            return Ok(set.clone());
        }
        let set = Arc::new(self.fetch().await.map_err(|reason| {
            tracing::error!(reason, "JSON Web Key Set not available");
            "the key set is not available".to_owned()
        })?);
        *cached = Some((Instant::now(), set.clone()));
        Ok(set)
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        match &self.source {
            Source::Inline(set) => Ok(JwkSet::clone(set)),
            Source::File(path) => {
                let text = tokio::fs::read(path)
                    .await
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                parse(&text)
            }
            Source::Url(client, url) => {
                let error = |error: reqwest::Error| error.to_string();
                let answer = client
                    .get(url.clone())
                    .send()
                    .await
                    .map_err(error)?
                    .error_for_status()
                    .map_err(error)?;
                if answer
                    .content_length()
                    .is_some_and(|length| length > MAX_SET_BYTES as u64)
                {
                    return Err("the key set is too large".to_owned());
                }
                parse(&answer.bytes().await.map_err(error)?)
            }
        }
    }
}

fn check_signature(token: &str, alg: Algorithm, key: &Jwk) -> Option<Claims> {
    let named = key.common.key_algorithm.map(|named| named.to_string());
    if named.is_some_and(|named| named != format!("{alg:?}")) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(key).ok()?;
    let mut signature_only = Validation::new(alg);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    jsonwebtoken::decode::<Claims>(token, &decoding, &signature_only)
        .ok()
        .map(|data| data.claims)
}

fn client(ca: Option<&str>, timeout: Duration) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none());
    let builder = match ca {
        None => builder,
        Some(text) => {
            let pem = if text.starts_with("-----") {
                text.as_bytes().to_vec()
            } else {
                STANDARD
                    .decode(text)
                    .or_else(|_| std::fs::read(text))
                    .map_err(|error| format!("caCertificate: {error}"))?
            };
            let tls = pem_roots_client_config(&pem, ALPN_HTTP).map_err(|error| format!("caCertificate: {error}"))?;
            builder.tls_backend_preconfigured(palladium_tls::ClientConfig::clone(&tls))
        }
    };
    builder.build().map_err(|error| error.to_string())
}

fn parse(text: &[u8]) -> Result<JwkSet, String> {
    if text.len() > MAX_SET_BYTES {
        return Err("the key set is too large".to_owned());
    }
    serde_json::from_slice(text).map_err(|error| format!("source is not a JSON Web Key Set: {error}"))
}
