//! Actions on resiliency policies and their classes.
//!
//! One idea: the class decides who may, the name stands in audit records. Must never rename an action.

use crate::action::{Action, Class};

/// Lists the resiliency policies of a project.
pub const LIST: Action = Action::new("resiliencies.list", Class::Read, "List resiliency policies");
/// Reads one.
pub const GET: Action = Action::new("resiliencies.get", Class::Read, "Read a resiliency policy");
/// Creates one.
pub const CREATE: Action = Action::new("resiliencies.create", Class::Write, "Create a resiliency policy");
/// Changes one.
pub const UPDATE: Action = Action::new("resiliencies.update", Class::Write, "Change a resiliency policy");
/// Deletes one.
pub const DELETE: Action = Action::new("resiliencies.delete", Class::Write, "Delete a resiliency policy");
