//! Second step: the request makes sense in itself. Nothing stored has been looked at, so nothing can leak by an error.
//!
//! Must never ask the store.

use palladium_kinds::api_key::ApiKeyRequest;
use palladium_kinds::meta::Draft;
use palladium_kinds::names::NameRule;
use palladium_kinds::{FieldErrors, Role, decode};
use serde_json::{Map, Value};

use super::Authenticated;
use crate::api::failure::Failure;

/// Longest life that can be asked for a key: ten years; beyond it "never" is meant.
const KEY_LIFE_MAX: u64 = 10 * 366 * 24 * 3600;

/// What is wanted, decoded.
pub(super) enum Wanted {
    /// `POST` of an object.
    Create(Draft),
    /// `PUT` of an object.
    Replace(Draft),
    /// `PATCH` (JSON merge patch); complete only together with what is stored.
    Merge(Map<String, Value>),
    /// `DELETE` of an object.
    Delete,
    /// A new token for an App ID; the old one holds a while.
    RotateTokens,
    /// No token made so far is to be accepted.
    RevokeTokens,
    /// A new API key. The scope is the name or id of a project.
    CreateKey {
        name: String,
        role: Role,
        scope: Option<String>,
        seconds: Option<u64>,
    },
    /// The end of an API key.
    DeleteKey,
    /// A join token for a region.
    JoinToken,
}

/// A request that makes sense in itself.
pub struct Validated {
    pub(super) call: Authenticated,
    pub(super) wanted: Wanted,
}

impl Authenticated {
    /// A complete new object.
    pub(in crate::api) fn validate_create(mut self) -> Result<Validated, Failure> {
        let draft = decode::draft(self.kind()?, self.take_body()?)?;
        if draft.name.is_none() {
            return Err(FieldErrors::one("metadata.name", "is missing", "give the object a name").into());
        }
        self.record.resource.name = draft.name.clone().unwrap_or_default();
        Ok(Validated {
            wanted: Wanted::Create(draft),
            call: self,
        })
    }

    /// A complete object in place of the stored one.
    pub(in crate::api) fn validate_replace(mut self) -> Result<Validated, Failure> {
        let draft = decode::draft(self.kind()?, self.take_body()?)?;
        Ok(Validated {
            wanted: Wanted::Replace(draft),
            call: self,
        })
    }

    /// Some fields of the stored object.
    pub(in crate::api) fn validate_merge(mut self) -> Result<Validated, Failure> {
        match self.take_body()? {
            Value::Object(patch) => Ok(Validated {
                wanted: Wanted::Merge(patch),
                call: self,
            }),
            _ => Err(Failure::bad_request(
                "the body is not a JSON object; send the fields to change",
            )),
        }
    }

    /// Nothing but the path counts.
    pub(in crate::api) fn validate_delete(self) -> Result<Validated, Failure> {
        Ok(Validated {
            wanted: Wanted::Delete,
            call: self,
        })
    }

    /// Nothing but the path counts.
    pub(in crate::api) fn validate_tokens(self, revoke: bool) -> Result<Validated, Failure> {
        let wanted = if revoke {
            Wanted::RevokeTokens
        } else {
            Wanted::RotateTokens
        };
        Ok(Validated { wanted, call: self })
    }

    /// Nothing but the path counts.
    pub(in crate::api) fn validate_join_token(self) -> Result<Validated, Failure> {
        Ok(Validated {
            wanted: Wanted::JoinToken,
            call: self,
        })
    }

    /// Nothing but the path counts.
    pub(in crate::api) fn validate_delete_key(self) -> Result<Validated, Failure> {
        Ok(Validated {
            wanted: Wanted::DeleteKey,
            call: self,
        })
    }

    /// A new API key.
    pub(in crate::api) fn validate_create_key(mut self) -> Result<Validated, Failure> {
        let request: ApiKeyRequest = decode::strict("", self.take_body()?)?;
        let mut errors = FieldErrors::default();
        if NameRule::Component.canonical(&request.name).is_err()
            || request.name.starts_with(palladium_authn::KEY_ID_PREFIX)
        {
            errors.push(
                "name",
                "is not allowed",
                "use letters, digits, '-', '_', '.'; it must not begin with key-",
            );
        }
        let role = request
            .role
            .parse::<Role>()
            .map_err(|reason| errors.push("role", reason, ""))
            .ok();
        let scope = request
            .scope
            .as_deref()
            .map(str::trim)
            .filter(|scope| !scope.is_empty() && *scope != "global");
        let project = scope.and_then(|scope| scope.strip_prefix("project:"));
        if scope.is_some() && project.is_none_or(str::is_empty) {
            errors.push(
                "scope",
                "is not a scope",
                "use project:<name>, or leave it out for the whole organization",
            );
        }
        if request
            .duration_seconds
            .is_some_and(|seconds| seconds == 0 || seconds > KEY_LIFE_MAX)
        {
            errors.push(
                "durationSeconds",
                "is out of range",
                "use 1 to 316224000, or leave it out for no end",
            );
        }
        errors.into_result()?;
        let role = role.ok_or_else(|| Failure::bad_request("role: is missing"))?;
        let scope = project.map(str::to_owned);
        self.record.resource.name.clone_from(&request.name);
        Ok(Validated {
            wanted: Wanted::CreateKey {
                name: request.name,
                role,
                scope,
                seconds: request.duration_seconds,
            },
            call: self,
        })
    }

    fn take_body(&mut self) -> Result<Value, Failure> {
        self.parts
            .body
            .take()
            .ok_or_else(|| Failure::bad_request("the body is missing; send JSON"))
    }
}
