//! The four roles and where they hold.
//!
//! One idea: a grant is (role, scope); roles are cumulative, scopes are the organization or one project. What a role may do is not
//! here but in the policy of `control-plane/authz`.
//!
//! Must never: answer "may X do Y".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::ProjectId;

/// A role, weakest first, so that `<=` means "contained in".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Role {
    /// Reads definitions and status.
    #[serde(rename = "cra.diagrid:viewer")]
    Viewer,
    /// Also reads App ID tokens and component credentials.
    #[serde(rename = "cra.diagrid:apiConsumer")]
    ApiConsumer,
    /// Also changes projects and what is in them.
    #[serde(rename = "cra.diagrid:apiOperator")]
    ApiOperator,
    /// Everything, including keys, audit and regions.
    #[serde(rename = "cra.diagrid:admin")]
    Admin,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::ApiConsumer, Role::ApiOperator, Role::Admin];

    /// The identifier as in the API: `cra.diagrid:viewer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "cra.diagrid:viewer",
            Role::ApiConsumer => "cra.diagrid:apiConsumer",
            Role::ApiOperator => "cra.diagrid:apiOperator",
            Role::Admin => "cra.diagrid:admin",
        }
    }

    /// The form used inside of key claims, with a dot: `cra.diagrid.viewer`.
    pub fn as_claim(self) -> String {
        self.as_str().replacen(':', ".", 1)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    /// Takes the full identifier with colon or dot, or the name alone (`viewer`, `:viewer`); `editor` is the old spelling of `apiOperator`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text
            .strip_prefix("cra.diagrid:")
            .or_else(|| text.strip_prefix("cra.diagrid."))
            .or_else(|| text.strip_prefix(':'))
            .unwrap_or(text);
        match name {
            "viewer" => Ok(Role::Viewer),
            "apiConsumer" => Ok(Role::ApiConsumer),
            "apiOperator" | "editor" => Ok(Role::ApiOperator),
            "admin" => Ok(Role::Admin),
            _ => Err(
                "unknown role; use one of cra.diagrid:viewer, cra.diagrid:apiConsumer, cra.diagrid:apiOperator, \
                      cra.diagrid:admin"
                    .into(),
            ),
        }
    }
}

/// Where a role holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RoleScope {
    /// The whole organization.
    Global,
    /// One project and everything in it.
    Project(ProjectId),
}

/// One role at one scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: RoleScope,
}

impl Grant {
    /// True when everything that `other` allows is allowed by this grant too.
    pub fn covers(&self, other: &Grant) -> bool {
        self.role >= other.role && (self.scope == RoleScope::Global || self.scope == other.scope)
    }
}
