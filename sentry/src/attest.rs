//! Phase one: who is asking?
//!
//! One idea: there are exactly two proofs. A single-use JWT of at most 60 seconds, signed by an attestor that may speak for
//! its subject; or, without a token, the caller's own valid SVID, proven in the TLS handshake. Single use needs no
//! disk: a JWT issued before this process started is refused.
//! Never looks at the id or the namespace in the request.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation};
use palladium_spiffe::SpiffeId;
use palladium_tls::Peer;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{attestors::Attestors, refusal::Refusal};

/// Longest life of an attestation, seconds, with a millisecond for rounding.
const MAX_LIFE: f64 = 60.001;
/// How far an attestation may be ahead of our clock, seconds.
const AHEAD: f64 = 5.0;
/// Attestations remembered at a time: all of the last minute.
const MAX_REMEMBERED: usize = 20_000;
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A caller whose identity is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attested {
    pub(crate) id: SpiffeId,
    /// The attestor's name, or `svid`.
    pub(crate) proof: String,
}

impl Attested {
    /// By the SVID of the connection. It was valid in the handshake; a connection may be older than its certificate's life.
    pub(crate) fn by_svid(peer: Option<&Peer>, now: OffsetDateTime) -> Result<Self, Refusal> {
        let peer = peer.ok_or_else(|| Refusal::denied("no client certificate was given"))?;
        let now = now.unix_timestamp();
        if now > peer.not_after {
            return Err(Refusal::denied("the client certificate has expired"));
        }
        Ok(Self {
            id: peer.id.clone(),
            proof: "svid".to_owned(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    #[expect(dead_code, reason = "allowed, but every attestor's key is tried")]
    kid: Option<String>,
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    sub: SpiffeId,
    aud: Audience,
    /// Unix seconds, fractions welcome.
    iat: f64,
    exp: f64,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn is_exactly(&self, id: &SpiffeId) -> bool {
        match self {
            Self::One(one) => one == id.as_str(),
            Self::Many(many) => matches!(&many[..], [one] if one == id.as_str()),
        }
    }
}

/// The first phase, with what it remembers.
pub(crate) struct Attest {
    own: SpiffeId,
    attestors: Attestors,
    started: f64,
    used: Mutex<HashMap<String, f64>>,
}

impl Attest {
    /// `started` is the start of this process: attestations from before it are not accepted.
    pub(crate) fn new(own: SpiffeId, attestors: Attestors, started: OffsetDateTime) -> Self {
        Self {
            own,
            attestors,
            started: seconds(started),
            used: Mutex::default(),
        }
    }

    /// Judges the proof that came with a request.
    pub(crate) async fn attest(
        &self,
        token: &str,
        peer: Option<&Peer>,
        now: OffsetDateTime,
    ) -> Result<Attested, Refusal> {
        match (token, peer) {
            ("", Some(_)) => Attested::by_svid(peer, now),
            ("", None) => Err(Refusal::denied(
                "neither an attestation nor a client certificate was given",
            )),
            (token, _) => self.token(token, seconds(now)).await,
        }
    }

    async fn token(&self, token: &str, now: f64) -> Result<Attested, Refusal> {
        let (claims, proof) = self.signed(token).await?;
        let denied = |reason: &str| Err(Refusal::denied(format!("attestation {reason}")));
        if !claims.aud.is_exactly(&self.own) {
            return denied("is for another audience");
        }
        if claims.sub.trust_domain() != self.own.trust_domain() {
            return denied("is for another trust domain");
        }
        let life = claims.exp - claims.iat;
        if !(life > 0.0 && life <= MAX_LIFE) {
            return denied("must live for at most 60 seconds");
        }
        if claims.exp <= now {
            return denied("has expired");
        }
        if claims.iat > now + AHEAD {
            return denied("is not valid yet");
        }
        if claims.iat < self.started {
            return denied("is older than this Sentry's start");
        }
        // 128 bits take 22 characters of base64 or 32 of hexadecimal.
        if claims.jti.len() < 22 || claims.jti.len() > 128 {
            return denied("has no 128-bit id");
        }
        self.use_up(&claims.jti, claims.exp, now)?;
        Ok(Attested { id: claims.sub, proof })
    }

    /// The claims of a token, once an attestor that may speak for its subject has signed it.
    async fn signed(&self, token: &str) -> Result<(Claims, String), Refusal> {
        let refused = || Refusal::denied("attestation is not signed by an attestor of this subject");
        if token.len() > MAX_TOKEN_BYTES || !has_plain_header(token) {
            return Err(Refusal::denied("attestation is not an ES256 JWT"));
        }
        let attestors = self.attestors.current().await.map_err(|error| {
            tracing::error!(%error, "attestors cannot be read");
            Refusal::Internal
        })?;
        // Only the signature is left to the library; the claims have our own, stricter rules.
        let mut signature_only = Validation::new(Algorithm::ES256);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        for attestor in attestors.iter() {
            let Ok(data) = jsonwebtoken::decode::<Claims>(token, &attestor.key, &signature_only) else {
                continue;
            };
            if attestor.paths.iter().any(|path| path.matches(&data.claims.sub)) {
                return Ok((data.claims, attestor.name.clone()));
            }
            tracing::warn!(attestor = attestor.name, subject = %data.claims.sub, "attestor spoke beyond its paths");
        }
        Err(refused())
    }

    fn use_up(&self, jti: &str, exp: f64, now: f64) -> Result<(), Refusal> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_REMEMBERED {
            used.retain(|_, exp| *exp > now);
        }
        if used.contains_key(jti) {
            return Err(Refusal::denied("attestation was used before"));
        }
        if used.len() >= MAX_REMEMBERED {
            return Err(Refusal::Busy);
        }
        used.insert(jti.to_owned(), exp);
        Ok(())
    }
}

/// Compact form, ES256, and no header that could make a verifier fetch or believe a key.
fn has_plain_header(token: &str) -> bool {
    let Some((header, _)) = token.split_once('.') else {
        return false;
    };
    let Ok(json) = URL_SAFE_NO_PAD.decode(header) else {
        return false;
    };
    let Ok(header) = serde_json::from_slice::<Header>(&json) else {
        return false;
    };
    header.alg == "ES256" && header.typ.is_none_or(|typ| typ == "JWT" || typ == "JOSE")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this century are exact in an f64"
)]
fn seconds(at: OffsetDateTime) -> f64 {
    (at.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0
}
