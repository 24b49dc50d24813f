//! How many bytes of messages are under way at a time.
//!
//! One idea: each message that is handed over has a share of one budget until it is settled or over time, and nobody reads
//! more messages at a time than will probably fit: the largest one of late says how large the next ones may be. Must never
//! keep a message waiting that would not fit into all of it: it counts as all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use palladium_component::pubsub::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of all messages under way.
const BYTES: usize = 64 << 20;
/// What is foreseen of a message as long as none was seen.
const FIRST: usize = BYTES / 10;

/// What is left.
#[derive(Clone)]
pub(crate) struct Room {
    left: Arc<Semaphore>,
    bytes: usize,
    /// How large a message may be, by what was seen.
    foreseen: Arc<AtomicUsize>,
}

impl Default for Room {
    fn default() -> Self {
        Self::new(BYTES, FIRST)
    }
}

impl Room {
    fn new(bytes: usize, foreseen: usize) -> Self {
        Self {
            left: Arc::new(Semaphore::new(bytes)),
            bytes,
            foreseen: Arc::new(AtomicUsize::new(foreseen)),
        }
    }

    /// A message's share, given back when it is dropped.
    pub(crate) async fn take(&self, message: &Message) -> Option<OwnedSemaphorePermit> {
        let beside: usize = message
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let size = message.data.len().saturating_add(beside).clamp(1, self.bytes);
        let share = u32::try_from(size).unwrap_or(u32::MAX);
        // Never closed, so a share always comes.
        self.left.clone().acquire_many_owned(share).await.ok()
    }

    /// How many messages may be read now, `most` at most; waits until one will fit.
    pub(crate) async fn count(&self, most: usize) -> usize {
        let foreseen = self.foreseen.load(Ordering::Relaxed).clamp(1, self.bytes);
        let one = u32::try_from(foreseen).unwrap_or(u32::MAX);
        drop(self.left.acquire_many(one).await);
        (self.left.available_permits() / foreseen).clamp(1, most)
    }

    /// Takes note of what was read.
    pub(crate) fn learn(&self, sizes: impl Iterator<Item = usize>) {
        if let Some(largest) = sizes.max() {
            // What is past is forgotten step by step.
            let before = self.foreseen.load(Ordering::Relaxed);
            self.foreseen.store(largest.max(before / 2).max(1), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// What is there at once.
    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        timeout(Duration::ZERO, future).await.ok()
    }

    fn message(size: usize) -> Message {
        Message {
            data: vec![0; size].into(),
            ..Message::default()
        }
    }

    #[tokio::test]
    async fn sec_059_messages_under_way_have_so_many_bytes_together() {
        let room = Room::new(1000, 100);
        assert_eq!(room.count(50).await, 10);
        let first = room.take(&message(700)).await;
        assert!(now(room.take(&message(400))).await.is_none(), "no room");
        room.learn([700, 3].into_iter());
        assert!(now(room.count(50)).await.is_none(), "the next one may be as large");
        drop(first);
        assert_eq!(room.count(50).await, 1);
        assert!(now(room.take(&message(1 << 20))).await.is_some(), "alone");
        for _ in 0..9 {
            room.learn([3].into_iter());
        }
        assert_eq!(room.count(50).await, 50);
    }
}
