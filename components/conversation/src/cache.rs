//! Answers that are given again for a while, where a component asks for it.
//!
//! One idea: the same request, to the letter, gets the same answer; of requests only digests are kept. Must never hold more
//! answers than its bounds, nor one of a call that failed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use palladium_component::CallError;
use palladium_component::conversation::Answer;
use serde_json::Value;

const MOST: usize = 1000;
/// Bytes of all answers.
const MOST_BYTES: usize = 32 << 20;

pub(crate) struct Cache {
    life: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    answers: HashMap<Vec<u8>, Kept>,
    bytes: usize,
}

struct Kept {
    answer: Answer,
    bytes: usize,
    until: Instant,
}

impl Held {
    fn remove(&mut self, key: &[u8]) {
        if let Some(kept) = self.answers.remove(key) {
            self.bytes -= kept.bytes;
        }
    }
}

/// The answer to `body`: the one that is kept, in this `context`, or else a new one, which is kept.
pub(crate) async fn through(
    cache: Option<&Cache>,
    body: &Value,
    context: &str,
    ask: impl AsyncFnOnce() -> Result<Answer, CallError>,
) -> Result<Answer, CallError> {
    let Some(cache) = cache else {
        return ask().await;
    };
    let key = key(body);
    if let Some(mut answer) = cache.find(&key) {
        context.clone_into(&mut answer.context);
        return Ok(answer);
    }
    let answer = ask().await?;
    cache.keep(key, &answer);
    Ok(answer)
}

/// What a request is known by.
fn key(request: &Value) -> Vec<u8> {
    digest(&SHA256, request.to_string().as_bytes()).as_ref().to_vec()
}

impl Cache {
    pub(crate) fn new(life: Duration) -> Self {
        let held = Mutex::default();
        Self { life, held }
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<Answer> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = held.answers.get(key).filter(|kept| kept.until > Instant::now())?;
        Some(kept.answer.clone())
    }

    pub(crate) fn keep(&self, key: Vec<u8>, answer: &Answer) {
        let now = Instant::now();
        let Some(until) = now.checked_add(self.life) else {
            return;
        };
        let choices = answer.choices.iter().map(|choice| {
            let calls = choice
                .tool_calls
                .iter()
                .map(|call| call.id.len() + call.name.len() + call.arguments.len());
            choice.content.len() + choice.finish_reason.len() + calls.sum::<usize>()
        });
        let bytes = choices.sum::<usize>() + 512;
        if bytes > MOST_BYTES {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&key);
        while held.answers.len() >= MOST || held.bytes + bytes > MOST_BYTES {
            // All live equally long, so the one that ends first is the oldest.
            let oldest = held.answers.iter().min_by_key(|(_, kept)| kept.until);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            held.remove(&oldest);
        }
        held.bytes += bytes;
        let answer = answer.clone();
        held.answers.insert(key, Kept { answer, bytes, until });
    }
}

#[cfg(test)]
mod tests {
    use palladium_component::conversation::Choice;

    use super::*;

    fn said(content: String) -> Answer {
        let choice = Choice {
            content,
            ..Choice::default()
        };
        Answer {
            choices: vec![choice],
            ..Answer::default()
        }
    }

    #[test]
    fn answers_end_and_are_bounded() {
        let cache = Cache::new(Duration::from_secs(100));
        for index in 0..=MOST {
            cache.keep(key(&index.into()), &said(index.to_string()));
        }
        assert!(cache.find(&key(&0.into())).is_none(), "the oldest made room");
        assert_eq!(cache.find(&key(&7.into())).unwrap().choices[0].content, "7");
        cache.keep(key(&"large".into()), &said("x".repeat(MOST_BYTES - 600)));
        assert!(cache.find(&key(&7.into())).is_none() && cache.find(&key(&"large".into())).is_some());
        cache.keep(key(&"larger".into()), &said("x".repeat(MOST_BYTES)));
        assert!(cache.find(&key(&"larger".into())).is_none());
        assert!(cache.held.lock().unwrap().bytes <= MOST_BYTES);
        let over = Cache::new(Duration::ZERO);
        over.keep(key(&1.into()), &said("1".into()));
        assert!(over.find(&key(&1.into())).is_none());
    }
}
