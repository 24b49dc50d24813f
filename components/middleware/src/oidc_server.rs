//! A small authorization server for tests. It speaks OpenID Connect over HTTP: discovery, a key set, the authorization code
//! with PKCE, client credentials, and tokens with real signatures.
//!
//! One idea: it is as strict as the standards are, so a driver that leaves something out gets no token. Must never be
//! linked into anything but tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::Router;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::form_urlencoded::{Serializer, parse};

/// The one client.
pub(crate) const CLIENT: &str = "orders & more";
/// Its secret; it needs escaping.
pub(crate) const SECRET: &str = "s3cret/+:%";

/// Where the server wants the secret.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wants {
    Header,
    Form,
}

/// What it does and what it saw.
pub(crate) struct Room {
    pub(crate) keys: Vec<SigningKey>,
    pub(crate) wants: Wants,
    pub(crate) expires_in: Option<Value>,
    /// Answers tokens as the form of old.
    pub(crate) old_form: bool,
    /// Another answer to all of it.
    pub(crate) broken: Option<(StatusCode, String)>,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) asked_keys: usize,
    pub(crate) asked_tokens: usize,
    pub(crate) given: usize,
    /// Codes with what they are for.
    codes: HashMap<String, HashMap<String, String>>,
    pub(crate) forms: Vec<HashMap<String, String>>,
}

pub(crate) struct OidcServer {
    pub(crate) issuer: String,
    room: Arc<Mutex<Room>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for OidcServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
pub(crate) struct SigningKey {
    pub(crate) key: EncodingKey,
    pub(crate) public: Jwk,
    algorithm: Algorithm,
}

impl SigningKey {
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let key = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                let text = STANDARD.encode(der.as_ref());
                let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
                EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
            }
        };
        let mut public = Jwk::from_encoding_key(&key, algorithm).unwrap();
        public.common.key_id = Some(kid.to_owned());
        Self { key, public, algorithm }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.public.common.key_id.clone();
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

impl OidcServer {
    pub(crate) async fn start() -> Self {
        palladium_tls::install_crypto_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let room = Arc::new(Mutex::new(Room {
            keys: vec![SigningKey::new(Algorithm::ES256, "first")],
            wants: Wants::Header,
            expires_in: Some(json!(3600)),
            old_form: false,
            broken: None,
            jwks_uri: None,
            asked_keys: 0,
            asked_tokens: 0,
            given: 0,
            codes: HashMap::new(),
            forms: Vec::new(),
        }));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state((issuer.clone(), room.clone()));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { issuer, room, serving }
    }

    pub(crate) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap()
    }

    /// Claims of a token that is good now.
    pub(crate) fn claims(&self, audience: &str) -> Value {
        claims(&self.issuer, audience)
    }
}

fn claims(issuer: &str, audience: &str) -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({ "iss": issuer, "aud": audience, "sub": "somebody", "iat": now, "nbf": now, "exp": now + 3600 })
}

type Shared = State<(String, Arc<Mutex<Room>>)>;

async fn discovery(State((issuer, room)): Shared) -> impl IntoResponse {
    let keys = room.lock().unwrap().jwks_uri.clone();
    let keys = keys.unwrap_or_else(|| format!("{issuer}/keys"));
    axum::Json(json!({
        "issuer": issuer,
        "jwks_uri": keys,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
    }))
}

async fn keys(State((_, room)): Shared) -> impl IntoResponse {
    let mut room = room.lock().unwrap();
    room.asked_keys += 1;
    if let Some((status, body)) = &room.broken {
        return (*status, body.clone()).into_response();
    }
    let keys = room.keys.iter().map(|key| key.public.clone()).collect();
    ([(CACHE_CONTROL, "max-age=5")], axum::Json(JwkSet { keys })).into_response()
}

async fn authorize(State((_, room)): Shared, Query(asked): Query<HashMap<String, String>>) -> impl IntoResponse {
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|own| own == value);
    if !is("response_type", "code") || !is("client_id", CLIENT) || !is("code_challenge_method", "S256") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let mut room = room.lock().unwrap();
    let code = format!("code-{}", room.codes.len());
    let back = Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", &asked["state"])
        .finish();
    let to = format!("{}?{back}", asked["redirect_uri"]);
    room.codes.insert(code, asked);
    (StatusCode::FOUND, [(LOCATION, to)]).into_response()
}

async fn token(State((issuer, room)): Shared, headers: HeaderMap, body: String) -> impl IntoResponse {
    let mut room = room.lock().unwrap();
    room.asked_tokens += 1;
    if let Some((status, body)) = &room.broken {
        return (*status, body.clone()).into_response();
    }
    let form: HashMap<String, String> = parse(body.as_bytes()).into_owned().collect();
    let refused = |code: &str| (StatusCode::UNAUTHORIZED, axum::Json(json!({ "error": code }))).into_response();
    if who(&headers, &form) != Some((room.wants == Wants::Header, CLIENT.to_owned(), SECRET.to_owned())) {
        return refused("invalid_client");
    }
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    match field("grant_type").as_str() {
        "client_credentials" => {}
        "authorization_code" => {
            // A code is good once.
            let Some(asked) = room.codes.remove(&field("code")) else {
                return refused("invalid_grant");
            };
            let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier").as_bytes()));
            if asked["code_challenge"] != challenge || asked["redirect_uri"] != field("redirect_uri") {
                return refused("invalid_grant");
            }
        }
        _ => return refused("unsupported_grant_type"),
    }
    room.forms.push(form);
    room.given += 1;
    let mut claims = claims(&issuer, "orders");
    claims["jti"] = room.given.into();
    let token = room.keys[0].sign(&claims);
    if room.old_form {
        let body = Serializer::new(String::new())
            .append_pair("access_token", &token)
            .append_pair("token_type", "bearer")
            .finish();
        return ([(CONTENT_TYPE, "application/x-www-form-urlencoded")], body).into_response();
    }
    let mut answer = json!({ "access_token": token, "token_type": "bearer" });
    if let Some(life) = &room.expires_in {
        answer["expires_in"] = life.clone();
    }
    axum::Json(answer).into_response()
}

/// Whether the secret came in the header, the client, and the secret.
fn who(headers: &HeaderMap, form: &HashMap<String, String>) -> Option<(bool, String, String)> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Some((
            false,
            form.get("client_id")?.clone(),
            form.get("client_secret")?.clone(),
        ));
    };
    let coded = value.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(coded).ok()?).ok()?;
    let (client, secret) = pair.split_once(':')?;
    let plain = |text: &str| {
        let pair = format!("x={text}");
        parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((true, plain(client)?, plain(secret)?))
}
