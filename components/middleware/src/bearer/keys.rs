//! The issuer's keys, kept fresh.
//!
//! One idea: they are fetched again as often as the answer allows, and out of turn for a key that nobody here knows, but so
//! seldom that whoever sends such tokens cannot make this process knock at the issuer's door. What cannot be fetched changes
//! nothing. Must never hold a symmetric key, nor put the address into an error or a log.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use palladium_components_web as web;
use reqwest::header::CACHE_CONTROL;
use reqwest::{Client, Url};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Greatest set.
const MAX_BYTES: usize = 1 << 20;
/// Shortest and longest time between two fetches in turn; the first is Dapr's.
const FRESH: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(24 * 60 * 60));
/// Shortest time between any two fetches.
const APART: Duration = Duration::from_secs(60);

pub(super) struct KeySet {
    client: Client,
    url: Url,
    set: RwLock<Arc<JwkSet>>,
    /// When they were asked for; whoever asks holds it.
    asked: Mutex<Asked>,
}

struct Asked {
    /// `None` = long ago.
    at: Option<Instant>,
    /// How long what came is fresh.
    fresh: Duration,
}

impl KeySet {
    pub(super) async fn fetch(client: Client, url: Url) -> Result<Self, String> {
        let (set, fresh) = fetch(&client, &url).await?;
        let at = Some(Instant::now());
        let asked = Asked { at, fresh };
        Ok(Self {
            client,
            url,
            set: RwLock::new(Arc::new(set)),
            asked: Mutex::new(asked),
        })
    }

    /// What is here.
    pub(super) fn now(&self) -> Arc<JwkSet> {
        // A panic under this lock leaves a set that is still whole.
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the issuer, unless that was done a moment ago.
    pub(super) async fn ask_again(&self) {
        self.ask(APART).await;
    }

    /// As if nobody had asked for long.
    #[cfg(test)]
    pub(super) async fn forget_when(&self) {
        self.asked.lock().await.at = None;
    }

    /// Asks in turn, for ever.
    pub(super) async fn keep(&self) {
        loop {
            let wait = {
                let asked = self.asked.lock().await;
                let age = asked.at.map_or(Duration::MAX, |at| at.elapsed());
                asked.fresh.saturating_sub(age)
            };
            sleep(wait.max(Duration::from_secs(1))).await;
            let fresh = self.asked.lock().await.fresh;
            self.ask(fresh).await;
        }
    }

    /// Asks if that was done as long ago as this.
    async fn ask(&self, apart: Duration) {
        let mut asked = self.asked.lock().await;
        if asked.at.is_some_and(|at| at.elapsed() < apart) {
            return;
        }
        let fetched = fetch(&self.client, &self.url).await;
        asked.at = Some(Instant::now());
        match fetched {
            Ok((set, fresh)) => {
                asked.fresh = fresh;
                *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
            }
            Err(error) => {
                asked.fresh = APART;
                tracing::warn!(%error, "an issuer's keys cannot be fetched again: the last ones hold");
            }
        }
    }
}

/// The set without what is no public key, and how long it is fresh.
async fn fetch(client: &Client, url: &Url) -> Result<(JwkSet, Duration), String> {
    let answer = web::send(client.get(url.clone()), MAX_BYTES).await;
    let answer = answer.map_err(|failure| format!("failed to fetch JWKS: {failure}"))?;
    if !answer.status.is_success() {
        return Err(format!(
            "failed to fetch JWKS: the answer is {}",
            answer.status.as_u16()
        ));
    }
    let mut set: JwkSet = serde_json::from_slice(&answer.body).map_err(|error| {
        let place = (error.line(), error.column());
        format!(
            "failed to fetch JWKS: it is no key set (line {}, column {})",
            place.0, place.1
        )
    })?;
    set.keys
        .retain(|key| !matches!(key.algorithm, AlgorithmParameters::OctetKey(_)));
    let control = answer.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let fresh = control.and_then(max_age).unwrap_or_default().clamp(FRESH.0, FRESH.1);
    Ok((set, fresh))
}

fn max_age(control: &str) -> Option<Duration> {
    let mut words = control.split(',').map(str::trim);
    let seconds = words.find_map(|word| word.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
