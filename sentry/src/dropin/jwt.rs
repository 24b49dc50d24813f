//! JWT-SVIDs beside certificates, if `jwt-enabled`.
//!
//! One idea: the same identity as the certificate, one token for all audiences and one for each, signed with the RSA
//! key in Dapr's folder, which is made at the first start; a public key set that is missing beside it is written. Must never
//! sign for another ID than the certificate's, overwrite a file, nor log a token or the key.

use std::collections::HashMap;

use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use palladium_os::files::create_private;
use palladium_spiffe::SpiffeId;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::flags::Flags;
use crate::Error;

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    sub: &'a str,
    aud: &'a [String],
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Signs JWT-SVIDs.
pub(super) struct JwtSigner {
    key: EncodingKey,
    header: Header,
    issuer: Option<String>,
    life: Duration,
    clock_skew: Duration,
}

impl JwtSigner {
    pub(super) async fn load_or_generate(flags: &Flags, clock_skew: Duration) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Config(format!("JWT: {reason}"));
        let algorithm = match flags.jwt_signing_algorithm.as_str() {
            "RS256" => Algorithm::RS256,
            "RS384" => Algorithm::RS384,
            "RS512" => Algorithm::RS512,
            _ => return Err(wrong("jwt-signing-algorithm must be RS256, RS384 or RS512")),
        };
        let key_path = flags.issuer_credentials.join(&flags.jwt_key_filename);
        let set_path = flags.issuer_credentials.join(&flags.jwks_filename);
        let at = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        let stored = match tokio::fs::read(&key_path).await {
            Ok(pem) => Some(Zeroizing::new(pem)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(&key_path)(error)),
        };
        let has_set = tokio::fs::try_exists(&set_path).await.map_err(at(&set_path))?;
        let pem = match stored {
            Some(pem) => pem,
            None if has_set => {
                return Err(Error::Config(format!(
                    "JWT: {} is there without {}: bring the key back or remove the set",
                    set_path.display(),
                    key_path.display()
                )));
            }
            None => {
                let made = Zeroizing::new(generate().await?.into_bytes());
                if create_private(&key_path, &made)? {
                    made
                } else {
                    Zeroizing::new(tokio::fs::read(&key_path).await.map_err(at(&key_path))?)
                }
            }
        };
        let key = EncodingKey::from_rsa_pem(&pem).map_err(|_| wrong("the signing key is not an RSA key in PEM"))?;
        let mut public = Jwk::from_encoding_key(&key, algorithm).map_err(|_| wrong("the signing key is unusable"))?;
        let kid = match &flags.jwt_key_id {
            Some(kid) => kid.clone(),
            None => stored_kid(&set_path).await.map_or_else(
                || {
                    public
                        .thumbprint(ThumbprintHash::SHA256)
                        .map_err(|_| wrong("the signing key is unusable"))
                },
                Ok,
            )?,
        };
        // Also when an earlier start was killed behind the key.
        if !has_set {
            public.common.key_id = Some(kid.clone());
            public.common.public_key_use = Some(PublicKeyUse::Signature);
            let set = serde_json::to_vec(&JwkSet { keys: vec![public] }).map_err(|error| wrong(&error.to_string()))?;
            create_private(&set_path, &set)?;
        }
        let mut header = Header::new(algorithm);
        header.kid = Some(kid);
        Ok(Self {
            key,
            header,
            issuer: flags.jwt_issuer.clone(),
            life: flags.jwt_ttl,
            clock_skew,
        })
    }

    /// The token for all `audiences`, and one for each.
    pub(super) fn sign(
        &self,
        id: &SpiffeId,
        audiences: &[String],
    ) -> Result<(String, HashMap<String, String>), jsonwebtoken::errors::Error> {
        let all = self.token(id, audiences)?;
        let each = audiences
            .iter()
            .map(|audience| Ok((audience.clone(), self.token(id, std::slice::from_ref(audience))?)))
            .collect::<Result<_, jsonwebtoken::errors::Error>>()?;
        Ok((all, each))
    }

    fn token(&self, id: &SpiffeId, aud: &[String]) -> Result<String, jsonwebtoken::errors::Error> {
        let now = OffsetDateTime::now_utc();
        let jti: String = palladium_sealing::random_bytes::<16>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let claims = Claims {
            jti,
            sub: id.as_str(),
            aud,
            iat: now.unix_timestamp(),
            nbf: (now - self.clock_skew).unix_timestamp(),
            exp: (now + self.life).unix_timestamp(),
            usage: "sig",
            iss: self.issuer.as_deref(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
    }
}

async fn generate() -> Result<String, Error> {
    let work = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map(|key| key.serialize_pem());
    Ok(tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Authority(error.to_string()))??)
}

async fn stored_kid(path: &std::path::Path) -> Option<String> {
    let text = tokio::fs::read(path).await.ok()?;
    serde_json::from_slice::<JwkSet>(&text)
        .ok()?
        .keys
        .first()?
        .common
        .key_id
        .clone()
}
