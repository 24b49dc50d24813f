//! Actions on projects and their classes.
//!
//! Must never rename an action: its name stands in audit records.

use crate::action::{Action, Class};

/// Lists the projects that the caller may see.
pub const LIST: Action = Action::new("projects.list", Class::Read, "List projects");
/// Reads one project.
pub const GET: Action = Action::new("projects.get", Class::Read, "Read a project");
/// Creates a project (needs the role globally: the project does not exist yet).
pub const CREATE: Action = Action::new("projects.create", Class::Write, "Create a project");
/// Changes a project.
pub const UPDATE: Action = Action::new("projects.update", Class::Write, "Change a project");
/// Deletes a project and everything in it.
pub const DELETE: Action = Action::new("projects.delete", Class::Write, "Delete a project and everything in it");
