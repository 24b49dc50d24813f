//! One that receives for a group: one open subscription of a Dapr Server.
//!
//! One idea: back-pressure is how many deliveries, and how many bytes of them, it has not settled; who has settled one gets
//! another. Must never be given more than it asked for, but one message of any size.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use palladium_http::{Budget, Held};
use palladium_proto::store::Delivery;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::rows::{Entry, Token};

/// Greatest number of deliveries that a consumer may have at a time, whatever it asks for.
pub(crate) const MAX_WINDOW: usize = 1000;
/// Bytes of deliveries that a consumer has at a time.
const BYTES: usize = 16 << 20;

/// What a group's task is told.
pub(crate) enum Word {
    /// One more receives.
    Join(Consumer),
    /// So many at a time from now on.
    Window(u64, usize),
    /// What became of a delivery.
    Settle(u64, Token, How),
    /// It receives no more. What it has not settled goes to somebody else; it is told when what it has settled is on disk.
    Leave(u64, oneshot::Sender<()>),
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Done,
    /// Not before so long.
    Again(Duration),
}

/// See the module.
pub(crate) struct Consumer {
    pub(crate) number: u64,
    window: usize,
    out: mpsc::Sender<Result<Delivery, Status>>,
    /// Memory of what waits to be sent.
    budget: Option<Budget>,
    has: HashMap<Token, Entry>,
    bytes: usize,
}

/// Why a delivery did not go out.
pub(super) enum NotSent {
    /// The consumer is gone.
    Gone,
    /// There is no memory for it now.
    NoRoom,
}

/// The data of a message, which stand for the whole of it in the budget until it has been written.
struct Counted {
    data: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Consumer {
    /// `out` has room for [`MAX_WINDOW`].
    pub(crate) fn new(
        number: u64,
        window: usize,
        out: mpsc::Sender<Result<Delivery, Status>>,
        budget: Option<Budget>,
    ) -> Self {
        Consumer {
            number,
            window: window.min(MAX_WINDOW),
            out,
            budget,
            has: HashMap::new(),
            bytes: 0,
        }
    }

    pub(super) fn set_window(&mut self, window: usize) {
        self.window = window.min(MAX_WINDOW);
    }

    /// How many it has.
    pub(super) fn load(&self) -> usize {
        self.has.len()
    }

    pub(super) fn takes(&self, size: usize) -> bool {
        let fits = self.has.is_empty() || self.bytes.saturating_add(size) <= BYTES;
        fits && self.has.len() < self.window
    }

    /// Sends a delivery; it has the entry from now on, or gives it back.
    pub(super) fn send(&mut self, entry: Entry, mut delivery: Delivery) -> Result<(), (Entry, NotSent)> {
        if let (Some(budget), Some(message)) = (&self.budget, &mut delivery.message) {
            let held = budget.hold();
            if held.take(entry.size).is_err() {
                return Err((entry, NotSent::NoRoom));
            }
            let data = std::mem::take(&mut message.data);
            message.data = Bytes::from_owner(Counted { data, _held: held });
        }
        if self.out.try_send(Ok(delivery)).is_err() {
            // Its word that it leaves is on its way.
            self.window = 0;
            return Err((entry, NotSent::Gone));
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        self.has.insert(entry.token, entry);
        Ok(())
    }

    /// The entry of a delivery that it had.
    pub(super) fn settled(&mut self, token: &Token) -> Option<Entry> {
        let entry = self.has.remove(token)?;
        self.bytes = self.bytes.saturating_sub(entry.size);
        Some(entry)
    }

    pub(super) fn has(&self, token: &Token) -> bool {
        self.has.contains_key(token)
    }

    /// All that it had.
    pub(super) fn left(self) -> impl Iterator<Item = Entry> {
        self.has.into_values()
    }

    /// Ends its subscription.
    pub(super) fn end(&self, status: Status) {
        let _ = self.out.try_send(Err(status));
    }
}
