//! Actions on configurations and their classes.
//!
//! One idea: the class decides who may, the name stands in audit records. Must never rename an action, nor put one that
//! shows a secret below `ReadSensitive`.

use crate::action::{Action, Class};

/// Lists the configurations of a project, secrets masked.
pub const LIST: Action = Action::new(
    "configurations.list",
    Class::Read,
    "List configurations, secrets masked",
);
/// Reads one, secrets masked.
pub const GET: Action = Action::new(
    "configurations.get",
    Class::Read,
    "Read a configuration, secrets masked",
);
/// Reads one with its secrets (`showsensitive=true`).
pub const READ_SECRETS: Action = Action::new(
    "configurations.readSecrets",
    Class::ReadSensitive,
    "Read the secrets of a configuration",
);
/// Creates one.
pub const CREATE: Action = Action::new("configurations.create", Class::Write, "Create a configuration");
/// Changes one.
pub const UPDATE: Action = Action::new("configurations.update", Class::Write, "Change a configuration");
/// Deletes one.
pub const DELETE: Action = Action::new("configurations.delete", Class::Write, "Delete a configuration");
