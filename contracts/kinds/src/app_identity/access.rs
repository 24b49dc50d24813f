//! Actions on App IDs and their classes.
//!
//! One idea: the class decides who may, the name stands in audit records. Must never rename an action, nor put one that
//! shows a secret below `ReadSensitive`.

use crate::action::{Action, Class};

/// Lists the App IDs of a project.
pub const LIST: Action = Action::new("appids.list", Class::Read, "List App IDs");
/// Reads one App ID, without its token.
pub const GET: Action = Action::new("appids.get", Class::Read, "Read an App ID, without its token");
/// Reads `status.apiToken` and the application token.
pub const READ_TOKEN: Action = Action::new("appids.readToken", Class::ReadSensitive, "Read an App ID's token");
/// Creates an App ID.
pub const CREATE: Action = Action::new("appids.create", Class::Write, "Create an App ID");
/// Changes an App ID.
pub const UPDATE: Action = Action::new("appids.update", Class::Write, "Change an App ID");
/// Deletes an App ID, its managed keys and its certificates.
pub const DELETE: Action = Action::new("appids.delete", Class::Write, "Delete an App ID");
/// Lists which tokens exist, without their secrets.
pub const TOKENS_LIST: Action = Action::new(
    "appids.tokensList",
    Class::Read,
    "List an App ID's tokens, without their secrets",
);
/// Mints a new token; the old one holds for one more hour.
pub const TOKENS_ROTATE: Action = Action::new("appids.tokensRotate", Class::Operate, "Rotate an App ID's token");
/// Refuses every token minted so far, at once.
pub const TOKENS_REVOKE: Action = Action::new(
    "appids.tokensRevoke",
    Class::Operate,
    "Revoke an App ID's tokens at once",
);
