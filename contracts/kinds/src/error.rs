//! What is wrong with a submitted object, and the one error body of the API.
//!
//! One idea: every complaint names the field, the reason and the remedy, so that a person can act on it without the manual.
//!
//! Must never: repeat a submitted value that could be a secret. Only field names and closed vocabularies are quoted.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One complaint about one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path from the object's root: `spec.appEndpoint.url`.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All complaints about one object, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// Adds a complaint.
    pub fn push(&mut self, field: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(FieldError {
            field: field.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        });
    }

    /// A single complaint.
    pub fn one(field: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.push(field, reason, remedy);
        errors
    }

    /// `Ok` when there is nothing to complain about.
    pub fn into_result(self) -> Result<(), FieldErrors> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldErrors {}

/// The body of every answer with a status of 400 or above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// One item per complaint; never empty.
    pub errors: Vec<ErrorItem>,
}

/// One complaint, as Catalyst's clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorItem {
    /// The HTTP status again.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What happened and what to do.
    pub detail: String,
}

impl ErrorBody {
    /// A body with one complaint.
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            errors: vec![ErrorItem {
                status,
                title: title.into(),
                detail: detail.into(),
            }],
        }
    }

    /// A 400 with one item per field.
    pub fn invalid(errors: &FieldErrors) -> Self {
        let item = |e: &FieldError| ErrorItem {
            status: 400,
            title: "Bad Request".into(),
            detail: e.to_string(),
        };
        Self {
            errors: errors.0.iter().map(item).collect(),
        }
    }
}
