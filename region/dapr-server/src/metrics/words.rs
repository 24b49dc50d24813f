//! What is kept for each word that a caller may choose.
//!
//! One idea: the first so many words get something of their own, all others share what "other" gets, so that no caller can
//! make this process grow. Looking up takes no lock: the map is replaced when a word is new, which happens only so many
//! times. Must never keep more than that, nor a word that is long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

/// The word of what has no place of its own.
pub const OTHER: &str = "other";

/// Bytes of the longest word that is kept, and of the longest value of a label.
pub const LONGEST: usize = 256;

/// As much of a value as a label may have.
pub fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(LONGEST)]
}

/// Whether there is room for one more, which has it then.
pub fn one_more(made: &AtomicUsize, most: usize) -> bool {
    let more = |made: usize| (made < most).then_some(made + 1);
    made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// See the module.
pub struct ByWord<T> {
    most: usize,
    made: ArcSwap<HashMap<Arc<str>, Arc<T>>>,
    other: OnceLock<Arc<T>>,
    making: Mutex<()>,
}

impl<T> ByWord<T> {
    /// For so many words.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            made: ArcSwap::default(),
            other: OnceLock::new(),
            making: Mutex::default(),
        }
    }

    /// What there is for a word.
    pub fn get(&self, word: &str, make: impl FnOnce(&str) -> T) -> Arc<T> {
        let made = self.made.load();
        if let Some(found) = made.get(word) {
            return found.clone();
        }
        if word.len() > LONGEST || made.len() >= self.most {
            return self.other.get_or_init(|| Arc::new(make(OTHER))).clone();
        }
        drop(made);
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.made.load();
        if let Some(found) = made.get(word) {
            return found.clone();
        }
        if made.len() >= self.most {
            return self.other.get_or_init(|| Arc::new(make(OTHER))).clone();
        }
        let new = Arc::new(make(word));
        let mut next = HashMap::clone(&made);
        next.insert(word.into(), new.clone());
        self.made.store(Arc::new(next));
        new
    }
}

/// The same for a few small numbers, such as status codes.
pub struct ByNumber<T> {
    made: ArcSwap<Vec<(u32, Arc<T>)>>,
    making: Mutex<()>,
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self {
            made: ArcSwap::default(),
            making: Mutex::default(),
        }
    }
}

impl<T> ByNumber<T> {
    /// What there is for a number; `may`: whether there is room for one more.
    pub fn get(&self, number: u32, may: impl FnOnce() -> bool, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        if let Some(found) = find(&self.made.load(), number) {
            return Some(found);
        }
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.made.load();
        if let Some(found) = find(&made, number) {
            return Some(found);
        }
        if !may() {
            return None;
        }
        let new = Arc::new(make());
        let mut next = Vec::clone(&made);
        next.push((number, new.clone()));
        self.made.store(Arc::new(next));
        Some(new)
    }
}

fn find<T>(made: &[(u32, Arc<T>)], number: u32) -> Option<Arc<T>> {
    let found = made.iter().find(|(known, _)| *known == number);
    found.map(|(_, made)| made.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_caller_makes_it_grow() {
        let words = ByWord::new(3);
        for number in 0..100 {
            let word = number.to_string();
            let made = words.get(&word, str::to_owned);
            assert_eq!(*made, if number < 3 { word } else { OTHER.to_owned() });
        }
        assert_eq!(words.made.load().len(), 3);
        assert_eq!(*words.get("1", str::to_owned), "1");
        let words = ByWord::new(3);
        assert_eq!(*words.get(&"x".repeat(LONGEST + 1), str::to_owned), OTHER);
        assert!(words.made.load().is_empty());
    }

    #[test]
    fn numbers_are_made_once_and_only_while_there_is_room() {
        let numbers = ByNumber::default();
        assert_eq!(numbers.get(200, || true, || 1).as_deref(), Some(&1));
        assert_eq!(numbers.get(200, || false, || 2).as_deref(), Some(&1));
        assert_eq!(numbers.get(404, || false, || 3), None);
    }
}
