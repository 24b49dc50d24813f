//! What is wrong with a submitted object, and the one error body of the API.
//!
//! One idea: every complaint names the field, the reason and the remedy, so that a person can act on it without the manual.
//!
//! Must never: repeat a submitted value that could be a secret. Only field names and closed vocabularies are quoted, and names that
//! somebody made up are cut.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest field or reason, bytes: both may hold a name that was submitted.
const TEXT_MAX: usize = 256;
/// Most complaints about one object.
const COMPLAINTS_MAX: usize = 100;

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
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)?;
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
        if self.0.len() < COMPLAINTS_MAX {
            self.0.push(FieldError {
                field: cut(field.into()),
                reason: cut(reason.into()),
                remedy: remedy.into(),
            });
        }
        if self.0.len() == COMPLAINTS_MAX {
            self.0.push(FieldError {
                field: String::new(),
                reason: "there is more that is wrong".to_owned(),
                remedy: "mend this first".to_owned(),
            });
        }
    }

    /// Adds the complaints of others.
    pub fn extend(&mut self, others: impl IntoIterator<Item = FieldError>) {
        for other in others {
            self.push(other.field, other.reason, other.remedy);
        }
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

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push('…');
    }
    text
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_made_up_is_quoted_cut_and_not_a_thousand_times() {
        let mut errors = FieldErrors::default();
        for n in 0..5_000 {
            errors.push(
                "ä".repeat(10_000),
                format!("'{}{n}' is not known", "x".repeat(10_000)),
                "",
            );
        }
        assert_eq!(errors.0.len(), COMPLAINTS_MAX + 1);
        assert!(errors.0[0].field.starts_with("ää") && errors.0[0].field.ends_with('…'));
        assert!(errors.to_string().len() < 100_000, "{}", errors.to_string().len());
        assert!(
            errors
                .to_string()
                .ends_with("there is more that is wrong; mend this first")
        );
        let short = FieldErrors::one("spec.x", "is missing", "add it");
        assert_eq!(short.to_string(), "spec.x: is missing; add it");
    }
}
