//! Why a request was not done, and the one place that makes an error answer.
//!
//! Must never carry a secret or a cause that is of no use to the caller; causes go to the log.

use http::StatusCode;
use palladium_control_store::Error as StoreError;
use palladium_kinds::{ErrorBody, FieldErrors};
use palladium_secrets::Problem;

/// A failed request.
#[derive(Debug)]
pub struct Failure {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body.
    pub body: ErrorBody,
    /// The caller asked for something that it may not do; always recorded.
    pub refused: bool,
}

impl Failure {
    /// With a detail for people.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            status,
            body: ErrorBody::new(status.as_u16(), title, detail),
            refused: false,
        }
    }

    /// 401. Never says why.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "no valid credential; send an API key as x-diagrid-api-key, or log in with: palladium login --api-key -",
        )
    }

    /// 403.
    pub(crate) fn forbidden(action: &str) -> Self {
        let detail = format!("your role does not allow {action} here; ask an administrator of the organization");
        Self {
            refused: true,
            ..Self::new(StatusCode::FORBIDDEN, detail)
        }
    }

    /// 404 for what is not there.
    pub(crate) fn not_found(kind: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{kind} not found"))
    }

    /// 404 for what the caller may not know to exist: the same bytes as [`Self::not_found`].
    pub(crate) fn hidden(kind: &str) -> Self {
        Self {
            refused: true,
            ..Self::not_found(kind)
        }
    }

    /// 400 with one complaint.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 409.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 503: try again.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The details in one line, for the audit log.
    pub(crate) fn reason(&self) -> String {
        self.body
            .errors
            .iter()
            .map(|error| error.detail.as_str())
            .collect::<Vec<_>>()
            .join(" | ")
    }
}

impl From<FieldErrors> for Failure {
    fn from(errors: FieldErrors) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body: ErrorBody::invalid(&errors),
            refused: false,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Invalid(errors) => errors.into(),
            Problem::NoKey { .. } => Self::unavailable(format!("{problem}; try again when its agent has joined")),
            Problem::Sealing { ref field, ref source } => {
                tracing::error!(field, %source, "cannot seal");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the secret could not be sealed; nothing was changed",
                )
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Exists {
                kind,
                name,
                deleting: true,
            } => Self::conflict(format!(
                "{kind} {name} is being deleted; its name is free again when that is done"
            )),
            StoreError::Exists { kind, name, .. } if kind == "AppIdentity" => {
                Self::conflict(format!("an App ID with the same name already exists: {name}"))
            }
            StoreError::Exists { .. } | StoreError::LastAdmin => Self::conflict(error.to_string()),
            StoreError::NotFound => Self::not_found("object"),
            StoreError::Changed => {
                Self::conflict("the object was changed meanwhile; read it again and repeat the change")
            }
            StoreError::Deleting => Self::conflict("the object is being deleted and cannot be changed"),
            StoreError::Storage { reason, .. } => {
                tracing::error!(%error, "the store cannot be used");
                Self::unavailable(format!(
                    "the control plane cannot store anything now: {reason}; nothing was changed"
                ))
            }
            StoreError::Corrupt { .. } | StoreError::Database(_) | StoreError::Migrate(_) => {
                tracing::error!(%error, "the store failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the control plane's store failed; see its log",
                )
            }
        }
    }
}
