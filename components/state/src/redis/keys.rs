//! Keys by pattern.
//!
//! One idea: the server walks through all its keys, a few at a time, and tells those that may fit; what is kept of them is
//! one page. Must never hold up the server by asking for all keys at once, nor hold more than a page.

use std::collections::BTreeSet;

use ::redis::{RedisError, cmd};

use super::store::RedisStore;
use crate::like::Pattern;

/// Keys that the server looks at in one step.
const STEP: usize = 1000;

impl RedisStore {
    /// The keys that fit, in order, at most `limit` of those after `after`.
    pub(super) async fn keys(&self, pattern: &str, after: &str, limit: usize) -> Result<Vec<String>, RedisError> {
        let pattern = Pattern::new(pattern);
        let glob = pattern.redis_glob();
        // A key may be told twice.
        let (mut page, mut cursor) = (BTreeSet::new(), 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&glob).arg("COUNT").arg(STEP);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.command(&scan).await?;
            let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
            for key in keys.filter(|key| key.as_str() > after && pattern.fits(key)) {
                page.insert(key);
                if page.len() > limit {
                    page.pop_last();
                }
            }
            if next == 0 {
                return Ok(page.into_iter().collect());
            }
            cursor = next;
        }
    }
}
