//! Counts of what happened lately.
//!
//! One idea: a ring of buckets, each for a stretch of time; one that is older than the ring counts no more. Must never grow.

use std::time::Duration;

/// `N` counts over one interval.
pub(super) struct Window<const N: usize> {
    bucket_ms: u64,
    buckets: Vec<Bucket<N>>,
}

#[derive(Clone)]
struct Bucket<const N: usize> {
    /// Which stretch of time it counts, from the start; `None` = nothing yet.
    stretch: Option<u64>,
    counts: [u64; N],
}

impl<const N: usize> Window<N> {
    pub(super) fn new(interval_ms: u32, buckets: u32) -> Self {
        let buckets = buckets.max(1);
        let bucket = Bucket {
            stretch: None,
            counts: [0; N],
        };
        Self {
            bucket_ms: u64::from(interval_ms / buckets).max(1),
            buckets: vec![bucket; buckets as usize],
        }
    }

    fn stretch(&self, now: Duration) -> u64 {
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX) / self.bucket_ms
    }

    pub(super) fn add(&mut self, now: Duration, more: [u64; N]) {
        let stretch = self.stretch(now);
        let length = self.buckets.len() as u64;
        let Some(bucket) = self.buckets.get_mut((stretch % length) as usize) else {
            return;
        };
        if bucket.stretch != Some(stretch) {
            bucket.stretch = Some(stretch);
            bucket.counts = [0; N];
        }
        for (count, more) in bucket.counts.iter_mut().zip(more) {
            *count = count.saturating_add(more);
        }
    }

    pub(super) fn sum(&self, now: Duration) -> [u64; N] {
        let (stretch, length) = (self.stretch(now), self.buckets.len() as u64);
        let is_recent = |at: u64| stretch.checked_sub(at).is_some_and(|age| age < length);
        let recent = self
            .buckets
            .iter()
            .filter(|bucket| bucket.stretch.is_some_and(is_recent));
        recent.fold([0; N], |mut sum, bucket| {
            for (sum, count) in sum.iter_mut().zip(bucket.counts) {
                *sum = sum.saturating_add(count);
            }
            sum
        })
    }

    pub(super) fn clear(&mut self) {
        self.buckets.iter_mut().for_each(|bucket| bucket.stretch = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_counts_no_more() {
        let mut window = Window::<1>::new(1000, 2);
        let at = Duration::from_millis;
        window.add(at(100), [1]);
        window.add(at(600), [2]);
        assert_eq!(
            [window.sum(at(999)), window.sum(at(1000)), window.sum(at(1500))],
            [[3], [2], [0]]
        );
        window.add(at(1600), [4]);
        assert_eq!(window.sum(at(1600)), [4]);
        window.clear();
        assert_eq!(window.sum(at(1600)), [0]);
    }
}
