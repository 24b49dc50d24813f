//! Actions on HTTP endpoints and their classes.
//!
//! One idea: the class decides who may, the name stands in audit records. Must never rename an action, nor put one that
//! shows a secret below `ReadSensitive`.

use crate::action::{Action, Class};

/// Lists the HTTP endpoints of a project, secrets masked.
pub const LIST: Action = Action::new("httpendpoints.list", Class::Read, "List HTTP endpoints, secrets masked");
/// Reads one, secrets masked.
pub const GET: Action = Action::new(
    "httpendpoints.get",
    Class::Read,
    "Read an HTTP endpoint, secrets masked",
);
/// Reads one with its secrets (`showsensitive=true`).
pub const READ_SECRETS: Action = Action::new(
    "httpendpoints.readSecrets",
    Class::ReadSensitive,
    "Read the secrets of an HTTP endpoint",
);
/// Creates one.
pub const CREATE: Action = Action::new("httpendpoints.create", Class::Write, "Create an HTTP endpoint");
/// Changes one.
pub const UPDATE: Action = Action::new("httpendpoints.update", Class::Write, "Change an HTTP endpoint");
/// Deletes one.
pub const DELETE: Action = Action::new("httpendpoints.delete", Class::Write, "Delete an HTTP endpoint");
