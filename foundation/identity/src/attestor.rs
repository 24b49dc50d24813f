//! An attestor: the key with which a parent vouches for the processes that it starts.
//!
//! The one idea: an attestation is a JWT of at most a minute for one subject and one Sentry, used once; the public half of
//! the key lies in Sentry's root-of-trust folder together with the paths that it may speak for. The private half lies on
//! disk only wrapped. Must never attest a subject of another trust domain than its Sentry's.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palladium_os::files::write_private;
use palladium_sealing::{ExposeSecret as _, Kek, random_bytes};
use palladium_spiffe::SpiffeId;
use secrecy::SecretString;
use serde_json::json;

/// Why there is no attestor or no attestation.
#[derive(Debug, thiserror::Error)]
pub enum AttestorError {
    /// The key file cannot be read, opened or written.
    #[error("attestor key: {0}")]
    Key(#[from] palladium_sealing::Error),
    /// The public half cannot be written.
    #[error("attestor: {0}")]
    Publish(#[from] palladium_os::Error),
    /// The stored key is none.
    #[error("{} does not hold a P-256 key", .0.display())]
    Malformed(PathBuf),
    /// Signing failed.
    #[error("cannot sign an attestation")]
    Sign,
    /// Subject and Sentry belong to different trust domains.
    #[error("{0} is not of this zone")]
    Foreign(SpiffeId),
}

/// A parent's signing key.
pub struct Attestor {
    key: EcdsaKeyPair,
    sentry: SpiffeId,
}

impl Attestor {
    /// Opens the key at `key_file`, made at the first start and wrapped by `kek`. Blocks on local disk.
    ///
    /// # Errors
    /// See [`AttestorError`].
    pub fn open(kek: &Kek, key_file: &Path, sentry: SpiffeId) -> Result<Self, AttestorError> {
        let malformed = |_| AttestorError::Malformed(key_file.to_owned());
        if let Some(stored) = kek.read_wrapped(key_file, PURPOSE)? {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, stored.expose_secret());
            return Ok(Self {
                key: key.map_err(malformed)?,
                sentry,
            });
        }
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| AttestorError::Sign)?;
        kek.write_wrapped(key_file, PURPOSE, pkcs8.as_ref())?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).map_err(malformed)?;
        Ok(Self { key, sentry })
    }

    /// Writes `<name>.json` into Sentry's root-of-trust folder: the public key and the path patterns it may speak for
    /// (`/ns/prj-*`). Blocks on local disk.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn publish(&self, trust_folder: &Path, name: &str, paths: &[&str]) -> Result<(), AttestorError> {
        // An uncompressed point: one byte of form, then x and y of 32 bytes each.
        let point = self.key.public_key().as_ref();
        let (x, y) = point
            .get(1..)
            .and_then(|xy| xy.split_at_checked(32))
            .ok_or(AttestorError::Sign)?;
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let text = json!({ "name": name, "jwk": jwk, "paths": paths }).to_string();
        Ok(write_private(
            &trust_folder.join(format!("{name}.json")),
            text.as_bytes(),
        )?)
    }

    /// A fresh attestation for `subject`, valid for 60 seconds.
    ///
    /// # Errors
    /// [`AttestorError::Foreign`] for a subject of another trust domain.
    pub fn attest(&self, subject: &SpiffeId) -> Result<SecretString, AttestorError> {
        if subject.trust_domain() != self.sentry.trust_domain() {
            return Err(AttestorError::Foreign(subject.clone()));
        }
        // Milliseconds, because Sentry refuses what was issued before its own start.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let jti: String = random_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"JWT"}"#);
        // Written as text: a JSON number with three decimals, exact for the next thousand years.
        let claims = format!(
            r#"{{"sub":"{subject}","aud":["{sentry}"],"iat":{s}.{ms:03},"exp":{exp}.{ms:03},"jti":"{jti}"}}"#,
            sentry = self.sentry,
            s = now / 1000,
            ms = now % 1000,
            exp = now / 1000 + LIFE_SECONDS,
        );
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| AttestorError::Sign)?;
        Ok(SecretString::from(format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

const PURPOSE: &str = "attestor key";
const LIFE_SECONDS: u128 = 60;

#[cfg(test)]
mod tests {
    use palladium_sealing::KekConfig;

    use super::*;

    #[test]
    fn a_restarted_attestor_has_the_same_key_and_jwts_verify_against_what_it_published() {
        let folder = tempfile::tempdir().expect("temp folder");
        let kek = Kek::open(&KekConfig::KeyFile {
            path: folder.path().join("kek"),
        })
        .expect("kek");
        let sentry = SpiffeId::parse("spiffe://reg-a.palladium.internal/ns/palladium/dapr-sentry").expect("id");
        let subject = SpiffeId::parse("spiffe://reg-a.palladium.internal/ns/prj-a/orders").expect("id");
        let key_file = folder.path().join("attestor.key");
        let first = Attestor::open(&kek, &key_file, sentry.clone()).expect("made");
        first
            .publish(folder.path(), "agent", &["/ns/prj-*"])
            .expect("published");
        let jwt = Attestor::open(&kek, &key_file, sentry)
            .expect("opened")
            .attest(&subject)
            .expect("signed");

        let file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("agent.json")).expect("written")).expect("JSON");
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(file["jwk"].clone()).expect("JWK");
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).expect("P-256");
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.validate_aud = false;
        let data = jsonwebtoken::decode::<serde_json::Value>(jwt.expose_secret(), &key, &validation).expect("verifies");
        assert_eq!(data.claims["sub"], subject.as_str());
        assert_eq!(data.claims["jti"].as_str().map(str::len), Some(32));
        let foreign = SpiffeId::parse("spiffe://reg-b.palladium.internal/ns/prj-a/orders").expect("id");
        assert!(matches!(first.attest(&foreign), Err(AttestorError::Foreign(_))));
    }
}
