//! What the platform says about an object: one word, conditions, messages.
//!
//! One idea: the word in `status.status` is derived from what the region reported about the *current* generation, so it cannot
//! claim `ready` for something that nobody has seen yet. Conditions carry reason and last transition.
//!
//! Must never: carry a secret (kind-specific parts come from the region and are checked against an allow-list of keys).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// The words that `status.status` takes.
pub mod word {
    /// Serving as wanted.
    pub const READY: &str = "ready";
    /// Nobody has looked at it yet.
    pub const PENDING: &str = "pending";
    /// The region is making it true for the first time.
    pub const PROCESSING: &str = "processing";
    /// The region is making a change true.
    pub const UPDATING: &str = "updating";
    /// Finalizers still hold it.
    pub const DELETING: &str = "deleting";
    /// See the messages.
    pub const ERROR: &str = "error";
}

/// The condition that `status.status` summarizes.
pub const CONDITION_READY: &str = "Ready";

/// One observed fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which fact: `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// CamelCase, for programs.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The generation that this is about.
    pub observed_generation: u64,
    /// When `status` last changed.
    pub last_transition_at: Timestamp,
}

/// One line for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// What happened and, where known, what to do.
    pub message: String,
}

/// The part of the status that all kinds share; the kind's own fields stand beside these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonStatus {
    /// One of [`word`].
    pub status: String,
    /// Facts.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Reasons and warnings for people; mostly empty when ready.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// Last change.
    pub updated_at: Timestamp,
    /// Kind-specific fields as the region reported them.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
}

/// What the region can say about one generation of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted, still being made true.
    Pending,
    /// Serving.
    Ready,
    /// Accepted, not working, being retried.
    Error,
    /// This generation will never be applied.
    Rejected,
    /// Beyond the region's guard rails; waits for its owner.
    Held,
    /// Gone in the region.
    Deleted,
}

/// A report from the region. `details` holds kind-specific status fields.
#[derive(Clone, Debug)]
pub struct Report {
    /// The generation that it speaks about.
    pub generation: u64,
    /// What was made of it.
    pub verdict: Verdict,
    /// CamelCase, for programs.
    pub reason: String,
    /// For people; never a secret.
    pub message: String,
    /// The field to blame; may be empty.
    pub field: String,
    /// Kind-specific status.
    pub details: Map<String, Value>,
}

impl CommonStatus {
    /// The status of an object that was just accepted.
    pub fn accepted(now: Timestamp) -> Self {
        Self {
            status: word::PENDING.into(),
            conditions: vec![],
            messages: vec![],
            updated_at: now,
            details: Map::new(),
        }
    }

    /// What a new generation means: whatever was said about the old one no longer counts as current.
    pub fn superseded(&mut self, now: Timestamp) {
        self.status = if self.conditions.is_empty() {
            word::PENDING.into()
        } else {
            word::UPDATING.into()
        };
        self.messages.clear();
        self.updated_at = now;
    }

    /// Takes in a report. `generation` is the object's current one: an older report moves nothing but the details.
    pub fn apply(&mut self, report: &Report, generation: u64, deleting: bool, now: Timestamp) {
        self.details.extend(report.details.clone());
        self.updated_at = now;
        if report.generation != generation {
            return;
        }
        let (condition, current) = match report.verdict {
            Verdict::Ready => ("True", word::READY),
            Verdict::Pending if self.seen_before(generation) => ("Unknown", word::UPDATING),
            Verdict::Pending => ("Unknown", word::PROCESSING),
            Verdict::Held => ("False", word::PENDING),
            Verdict::Error | Verdict::Rejected => ("False", word::ERROR),
            Verdict::Deleted => ("False", word::DELETING),
        };
        self.status = if deleting {
            word::DELETING.into()
        } else {
            current.into()
        };
        self.messages = match (report.verdict, report.message.is_empty()) {
            (Verdict::Ready, _) | (_, true) => vec![],
            _ if report.field.is_empty() => vec![Message {
                message: report.message.clone(),
            }],
            _ => vec![Message {
                message: format!("{}: {}", report.field, report.message),
            }],
        };
        self.set_condition(condition, &report.reason, &report.message, generation, now);
    }

    fn seen_before(&self, generation: u64) -> bool {
        generation > 1 && self.conditions.iter().any(|c| c.kind == CONDITION_READY)
    }

    fn set_condition(&mut self, status: &str, reason: &str, message: &str, generation: u64, now: Timestamp) {
        let old = self
            .conditions
            .iter()
            .position(|c| c.kind == CONDITION_READY)
            .map(|index| self.conditions.remove(index));
        let since = old.filter(|c| c.status == status).map_or(now, |c| c.last_transition_at);
        self.conditions.push(Condition {
            kind: CONDITION_READY.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: generation,
            last_transition_at: since,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(generation: u64, verdict: Verdict) -> Report {
        Report {
            generation,
            verdict,
            reason: "R".into(),
            message: "m".into(),
            field: String::new(),
            details: Map::new(),
        }
    }

    #[test]
    fn an_old_report_never_makes_a_new_generation_ready() {
        let now = Timestamp::now();
        let mut status = CommonStatus::accepted(now);
        status.apply(&report(1, Verdict::Ready), 2, false, now);
        assert_eq!(status.status, word::PENDING);
        status.apply(&report(2, Verdict::Ready), 2, false, now);
        assert_eq!(status.status, word::READY);
        status.superseded(now);
        assert_eq!(status.status, word::UPDATING);
    }

    #[test]
    fn the_transition_time_moves_only_with_the_condition() {
        let (first, later) = (Timestamp::from_unix_millis(1_000), Timestamp::from_unix_millis(9_000));
        let mut status = CommonStatus::accepted(first);
        status.apply(&report(1, Verdict::Ready), 1, false, first);
        status.apply(&report(1, Verdict::Ready), 1, false, later);
        assert_eq!(status.conditions[0].last_transition_at, first);
        status.apply(&report(1, Verdict::Error), 1, false, later);
        assert_eq!(
            (status.conditions[0].last_transition_at, status.conditions.len()),
            (later, 1)
        );
    }
}
