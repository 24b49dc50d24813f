//! JSON Web Keys (RFC 7517, 7518), alone and in sets.
//!
//! One idea: a set is read once, every key in it by itself, so that one key that is of no use here does not take the others
//! with it. Must never put a member's value into an error.

use std::collections::BTreeMap;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeyPairComponents, PrivateDecryptingKey, PublicKeyComponents};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Key, KeyError, Material, Purpose};

/// Most keys of a set.
const MOST: usize = 1000;
/// As Go's libraries decode: padding or none, and bits left over.
const DECODER: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One key as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    usage: String,
    key_ops: Vec<String>,
    alg: String,
    k: Option<SecretString>,
    n: Option<SecretString>,
    e: Option<SecretString>,
    d: Option<SecretString>,
    p: Option<SecretString>,
    q: Option<SecretString>,
    dp: Option<SecretString>,
    dq: Option<SecretString>,
    qi: Option<SecretString>,
}

/// The keys of a set by their ids. A key without an id cannot be asked for.
pub(crate) struct JwkSet(BTreeMap<String, Result<Key, KeyError>>);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// Reads a set, or a single key.
    pub(crate) fn read(text: &[u8]) -> Result<Self, KeyError> {
        let keys = match serde_json::from_slice::<Set>(text) {
            Ok(set) => set.keys,
            Err(_) => vec![Jwk::read(text)?],
        };
        let mut found = BTreeMap::new();
        for jwk in keys.into_iter().take(MOST) {
            let id = jwk.kid.clone();
            let key = jwk.key();
            if let Err(error) = &key {
                tracing::warn!(key = id, %error, "a key of the set cannot be used");
            }
            // As in Dapr: the first of an id.
            found.entry(id).or_insert(key);
        }
        Ok(JwkSet(found))
    }

    /// The key of an id.
    pub(crate) fn get(&self, id: &str) -> Option<Result<&Key, &KeyError>> {
        self.0.get(id).map(Result::as_ref)
    }
}

impl Jwk {
    pub(crate) fn read(text: &[u8]) -> Result<Self, KeyError> {
        let jwk: Jwk = serde_json::from_slice(text).map_err(|_| KeyError::NotJwk)?;
        match jwk.kty.is_empty() {
            true => Err(KeyError::NotJwk),
            false => Ok(jwk),
        }
    }

    /// The key that it describes.
    pub(crate) fn key(&self) -> Result<Key, KeyError> {
        let key = match self.kty.as_str() {
            "oct" => Key::symmetric(decode("k", &self.k)?.to_vec())?,
            "RSA" if self.d.is_some() => self.rsa_private()?,
            "RSA" => {
                let public = self.rsa_public()?.try_into().map_err(|_| KeyError::Rsa)?;
                Key::rsa_public(public)?
            }
            "EC" | "OKP" => Key::new(Material::Other),
            _ => return Err(KeyError::Member("kty")),
        };
        let purpose = Purpose {
            usage: self.usage.clone(),
            operations: self.key_ops.clone(),
            algorithm: self.alg.clone(),
        };
        Ok(Key { purpose, ..key })
    }

    fn rsa_public(&self) -> Result<PublicKeyComponents<Vec<u8>>, KeyError> {
        Ok(PublicKeyComponents {
            n: number("n", &self.n)?,
            e: number("e", &self.e)?,
        })
    }

    fn rsa_private(&self) -> Result<Key, KeyError> {
        let components = KeyPairComponents {
            public_key: self.rsa_public()?,
            d: decode("d", &self.d)?,
            p: decode("p", &self.p)?,
            q: decode("q", &self.q)?,
            dP: decode("dp", &self.dp)?,
            dQ: decode("dq", &self.dq)?,
            qInv: decode("qi", &self.qi)?,
        };
        let pair = KeyPair::from_components(&components).map_err(|_| KeyError::Rsa)?;
        let der = pair.as_der().map_err(|_| KeyError::Rsa)?;
        let private = PrivateDecryptingKey::from_pkcs8(der.as_ref()).map_err(|_| KeyError::Rsa)?;
        Key::rsa_private(private)
    }
}

fn decode(name: &'static str, value: &Option<SecretString>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = value.as_ref().map(|value| value.expose_secret().as_bytes());
    let bytes = text.and_then(|text| DECODER.decode(text).ok());
    bytes.map(Zeroizing::new).ok_or(KeyError::Member(name))
}

/// A public number, without the leading zeros that aws-lc refuses.
fn number(name: &'static str, value: &Option<SecretString>) -> Result<Vec<u8>, KeyError> {
    let bytes = decode(name, value)?;
    Ok(bytes.iter().copied().skip_while(|byte| *byte == 0).collect())
}
