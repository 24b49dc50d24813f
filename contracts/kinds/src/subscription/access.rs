//! Actions on subscriptions and their classes.
//!
//! One idea: the class decides who may, the name stands in audit records. Must never rename an action.

use crate::action::{Action, Class};

/// Lists the subscriptions of a project.
pub const LIST: Action = Action::new("subscriptions.list", Class::Read, "List subscriptions");
/// Reads one.
pub const GET: Action = Action::new("subscriptions.get", Class::Read, "Read a subscription");
/// Creates one.
pub const CREATE: Action = Action::new("subscriptions.create", Class::Write, "Create a subscription");
/// Changes one.
pub const UPDATE: Action = Action::new("subscriptions.update", Class::Write, "Change a subscription");
/// Deletes one.
pub const DELETE: Action = Action::new("subscriptions.delete", Class::Write, "Delete a subscription");
