//! Keys whose change is still to be told.
//!
//! One idea: a listener is told what is stored now, so a key that waits already need not wait twice; that bounds the queue
//! by the number of keys, however slow the listener is. Must never hold more keys than [`MOST`].

use std::collections::{HashSet, VecDeque};

/// Most keys that wait.
const MOST: usize = 65_536;

/// Keys in the order of their first change.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    order: VecDeque<String>,
    waiting: HashSet<String>,
    full: bool,
}

impl Pending {
    /// Adds a key, unless it waits already. Beyond the bound it is left out, which is logged once.
    pub(crate) fn add(&mut self, key: String) {
        if self.waiting.contains(&key) {
            return;
        }
        if self.waiting.len() >= MOST {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!(
                    most = MOST,
                    "more configuration keys change than can be told: some are left out"
                );
            }
            return;
        }
        self.waiting.insert(key.clone());
        self.order.push_back(key);
    }

    /// The key that waits longest.
    pub(crate) fn take(&mut self) -> Option<String> {
        let key = self.order.pop_front()?;
        self.waiting.remove(&key);
        self.full = false;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_once_and_in_order() {
        let mut pending = Pending::default();
        for key in ["a", "b", "a"] {
            pending.add(key.into());
        }
        assert_eq!(pending.take().as_deref(), Some("a"));
        pending.add("a".into());
        assert_eq!(
            [pending.take(), pending.take(), pending.take()],
            [Some("b".into()), Some("a".into()), None]
        );
    }

    #[test]
    fn no_more_keys_than_allowed() {
        let mut pending = Pending::default();
        for key in 0..MOST + 10 {
            pending.add(key.to_string());
        }
        assert_eq!(std::iter::from_fn(|| pending.take()).count(), MOST);
    }
}
