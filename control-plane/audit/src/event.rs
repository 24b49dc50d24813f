//! Making an event.
//!
//! One idea: there is one way to make an event, and all text goes through `clean` on it. Must never keep text of a
//! stranger as it came: it is cleaned and cut.

use palladium_kinds::audit_event::{AuditActor, AuditEvent, AuditResource, AuditSource, FieldChange};
use palladium_kinds::{Timestamp, ids};

use crate::clean::clean;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was not allowed.
    Refused,
    /// It was allowed and could not be done.
    Failed,
}

/// The parts of an event, before cleaning.
#[derive(Debug, Clone)]
pub struct Record {
    /// Who.
    pub actor: AuditActor,
    /// Name of the action.
    pub action: &'static str,
    /// To what.
    pub resource: AuditResource,
    /// From where.
    pub source: AuditSource,
}

impl Record {
    /// The event, now.
    pub fn event(&self, outcome: Outcome, status: u16, reason: &str) -> AuditEvent {
        let outcome = match outcome {
            Outcome::Success => "success",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        AuditEvent {
            id: ids::new_uid(),
            sequence: 0,
            occurred_at: Timestamp::now(),
            actor: AuditActor {
                kind: self.actor.kind.clone(),
                id: clean(&self.actor.id, 128),
                name: clean(&self.actor.name, 256),
                on_behalf_of: clean(&self.actor.on_behalf_of, 256),
            },
            action: self.action.to_owned(),
            outcome: outcome.to_owned(),
            status,
            reason: clean(reason, 1024),
            resource: AuditResource {
                kind: clean(&self.resource.kind, 64),
                name: clean(&self.resource.name, 256),
                uid: clean(&self.resource.uid, 64),
                project_id: clean(&self.resource.project_id, 64),
            },
            changes: Vec::new(),
            before_hash: String::new(),
            after_hash: String::new(),
            source: AuditSource {
                ip: clean(&self.source.ip, 64),
                user_agent: clean(&self.source.user_agent, 256),
                request_id: clean(&self.source.request_id, 64),
            },
            count: 1,
        }
    }

    /// The event of a change that was made.
    pub fn change(
        &self,
        status: u16,
        changes: Vec<FieldChange>,
        before_hash: String,
        after_hash: String,
    ) -> AuditEvent {
        AuditEvent {
            changes,
            before_hash,
            after_hash,
            ..self.event(Outcome::Success, status, "")
        }
    }
}
