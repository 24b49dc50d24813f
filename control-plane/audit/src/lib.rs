//! What goes into the audit log.
//!
//! The one idea: an event is made here and nowhere else, so that text from outside is always clean and cut, and a secret is always a
//! keyed hash: comparable ("it changed", "the same as before"), not reversible. Writing is the store's, in the transaction of the
//! change itself.
//!
//! Must never: see a secret in clear, or decide whether something is allowed.

mod clean;
mod difference;
mod event;
mod repeats;
mod strangers;

pub use clean::clean;
pub use difference::{Side, difference, hash};
pub use event::{Outcome, Record};
pub use repeats::Repeats;
pub use strangers::{Note, Strangers};
