//! What a group has still to deliver, in memory: which message may go out next.
//!
//! One idea: of the messages with one partition key at most one is out, waiting for its turn or for another try; the others
//! stand behind it, and the next one moves up when that one is done **on disk**. All others go out in the order of their
//! numbers. Pure: no clock, no disk. Must never hold more than its bound, nor forget an entry that is not done.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;

use crate::rows::{Entry, Token};

/// Entries in memory. Beyond them lies what the disk has: a key that fails for long can hold up the others once so many
/// stand behind it.
pub(super) const WINDOW: usize = 10_000;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    /// May go out, by number.
    ready: BTreeMap<i64, Entry>,
    /// Not before an instant.
    later: BTreeMap<(Instant, i64), Entry>,
    /// Behind the entry of their partition key that is ready, later, out or being written as done.
    behind: HashMap<i64, VecDeque<Entry>>,
    waiting: usize,
    /// Taken out and not yet done.
    out: usize,
    /// The greatest number that was ever here.
    pub(super) last: i64,
}

impl Queue {
    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.ready.len() + self.later.len() + self.waiting + self.out)
    }

    /// Whether so few are ready that more should be read.
    pub(super) fn is_low(&self) -> bool {
        self.ready.len() < 64
    }

    /// A message that is new here; they come in the order of their numbers.
    pub(super) fn push(&mut self, entry: Entry) {
        self.last = self.last.max(entry.token.seq);
        if let Some(part) = entry.part {
            if let Some(behind) = self.behind.get_mut(&part) {
                behind.push_back(entry);
                self.waiting += 1;
                return;
            }
            self.behind.insert(part, VecDeque::new());
        }
        self.ready.insert(entry.token.seq, entry);
    }

    /// The next one, which stays.
    pub(super) fn peek(&self) -> Option<&Entry> {
        self.ready.values().next()
    }

    /// Takes the next one out.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let (_, entry) = self.ready.pop_first()?;
        self.out += 1;
        Some(entry)
    }

    /// One that was out: again, now or not before an instant.
    pub(super) fn again(&mut self, entry: Entry, not_before: Option<Instant>) {
        self.out -= 1;
        let seq = entry.token.seq;
        match not_before {
            Some(at) => {
                self.later.insert((at, seq), entry);
            }
            None => {
                self.ready.insert(seq, entry);
            }
        }
    }

    /// One that was out is done, or gone: the next of its key moves up.
    pub(super) fn done(&mut self, entry: &Entry) {
        self.out -= 1;
        self.move_up(entry.part);
    }

    /// Takes one out that is not out, because somebody had it before and says now that it is done.
    pub(super) fn find(&mut self, token: &Token) -> Option<Entry> {
        let found = match self.ready.get(&token.seq) {
            Some(entry) if entry.token == *token => self.ready.remove(&token.seq),
            Some(_) => None,
            None => {
                let at = self.later.iter().find(|(_, entry)| entry.token == *token)?;
                let at = *at.0;
                self.later.remove(&at)
            }
        };
        self.out += usize::from(found.is_some());
        found
    }

    /// Makes ready what has waited long enough.
    pub(super) fn due(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                break;
            }
            let entry = first.remove();
            self.ready.insert(entry.token.seq, entry);
        }
    }

    /// When the next one will have waited long enough.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }

    fn move_up(&mut self, part: Option<i64>) {
        let Some(part) = part else { return };
        match self.behind.get_mut(&part).map(VecDeque::pop_front) {
            Some(Some(next)) => {
                self.waiting -= 1;
                self.ready.insert(next.token.seq, next);
            }
            Some(None) => {
                self.behind.remove(&part);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(seq: i64, part: Option<i64>) -> Entry {
        Entry {
            token: Token { seq, id: [0; 16] },
            part,
            size: 1,
            expires_ms: i64::MAX,
        }
    }

    fn take(queue: &mut Queue) -> Option<i64> {
        queue.take().map(|entry| entry.token.seq)
    }

    #[test]
    fn one_of_a_key_at_a_time_and_the_others_pass() {
        let mut queue = Queue::default();
        for (seq, part) in [(1, Some(7)), (2, Some(7)), (3, None), (4, Some(8)), (5, Some(7))] {
            queue.push(entry(seq, part));
        }
        let first = queue.take().unwrap();
        assert_eq!(
            (take(&mut queue), take(&mut queue), take(&mut queue)),
            (Some(3), Some(4), None)
        );
        let now = Instant::now();
        queue.again(first, Some(now + Duration::from_secs(1)));
        queue.due(now);
        assert_eq!(take(&mut queue), None, "nobody passes one that is tried again");
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(1)));
        queue.due(now + Duration::from_secs(1));
        let first = queue.take().unwrap();
        assert_eq!(first.token.seq, 1);
        queue.done(&first);
        let second = queue.take().unwrap();
        assert_eq!(second.token.seq, 2);
        queue.done(&second);
        assert_eq!(take(&mut queue), Some(5));
        queue.done(&entry(5, Some(7)));
        queue.push(entry(6, Some(7)));
        assert_eq!(take(&mut queue), Some(6), "an idle key holds up nobody");
        assert_eq!(queue.room(), WINDOW - 3, "3, 4 and 6 are out");
    }

    #[test]
    fn what_comes_back_is_the_first_again() {
        let mut queue = Queue::default();
        (1..=3).for_each(|seq| queue.push(entry(seq, None)));
        let first = queue.take().unwrap();
        assert_eq!(take(&mut queue), Some(2));
        queue.again(first, None);
        assert_eq!(take(&mut queue), Some(1));
        assert_eq!(take(&mut queue), Some(3));
        assert_eq!(queue.room(), WINDOW - 3);
    }

    #[test]
    fn a_late_word_finds_what_is_not_out() {
        let mut queue = Queue::default();
        queue.push(entry(1, Some(7)));
        queue.push(entry(2, Some(7)));
        let (mine, foreign) = (entry(1, None).token, Token { seq: 1, id: [9; 16] });
        assert!(queue.find(&foreign).is_none(), "another message of that number");
        let found = queue.find(&mine).unwrap();
        queue.done(&found);
        let second = queue.take().unwrap();
        queue.again(second, Some(Instant::now()));
        let late = entry(2, None).token;
        let found = queue.find(&late).unwrap();
        queue.done(&found);
        assert!(queue.find(&late).is_none());
        assert_eq!(queue.room(), WINDOW);
    }
}
