//! An application under load: it saves numbered keys, goes on until each is acknowledged, and looks at what it wrote.
//!
//! One idea: an answer is good, a reason to try again, or wrong; and what was acknowledged once is there for ever. The first
//! wrong answers are kept word for word. Must never take a refusal for an outage.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    api::{Answer, SETTLE},
    app::App,
    until,
};

/// Until one call must have got through, whatever was killed meanwhile.
const GIVE_UP: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);
/// Keys of one bulk request.
const BULK: usize = 200;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

/// Writers at work.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Result<u64>>>,
    app: App,
    store: String,
}

/// What was acknowledged: so many keys per writer.
pub struct Written {
    app: App,
    store: String,
    counts: Vec<u64>,
    /// Calls that had to be made again.
    pub repeated: u64,
}

impl Load {
    /// Starts writers; each saves its own keys, one after the other.
    pub fn start(app: &App, store: &str, writers: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = |number| {
            let writer = Writer {
                number,
                app: app.clone(),
                store: store.to_owned(),
                shared: shared.clone(),
            };
            tokio::spawn(writer.run())
        };
        let writers = (0..writers).map(writer).collect();
        Self {
            shared,
            writers,
            app: app.clone(),
            store: store.to_owned(),
        }
    }

    /// Waits until `more` keys have been acknowledged from now on.
    pub async fn goes_on(&self, more: u64) -> Result<()> {
        let count = || self.shared.acknowledged.load(Ordering::Relaxed);
        let goal = count() + more;
        until(SETTLE, "the load goes on", async || {
            let wrong = self
                .shared
                .wrong
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .join("\n");
            ensure!(count() >= goal, "{} of {goal} keys; wrong answers: {wrong}", count());
            Ok(())
        })
        .await
    }

    /// Ends the writers; fails if any answer was wrong.
    pub async fn stop(self) -> Result<Written> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut counts = Vec::new();
        for writer in self.writers {
            counts.push(writer.await??);
        }
        let wrong = self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(wrong.is_empty(), "wrong answers:\n{}", wrong.join("\n"));
        let repeated = self.shared.repeated.load(Ordering::Relaxed);
        Ok(Written {
            app: self.app,
            store: self.store,
            counts,
            repeated,
        })
    }
}

impl Written {
    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Fails unless every acknowledged key is there with its value, and every pair as it was saved last.
    pub async fn check(&self) -> Result<()> {
        for (writer, count) in self.counts.iter().enumerate() {
            let writer = writer as u64;
            let mut wanted: Vec<_> = (0..*count).map(|n| (key(writer, n), json!(n))).collect();
            if let Some(last) = count.checked_sub(1) {
                wanted.extend(pair(writer, last));
            }
            for part in wanted.chunks(BULK) {
                let keys: Vec<_> = part.iter().map(|(key, _)| key).collect();
                let path = format!("/v1.0/state/{}/bulk", self.store);
                let found = self
                    .app
                    .gateway
                    .post(&path, &json!({"keys": keys, "parallelism": 8}))
                    .await?
                    .good()?;
                let value = |key: &str| {
                    found
                        .as_array()?
                        .iter()
                        .find(|item| item["key"] == key)?
                        .get("data")
                        .cloned()
                };
                for (key, wanted) in part {
                    let found = value(key).unwrap_or_default();
                    ensure!(found == *wanted, "{key} was acknowledged as {wanted}, and is {found}");
                }
            }
        }
        Ok(())
    }
}

fn key(writer: u64, n: u64) -> String {
    format!("load-{writer}-{n}")
}

/// Whether an answer says that somebody on the way is away. Dapr's state API has no status of its own for a store that is:
/// it answers 500, as to any failure, and repeats what became of the call.
fn is_outage(answer: &Answer) -> bool {
    match answer.status {
        502..=504 => true,
        500 => {
            let said = answer.body["message"].as_str().unwrap_or_default();
            ["Unavailable", "DeadlineExceeded"]
                .iter()
                .any(|code| said.contains(&format!("rpc error: code = {code} ")))
        }
        _ => false,
    }
}

/// Two keys that are saved together and never differ.
fn pair(writer: u64, n: u64) -> [(String, Value); 2] {
    ["left", "right"].map(|side| (format!("load-{writer}-{side}"), json!(n)))
}

struct Writer {
    number: u64,
    app: App,
    store: String,
    shared: Arc<Shared>,
}

impl Writer {
    async fn run(self) -> Result<u64> {
        let mut n = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let (key, value) = (key(self.number, n), json!(n));
            self.insist("save", 204, || self.app.save(&self.store, &key, &value))
                .await?;
            let pair = pair(self.number, n);
            self.insist("transaction", 204, || self.app.save_together(&self.store, &pair))
                .await?;
            for (key, value) in [&(key, value)].into_iter().chain(&pair) {
                let answer = self.insist("get", 200, || self.app.load(&self.store, key)).await?;
                if answer.status == 200 && answer.body != *value {
                    self.wrong(format!("{key} was acknowledged as {value} and reads {}", answer.body));
                }
            }
            n += 1;
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(n)
    }

    /// Calls again and again until the answer is the good one, or a wrong one.
    async fn insist<F>(&self, what: &str, good: u16, call: impl Fn() -> F) -> Result<Answer>
    where
        F: Future<Output = Result<Answer>>,
    {
        let started = Instant::now();
        loop {
            let reason = match call().await {
                Ok(answer) if answer.status == good => return Ok(answer),
                Ok(answer) if is_outage(&answer) => format!("{} {}", answer.status, answer.body),
                Ok(answer) => {
                    self.wrong(format!("{what}: {} {}", answer.status, answer.body));
                    return Ok(answer);
                }
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > GIVE_UP {
                bail!("{what}: not within {GIVE_UP:?}: {reason}");
            }
            self.shared.repeated.fetch_add(1, Ordering::Relaxed);
            sleep(AGAIN).await;
        }
    }

    fn wrong(&self, answer: String) {
        let mut wrong = self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() < 10 {
            wrong.push(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_no_outage() {
        let answer = |status, said: &str| Answer {
            status,
            body: json!({"errorCode": "ERR_STATE_SAVE", "message": format!("failed saving state: {said}")}),
        };
        assert!(is_outage(&answer(503, "")));
        assert!(is_outage(&answer(500, "rpc error: code = Unavailable desc = gone")));
        assert!(!is_outage(&answer(
            500,
            "rpc error: code = Internal desc = database disk image is malformed"
        )));
        assert!(!is_outage(&answer(
            500,
            "possible etag mismatch. error from state store"
        )));
        assert!(!is_outage(&answer(501, "")) && !is_outage(&answer(401, "")));
    }
}
