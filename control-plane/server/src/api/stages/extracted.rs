//! Fourth step: no secret is left in what will be written, and it is known what that does to the stored object.
//!
//! One idea: all that will be written is made in this step, content only through `seal`; what differs from the stored
//! object is the audit record, and no difference means no write. Must never write: that is the next step.

use std::collections::BTreeMap;

use palladium_audit::Side;
use palladium_control_store::{Create, Mutation, Resource, SecretState, Update};
use palladium_kinds::api_key::{ApiKey, JoinTokenCreated};
use palladium_kinds::audit_event::{AuditResource, FieldChange};
use palladium_kinds::definition::REGION_FINALIZER;
use palladium_kinds::meta::Draft;
use palladium_kinds::{KindDefinition, ProjectId, ids, project};
use palladium_sealing::{HpkePublicKey, SecretString};
use palladium_secrets::{Beside, Extraction, Place, Stored};
use serde_json::{Map, Value, json};

use super::validated::Wanted;
use super::{App, Authenticated, Authorized, complete};
use crate::api::failure::Failure;
use crate::managed;

/// What the answer will show.
pub(super) enum Reply {
    /// The object as committed, or as it was when nothing changed.
    Object(Option<Box<Resource>>),
    /// A new key, shown this once.
    KeyCreated(ApiKey, SecretString),
    /// The key that is gone.
    KeyDeleted(ApiKey),
    /// A join token, shown this once.
    JoinToken(JoinTokenCreated),
}

/// What will be written, without secrets.
pub struct Extracted {
    pub(super) call: Authenticated,
    pub(super) mutations: Vec<Mutation>,
    pub(super) resource: AuditResource,
    pub(super) changes: Vec<FieldChange>,
    pub(super) hashes: (String, String),
    pub(super) reply: Reply,
}

impl Authorized {
    /// Seals what is secret and works out the change.
    pub(in crate::api) async fn extract(mut self, app: &App) -> Result<Extracted, Failure> {
        match std::mem::replace(&mut self.wanted, Wanted::Delete) {
            Wanted::Create(draft) => self.extract_create(app, draft).await,
            Wanted::Replace(draft) => self.extract_update(app, draft).await,
            Wanted::Merge(patch) => {
                let draft = complete::merged(self.call.kind()?, self.existing()?, patch)?;
                self.extract_update(app, draft).await
            }
            Wanted::RotateTokens => self.extract_tokens(app, false).await,
            Wanted::RevokeTokens => self.extract_tokens(app, true).await,
            Wanted::Delete => self.extract_delete(app).await,
            Wanted::CreateKey { name, .. } => self.extract_key(app, name),
            Wanted::DeleteKey => self.extract_key_deletion(),
            Wanted::JoinToken => self.extract_join_token(app).await,
        }
    }

    pub(super) fn existing(&self) -> Result<&Resource, Failure> {
        self.existing.as_ref().ok_or_else(|| Failure::not_found("object"))
    }

    async fn extract_create(self, app: &App, mut draft: Draft) -> Result<Extracted, Failure> {
        let kind = self.call.kind()?;
        complete::check_preconditions(&draft, None, self.project.as_ref())?;
        if managed::is_managed(
            kind.kind,
            draft.name.as_deref().unwrap_or_default(),
            self.project.as_ref(),
        ) {
            return Err(complete::name_is_managed());
        }
        let region = complete::complete(app, kind, &mut draft.content, None, self.project.as_ref()).await?;
        let (uid, name) = (ids::new_uid(), draft.name.clone().unwrap_or_default());
        let id = if kind.kind == project::KIND.kind {
            ProjectId::generate().to_string()
        } else {
            String::new()
        };
        let parent = self.project.as_ref().and_then(Resource::owning_project);
        let region_id = region
            .map(|region| region.id)
            .or_else(|| self.project.as_ref().map(|p| p.region_id.clone()));
        let extraction = self
            .seal(
                app,
                kind,
                &uid,
                1,
                region_id.as_deref().unwrap_or_default(),
                None,
                &mut draft,
            )
            .await?;
        let after = whole(&extraction.content, &draft.labels, &draft.annotations);
        let after = Side {
            content: &after,
            secrets: &extraction.fingerprints,
        };
        let (mut changes, hashes) = (
            palladium_audit::difference(None, Some(after)),
            (String::new(), palladium_audit::hash(after)),
        );
        let belonging = complete::belonging(app, kind, id.parse().ok(), None, &extraction.content).await?;
        let project_id = parent.as_ref().map_or_else(|| id.clone(), ToString::to_string);
        let resource = AuditResource {
            kind: kind.kind.into(),
            name: name.clone(),
            uid: uid.clone(),
            project_id,
        };
        let create = Create {
            kind: kind.kind.into(),
            project: parent,
            id,
            region: region_id.and_then(|id| id.parse().ok()),
            name,
            uid,
            content: extraction.content,
            labels: draft.labels,
            annotations: draft.annotations,
            finalizers: if kind.regional {
                vec![REGION_FINALIZER.to_owned()]
            } else {
                vec![]
            },
            sealed: extraction.sealed,
        };
        let mut mutations = vec![Mutation::Create(create)];
        if let Some((mutation, change)) = belonging {
            mutations.push(mutation);
            changes.push(change);
        }
        Ok(self.done(mutations, resource, changes, hashes, Reply::Object(None)))
    }

