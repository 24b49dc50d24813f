//! The form of an API key: a compact JWS with a constant header, so that scanners find every one by its prefix.
//!
//! `<constant header>.<claims>.<signature>`. The signature is HMAC-SHA-256 under a random key that is thrown away at once: to
//! everybody, us included, it is 256 random bits. The claims hold what Catalyst's clients look for.
//!
//! Must never be built from anything but fresh randomness.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palladium_kinds::{Grant, OrganizationId, RoleScope, Timestamp, ids};
use palladium_sealing::{SecretString, keyed_hash, random_bytes, token_digest};
use serde_json::{Map, Value, json};

/// What the id of every API key begins with.
pub const KEY_ID_PREFIX: &str = "key-";

/// What every API key begins with: the encoded header and its dot. For secret scanners.
pub static HEADER_PREFIX: LazyLock<String> = LazyLock::new(|| format!("{}.", URL_SAFE_NO_PAD.encode(HEADER)));

const HEADER: &str = r#"{"alg":"HS256","kid":"palladium-api-key","typ":"JWT"}"#;
const LENGTH_MAX: usize = 4096;

/// A freshly minted key.
pub struct ApiKeyToken {
    /// `key-` and 12 characters.
    pub id: String,
    /// What the client sends; shown once.
    pub token: SecretString,
    /// SHA-256 of it; what is kept.
    pub digest: [u8; 32],
}

impl ApiKeyToken {
    /// Mints a key.
    pub fn mint(organization: &OrganizationId, name: &str, grant: &Grant, expires_at: Option<Timestamp>) -> Self {
        let id = format!("{KEY_ID_PREFIX}{}", ids::random_base32(12));
        let mut claims = Map::new();
        claims.insert("iss".into(), "https://palladium.internal/".into());
        claims.insert("sub".into(), id.clone().into());
        claims.insert("name".into(), name.into());
        claims.insert("iat".into(), (Timestamp::now().unix_millis() / 1000).into());
        if let Some(at) = expires_at {
            claims.insert("exp".into(), (at.unix_millis() / 1000).into());
        }
        claims.insert("jti".into(), URL_SAFE_NO_PAD.encode(random_bytes::<32>()).into());
        claims.insert("https://diagrid.io/defaultOrg".into(), json!({ "id": organization }));
        claims.insert(
            format!("https://diagrid.io/org_{organization}/roles"),
            json!([grant.role.as_claim()]),
        );
        if let RoleScope::Project(project) = &grant.scope {
            claims.insert("https://diagrid.io/scope".into(), format!("project:{project}").into());
        }
        let body = format!(
            "{}{}",
            *HEADER_PREFIX,
            URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string())
        );
        let signature = keyed_hash(&random_bytes::<32>(), "api-key", body.as_bytes());
        let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature));
        let digest = token_digest(&token);
        Self {
            id,
            token: token.into(),
            digest,
        }
    }

    /// Whether a text can be a key at all; spares the database a look-up for everything else.
    pub fn is_well_formed(text: &str) -> bool {
        let parts = text
            .strip_prefix(HEADER_PREFIX.as_str())
            .and_then(|rest| rest.split_once('.'));
        text.len() <= LENGTH_MAX
            && parts.is_some_and(|(claims, signature)| {
                let clean = |part: &str| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                };
                clean(claims) && clean(signature) && signature.len() == 43
            })
    }
}

#[cfg(test)]
mod tests {
    use palladium_kinds::Role;
    use palladium_sealing::ExposeSecret as _;
    use proptest::prelude::*;

    use super::*;

    fn mint() -> (OrganizationId, ApiKeyToken) {
        let organization = OrganizationId::generate();
        let grant = Grant {
            role: Role::Admin,
            scope: RoleScope::Global,
        };
        let key = ApiKeyToken::mint(&organization, "ci", &grant, None);
        (organization, key)
    }

    #[test]
    fn clients_find_the_organization_in_the_claims() {
        let (organization, key) = mint();
        let text = key.token.expose_secret();
        assert!(ApiKeyToken::is_well_formed(text));
        let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            claims[format!("https://diagrid.io/org_{organization}/roles")],
            json!(["cra.diagrid.admin"])
        );
    }

    #[test]
    fn sec_073_a_key_has_256_random_bits_and_a_constant_prefix() {
        let (_, one) = mint();
        let (_, two) = mint();
        let (one, two) = (
            one.token.expose_secret().to_owned(),
            two.token.expose_secret().to_owned(),
        );
        assert!(
            one.starts_with("eyJ")
                && one.starts_with(HEADER_PREFIX.as_str())
                && two.starts_with(HEADER_PREFIX.as_str())
        );
        let signature = |text: &str| URL_SAFE_NO_PAD.decode(text.rsplit('.').next().unwrap()).unwrap();
        assert_eq!(signature(&one).len(), 32);
        assert_ne!(signature(&one), signature(&two));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,200}") {
            ApiKeyToken::is_well_formed(&text);
        }
    }
}
