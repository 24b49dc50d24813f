//! Nonces of renewals that were seen: a captured request is worth nothing.
//!
//! One idea: bounded in time by the accepted clock difference, and in number; when full, new renewals wait for room rather
//! than old ones being forgotten. Must never forget a nonce whose request could still be accepted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How far a renewal's clock may be off, either way.
pub(crate) const WINDOW_MS: i64 = 5 * 60 * 1000;
const MAX_REMEMBERED: usize = 100_000;

#[derive(Default)]
pub(crate) struct Nonces(Mutex<HashMap<Vec<u8>, i64>>);

impl Nonces {
    /// Remembers `nonce`; `false` when it was seen before, is not one, or there is no room.
    pub(crate) fn use_up(&self, nonce: &[u8], now_ms: i64) -> bool {
        if nonce.len() != 16 {
            return false;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_REMEMBERED {
            seen.retain(|_, at| *at + 2 * WINDOW_MS > now_ms);
        }
        if seen.len() >= MAX_REMEMBERED || seen.contains_key(nonce) {
            return false;
        }
        seen.insert(nonce.to_vec(), now_ms);
        true
    }
}
