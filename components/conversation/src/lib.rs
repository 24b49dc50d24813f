//! The drivers for conversations with language models.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never log a message.

mod echo;

use palladium_component::{Conversation, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Conversation> = Registry {
    what: "conversation component",
    common: None,
    drivers: &[echo::DRIVER],
};
