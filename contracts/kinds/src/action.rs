//! Actions and their classes: the vocabulary between routes, policy and audit.
//!
//! One idea: a route names an [`Action`] constant, an action has exactly one [`Class`], and only the class is mapped to roles (by
//! the policy in `control-plane/authz`). So a new action can never be forgotten in the policy: it inherits its class's rule.
//!
//! Must never: mention a role.

use serde::Serialize;

/// What an action does to the thing it names; the unit that roles are granted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// Looks at definitions and status without secrets.
    Read,
    /// Looks at a secret: an App ID token, a component's credentials.
    ReadSensitive,
    /// Creates, changes or deletes a definition.
    Write,
    /// Acts on something running without changing its definition's meaning: rotate, revoke.
    Operate,
    /// Touches who may do what, the audit log or a region's membership.
    Admin,
}

impl Class {
    /// Every class, weakest first.
    pub const ALL: [Class; 5] = [
        Class::Read,
        Class::ReadSensitive,
        Class::Write,
        Class::Operate,
        Class::Admin,
    ];

    /// The name used in policy and in generated documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::ReadSensitive => "readSensitive",
            Class::Write => "write",
            Class::Operate => "operate",
            Class::Admin => "admin",
        }
    }
}

/// One thing that an actor can ask for. Declared as a constant beside its kind; compared by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action {
    /// `<plural>.<verb>`, stable: it stands in audit records.
    pub name: &'static str,
    /// Decides which roles may.
    pub class: Class,
    /// One line for the OpenAPI document and the role matrix.
    pub summary: &'static str,
}

impl Action {
    /// Declares an action.
    pub const fn new(name: &'static str, class: Class, summary: &'static str) -> Self {
        Self { name, class, summary }
    }
}

/// The five verbs that every stored kind has.
#[derive(Clone, Copy, Debug)]
pub struct CrudActions {
    /// `GET` of the collection.
    pub list: &'static Action,
    /// `GET` of one object, secrets masked.
    pub get: &'static Action,
    /// `GET` of one object with its secrets; `None` when the kind holds none.
    pub read_sensitive: Option<&'static Action>,
    /// `POST` to the collection; `None` when objects are not made through the API.
    pub create: Option<&'static Action>,
    /// `PUT` and `PATCH`.
    pub update: Option<&'static Action>,
    /// `DELETE`.
    pub delete: Option<&'static Action>,
}

/// Actions on what is not a kind: keys, audit, the installation itself.
pub mod organization {
    use super::{Action, Class};

    /// Lists API keys (never their secret).
    pub const API_KEYS_LIST: Action = Action::new("apikeys.list", Class::Admin, "List API keys");
    /// Mints an API key; shown once.
    pub const API_KEYS_CREATE: Action = Action::new("apikeys.create", Class::Admin, "Create an API key");
    /// Revokes an API key at once.
    pub const API_KEYS_DELETE: Action = Action::new("apikeys.delete", Class::Admin, "Delete (revoke) an API key");
    /// Reads the audit log.
    pub const AUDIT_LIST: Action = Action::new("audit.list", Class::Admin, "Read the audit log");
    /// Tells the caller who it is.
    pub const WHOAMI: Action = Action::new(
        "organization.whoami",
        Class::Read,
        "Who the caller is and what it may do",
    );

    /// All of them, for the role matrix.
    pub const ALL: &[&Action] = &[&API_KEYS_LIST, &API_KEYS_CREATE, &API_KEYS_DELETE, &AUDIT_LIST, &WHOAMI];
}
