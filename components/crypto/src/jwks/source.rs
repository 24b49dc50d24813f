//! Where a set is, and how it is kept fresh.
//!
//! One idea: a file is looked at every second and read when its time has changed; an address is asked again as often as the
//! component allows, or later if its answer says so. What cannot be read changes nothing. Must never put the set, or the
//! address with what it may hold, into an error or a log.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use palladium_component::{Hosting, MetadataError, OpenError};
use palladium_components_web as web;
use reqwest::header::CACHE_CONTROL;
use reqwest::{Client, Url};
use secrecy::ExposeSecret as _;
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{JwksMetadata, MAX_BYTES};
use crate::keys::JwkSet;

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest and longest time between two fetches.
const FETCH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));

pub(super) enum Source {
    Text(Zeroizing<Vec<u8>>),
    File(PathBuf),
    Address { url: Url, client: Client, pause: Duration },
}

fn wrong(reason: &str) -> OpenError {
    let remedy = "give a JSON Web Key Set, an address that begins with 'https://', or the path of a file";
    MetadataError::new("jwks", reason, remedy).into()
}

impl Source {
    pub(super) async fn of(metadata: &JwksMetadata, hosting: &Hosting) -> Result<Self, OpenError> {
        let said = metadata.jwks.expose_secret();
        if said.starts_with("https://") || said.starts_with("http://") {
            return address(said, metadata, hosting);
        }
        if said.trim_start().starts_with('{') {
            return Ok(Source::Text(said.as_bytes().to_vec().into()));
        }
        let decoded = STANDARD_NO_PAD.decode(said.trim_end_matches(['=', '\n']));
        if let Ok(text) = decoded {
            let text = Zeroizing::new(text);
            if text.trim_ascii_start().starts_with(b"{") {
                return Ok(Source::Text(text));
            }
        }
        let neither = || wrong("it is neither a set, nor an address, nor a file");
        if hosting.is_platform() {
            return Err(neither());
        }
        match tokio::fs::metadata(said).await {
            Ok(about) if about.is_file() => Ok(Source::File(said.into())),
            _ => Err(neither()),
        }
    }

    /// Whether it can change.
    pub(super) fn is_elsewhere(&self) -> bool {
        !matches!(self, Source::Text(_))
    }

    pub(super) async fn read(&self) -> Result<JwkSet, OpenError> {
        let text = match self {
            Source::Text(text) => return JwkSet::read(text).map_err(|error| wrong(&error.to_string())),
            Source::File(path) => file(path).await,
            Source::Address { url, client, .. } => fetch(client, url).await.map(|(text, _)| text),
        };
        let text = text.map_err(OpenError::Unavailable)?;
        JwkSet::read(&text).map_err(|error| OpenError::Unavailable(format!("the set cannot be used: {error}")))
    }

    /// Reads it again as it changes, for ever.
    pub(super) async fn keep(self, shared: Arc<RwLock<Arc<JwkSet>>>) {
        match self {
            Source::Text(_) => {}
            Source::File(path) => {
                let mut seen = changed(&path).await;
                loop {
                    sleep(LOOK).await;
                    let now = changed(&path).await;
                    if now != seen && now.is_some() {
                        seen = now;
                        replace(&shared, file(&path).await);
                    }
                }
            }
            Source::Address { url, client, pause } => {
                let mut wait = pause;
                loop {
                    sleep(wait).await;
                    let fetched = fetch(&client, &url).await;
                    let fresh = fetched.as_ref().ok().and_then(|(_, fresh)| *fresh);
                    wait = fresh.unwrap_or(pause).clamp(pause, FETCH.1.max(pause));
                    replace(&shared, fetched.map(|(text, _)| text));
                }
            }
        }
    }
}

fn address(said: &str, metadata: &JwksMetadata, hosting: &Hosting) -> Result<Source, OpenError> {
    if said.starts_with("http://") {
        tracing::warn!("a key set is fetched without TLS: whoever is on the way can replace it");
    }
    let url = web::address("jwks", said, hosting.is_platform())?;
    // As in Dapr: what is too short is the default.
    let or = |said: Duration, least: Duration, default| if said < least { default } else { said };
    let timeout = or(
        metadata.request_timeout,
        Duration::from_millis(1),
        Duration::from_secs(30),
    );
    let pause = or(metadata.min_refresh_interval, FETCH.0, Duration::from_secs(600));
    let client = web::client("jwks", timeout, hosting.is_platform())?;
    Ok(Source::Address { url, client, pause })
}

fn replace(shared: &RwLock<Arc<JwkSet>>, text: Result<Zeroizing<Vec<u8>>, String>) {
    let set = text.and_then(|text| JwkSet::read(&text).map_err(|error| error.to_string()));
    match set {
        Ok(set) => *shared.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set),
        Err(error) => tracing::warn!(%error, "a key set cannot be read again: the last one holds"),
    }
}

async fn changed(path: &PathBuf) -> Option<(SystemTime, u64)> {
    let about = tokio::fs::metadata(path).await.ok()?;
    Some((about.modified().ok()?, about.len()))
}

async fn file(path: &PathBuf) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("failed to read JWKS file: {error}");
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut text)
        .await
        .map_err(failed)?;
    match text.len() > MAX_BYTES {
        true => Err(format!("the JWKS file has more than {MAX_BYTES} bytes")),
        false => Ok(text),
    }
}

/// The set, and how long it is fresh if the answer says so.
async fn fetch(client: &Client, url: &Url) -> Result<(Zeroizing<Vec<u8>>, Option<Duration>), String> {
    let answer = web::send(client.get(url.clone()), MAX_BYTES).await;
    let answer = answer.map_err(|failure| format!("failed to fetch JWKS: {failure}"))?;
    if !answer.status.is_success() {
        return Err(format!("failed to fetch JWKS: the answer is {}", answer.status));
    }
    let control = answer.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let fresh = control.and_then(max_age);
    Ok((answer.body, fresh))
}

fn max_age(control: &str) -> Option<Duration> {
    let mut words = control.split(',').map(str::trim);
    let seconds = words.find_map(|word| word.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
