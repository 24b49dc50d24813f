//! Actions on regions and their classes.
//!
//! Must never rename an action: its name stands in audit records.

use crate::action::{Action, Class};

/// Lists regions.
pub const LIST: Action = Action::new("regions.list", Class::Read, "List regions");
/// Reads one region.
pub const GET: Action = Action::new("regions.get", Class::Read, "Read a region");
/// Makes a new join token, until the region has joined.
pub const JOIN_TOKEN_CREATE: Action = Action::new(
    "regions.joinTokenCreate",
    Class::Admin,
    "Make a join token; impossible once the region has joined",
);
