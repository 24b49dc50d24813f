//! Actions on components and their classes.
//!
//! One idea: the class decides who may, the name stands in audit records. Must never rename an action, nor put one that
//! shows a secret below `ReadSensitive`.

use crate::action::{Action, Class};

/// Lists the components of a project, secrets masked.
pub const LIST: Action = Action::new("components.list", Class::Read, "List components, secrets masked");
/// Reads one component, secrets masked.
pub const GET: Action = Action::new("components.get", Class::Read, "Read a component, secrets masked");
/// Reads one component with its secrets (`showsensitive=true`).
pub const READ_SECRETS: Action = Action::new(
    "components.readSecrets",
    Class::ReadSensitive,
    "Read a component's secrets",
);
/// Creates a component.
pub const CREATE: Action = Action::new("components.create", Class::Write, "Create a component");
/// Changes a component.
pub const UPDATE: Action = Action::new("components.update", Class::Write, "Change a component");
/// Deletes a component; managed ones lose their data.
pub const DELETE: Action = Action::new("components.delete", Class::Write, "Delete a component");