    pub(super) async fn extract_update(self, app: &App, mut draft: Draft) -> Result<Extracted, Failure> {
        let (kind, existing) = (self.call.kind()?, self.existing()?);
        complete::check_preconditions(&draft, Some(existing), self.project.as_ref())?;
        complete::complete(app, kind, &mut draft.content, Some(existing), self.project.as_ref()).await?;
        (kind.check_update)(&existing.content, &draft.content)?;
        let secrets = app.store.secret_states(&app.organization.id, &existing.uid).await?;
        let stored = Stored {
            content: &existing.content,
            secrets: &secrets,
        };
        let (uid, region) = (existing.uid.clone(), existing.region_id.clone());
        draft.name = Some(existing.name.clone());
        let extraction = self
            .seal(
                app,
                kind,
                &uid,
                existing.generation + 1,
                &region,
                Some(stored),
                &mut draft,
            )
            .await?;
        let old = fingerprints(&secrets);
        let before = whole(&existing.content, &existing.labels, &existing.annotations);
        let after = whole(&extraction.content, &draft.labels, &draft.annotations);
        let before = Side {
            content: &before,
            secrets: &old,
        };
        let after = Side {
            content: &after,
            secrets: &extraction.fingerprints,
        };
        let mut changes = palladium_audit::difference(Some(before), Some(after));
        let hashes = (palladium_audit::hash(before), palladium_audit::hash(after));
        let belonging = complete::belonging(
            app,
            kind,
            existing.owning_project(),
            Some(existing),
            &extraction.content,
        )
        .await?;
        let unchanged = hashes.0 == hashes.1 && extraction.sealed.is_empty() && belonging.is_none();
        let (resource, kept) = (named(existing), Box::new(existing.clone()));
        if unchanged {
            // Applying the same file again changes nothing, and restarts nothing.
            return Ok(self.done(vec![], resource, vec![], hashes, Reply::Object(Some(kept))));
        }
        let update = Update {
            uid,
            generation: existing.generation,
            content: extraction.content,
            labels: draft.labels,
            annotations: draft.annotations,
            sealed: extraction.sealed,
            forgotten: extraction.forgotten,
        };
        let mut mutations = vec![Mutation::Update(update)];
        if let Some((mutation, change)) = belonging {
            mutations.push(mutation);
            changes.push(change);
        }
        Ok(self.done(mutations, resource, changes, hashes, Reply::Object(None)))
    }

    async fn extract_delete(self, app: &App) -> Result<Extracted, Failure> {
        let existing = self.existing()?;
        if managed::is_managed(&existing.kind, &existing.name, self.project.as_ref()) {
            return Err(complete::is_managed(self.project.as_ref()));
        }
        complete::check_unused(app, existing).await?;
        let secrets = fingerprints(&app.store.secret_states(&app.organization.id, &existing.uid).await?);
        let before = whole(&existing.content, &existing.labels, &existing.annotations);
        let before = Side {
            content: &before,
            secrets: &secrets,
        };
        let (changes, hash) = (
            palladium_audit::difference(Some(before), None),
            palladium_audit::hash(before),
        );
        let (resource, kept) = (named(existing), Box::new(existing.clone()));
        let delete = Mutation::Delete {
            uid: existing.uid.clone(),
            generation: existing.generation,
        };
        Ok(self.done(
            vec![delete],
            resource,
            changes,
            (hash, String::new()),
            Reply::Object(Some(kept)),
        ))
    }

    async fn seal(
        &self,
        app: &App,
        kind: &KindDefinition,
        uid: &str,
        generation: u64,
        region: &str,
        stored: Option<Stored<'_>>,
        draft: &mut Draft,
    ) -> Result<Extraction, Failure> {
        let record = app.store.region_record(region).await?;
        let key = record.and_then(|record| HpkePublicKey::from_bytes(&record.hpke_public_key).ok());
        let project = self.target.project.as_ref().map_or("", |id| id.as_str());
        let place = Place {
            region,
            project,
            uid,
            generation,
        };
        let key = key.as_ref();
        Ok(palladium_secrets::extract(
            kind,
            app.catalog,
            place,
            key,
            &app.fingerprint_key,
            stored,
            Beside {
                name: draft.name.as_deref().unwrap_or_default(),
                labels: &draft.labels,
                annotations: &draft.annotations,
            },
            std::mem::take(&mut draft.content),
        )?)
    }

    pub(super) fn done(
        self,
        mutations: Vec<Mutation>,
        resource: AuditResource,
        changes: Vec<FieldChange>,
        hashes: (String, String),
        reply: Reply,
    ) -> Extracted {
        Extracted {
            call: self.call,
            mutations,
            resource,
            changes,
            hashes,
            reply,
        }
    }
}

pub(super) fn named(object: &Resource) -> AuditResource {
    AuditResource {
        kind: object.kind.clone(),
        name: object.name.clone(),
        uid: object.uid.clone(),
        project_id: object.owning_project().map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn fingerprints(secrets: &BTreeMap<String, SecretState>) -> BTreeMap<String, Vec<u8>> {
    secrets
        .iter()
        .map(|(field, state)| (field.clone(), state.fingerprint.clone()))
        .collect()
}

/// Content, labels and annotations as one map, for comparing.
fn whole(
    content: &Map<String, Value>,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let mut whole = content.clone();
    whole.insert(
        "metadata".into(),
        json!({ "labels": labels, "annotations": annotations }),
    );
    whole
}
