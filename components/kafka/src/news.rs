//! What goes wrong, said once in a while.
//!
//! One idea: the same words are news once a minute, because what fails is tried again ten times a second. Must never keep more
//! than a few.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long words that were said are no news.
const QUIET: Duration = Duration::from_secs(60);
/// Most words that are said in this time.
const MOST: usize = 16;

/// When what was said last.
#[derive(Default)]
pub(crate) struct News {
    said: Mutex<HashMap<String, Instant>>,
}

impl News {
    /// Whether these words are to be said now; if so they count as said.
    pub(crate) fn is_new(&self, words: &str, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| now.duration_since(*at) < QUIET);
        let is_new = said.len() < MOST && !said.contains_key(words);
        if is_new {
            said.insert(words.to_owned(), now);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_news_once_a_minute() {
        let (news, now) = (News::default(), Instant::now());
        assert!(news.is_new("a", now) && news.is_new("b", now));
        assert!(!news.is_new("a", now + QUIET / 2) && !news.is_new("b", now + QUIET / 2));
        assert!(news.is_new("a", now + QUIET));
        for number in 0..2 * MOST {
            let _ = news.is_new(&number.to_string(), now + QUIET);
        }
        assert_eq!(news.said.lock().unwrap().len(), MOST);
    }
}
