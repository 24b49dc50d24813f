//! Whether a token is one.
//!
//! One idea: the key decides which algorithms it may be used with; the token's header only chooses among them. A token
//! without the name of a key is judged where the set leaves no choice. Must never verify with a key for something else.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// Dapr's tolerance for clocks, in seconds.
const LEEWAY: u64 = 300;

/// Why a token is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Signed by a key that is not in the set.
    UnknownKey,
    /// Anything else.
    Invalid,
}

/// What a token must say.
pub(super) struct Rules {
    issuer: String,
    audience: String,
}

#[derive(Deserialize)]
struct Claims {
    iat: Option<f64>,
}

impl Rules {
    pub(super) fn new(issuer: String, audience: String) -> Self {
        Self { issuer, audience }
    }

    /// Judges a token with the keys of a set.
    pub(super) fn check(&self, token: &str, set: &JwkSet) -> Result<(), Fault> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Fault::Invalid)?;
        // Nothing that a header may call critical is understood here.
        if header.crit.is_some() {
            return Err(Fault::Invalid);
        }
        let mut keys = set.keys.iter().filter(|key| fits(key, header.alg));
        let key = match &header.kid {
            Some(kid) => keys.find(|key| key.common.key_id.as_ref() == Some(kid)),
            None => match (keys.next(), keys.next()) {
                (Some(_), Some(_)) => return Err(Fault::Invalid),
                (only, _) => only,
            },
        };
        let key = key.ok_or(Fault::UnknownKey)?;
        let key = DecodingKey::from_jwk(key).map_err(|_| Fault::Invalid)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &self.validation(header.alg));
        let claims = decoded.map_err(|_| Fault::Invalid)?.claims;
        // The library has no rule about it.
        #[expect(clippy::cast_precision_loss, reason = "seconds need no more")]
        let latest = (jsonwebtoken::get_current_timestamp() + LEEWAY) as f64;
        match claims.iat {
            Some(iat) if iat > latest => Err(Fault::Invalid),
            _ => Ok(()),
        }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY;
        rules.validate_nbf = true;
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules
    }
}

/// Whether a key verifies signatures of an algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm as A;
    let common = &key.common;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let named = common.key_algorithm.map(|named| named.to_string());
    let is_named = named.is_none_or(|named| named == format!("{algorithm:?}"));
    let can = match &key.algorithm {
        AlgorithmParameters::RSA(_) => {
            matches!(
                algorithm,
                A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512
            )
        }
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => algorithm == A::ES256,
            EllipticCurve::P384 => algorithm == A::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(pair) => pair.curve == EllipticCurve::Ed25519 && algorithm == A::EdDSA,
        _ => false,
    };
    is_for_signatures && verifies && is_named && can
}
