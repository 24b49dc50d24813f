//! The one write path: mutations and their audit event, in one transaction.
//!
//! The one idea: a commit either is durable with its record, or nothing of it exists; `changed` wakes followers only afterwards.
//!
//! Must never write a change without its record.

use palladium_kinds::audit_event::AuditEvent;
use palladium_kinds::status::{CommonStatus, word};
use palladium_kinds::{OrganizationId, Timestamp};
use sqlx::{Row as _, Sqlite, Transaction};

use crate::mutation::{Create, Mutation, SealedSecret, Update};
use crate::resource::{Resource, from_row, select, text, version};
use crate::{Error, Store};

/// What a commit has done.
#[derive(Debug, Default)]
pub struct Committed {
    /// The objects as they are now; a deleted one only while finalizers hold it.
    pub resources: Vec<Resource>,
}

pub(crate) type Tx = Transaction<'static, Sqlite>;

impl Store {
    /// Applies `mutations` in order and records `event`, or does nothing at all.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotFound`], [`Error::Changed`], [`Error::Deleting`] when the state is not what the caller
    /// saw; [`Error::Storage`] when it cannot be written.
    pub async fn commit(
        &self,
        organization: &OrganizationId,
        mutations: Vec<Mutation>,
        event: AuditEvent,
    ) -> Result<Committed, Error> {
        let mut tx = self.begin().await?;
        let (mut newest, mut touched) = (0, Vec::new());
        for mutation in mutations {
            match mutation {
                Mutation::Create(create) => {
                    newest = self.create(&mut tx, organization, &create).await?;
                    touched.push(create.uid);
                }
                Mutation::Update(update) => {
                    newest = self.update(&mut tx, organization, &update).await?;
                    touched.push(update.uid);
                }
                Mutation::Delete { uid, generation } => {
                    newest = self.delete(&mut tx, organization, &uid, generation).await?;
                    touched.push(uid);
                }
                Mutation::CreateKey(key) => self.key_insert(&mut tx, organization, &key).await?,
                Mutation::DeleteKey { id } => self.key_remove(&mut tx, organization, &id).await?,
                Mutation::CreateJoinToken(token) => self.join_token_insert(&mut tx, &token).await?,
            }
        }
        self.audit_insert(&mut tx, organization, &event).await?;
        let mut committed = Committed::default();
        for uid in touched {
            committed
                .resources
                .extend(self.by_uid(&mut tx, organization.as_str(), &uid).await?);
        }
        self.finish(tx, newest).await?;
        Ok(committed)
    }

    pub(crate) async fn by_uid(&self, tx: &mut Tx, organization: &str, uid: &str) -> Result<Option<Resource>, Error> {
        let row = sqlx::query(select!("WHERE r.org_id = ?1 AND r.uid = ?2"))
            .bind(organization)
            .bind(uid)
            .fetch_optional(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        row.as_ref().map(from_row).transpose()
    }

    async fn create(&self, tx: &mut Tx, organization: &OrganizationId, new: &Create) -> Result<u64, Error> {
        let project = new.project.as_ref().map_or("", |id| id.as_str());
        let mut region = new.region.as_ref().map_or(String::new(), |id| id.as_str().to_owned());
        if !project.is_empty() {
            let row = sqlx::query(
                "SELECT region_id, deleted_at FROM resources WHERE org_id = ?1 AND kind = 'Project' AND id = ?2",
            )
            .bind(organization.as_str())
            .bind(project)
            .fetch_one(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
            if row.get::<Option<i64>, _>("deleted_at").is_some() {
                return Err(Error::Deleting);
            }
            region = row.get("region_id");
        }
        let holder = sqlx::query(
            "SELECT deleted_at FROM resources WHERE org_id = ?1 AND kind = ?2 AND project_id = ?3 AND name = ?4",
        )
        .bind(organization.as_str())
        .bind(&new.kind)
        .bind(project)
        .bind(&new.name)
        .fetch_optional(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        if let Some(holder) = holder {
            let deleting = holder.get::<Option<i64>, _>("deleted_at").is_some();
            return Err(Error::Exists {
                kind: new.kind.clone(),
                name: new.name.clone(),
                deleting,
            });
        }
        let (now, at) = (Timestamp::now(), self.next_version(tx).await?);
        sqlx::query(
            "INSERT INTO resources (org_id, kind, project_id, name, uid, id, region_id, generation, resource_version, \
             desired_version, created_at, updated_at, content, labels, annotations, finalizers, status) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14)",
        )
        .bind(organization.as_str())
        .bind(&new.kind)
        .bind(project)
        .bind(&new.name)
        .bind(&new.uid)
        .bind(&new.id)
        .bind(&region)
        .bind(version(at))
        .bind(now.unix_millis())
        .bind(text(&new.content)?)
        .bind(text(&new.labels)?)
        .bind(text(&new.annotations)?)
        .bind(text(&new.finalizers)?)
        .bind(text(&CommonStatus::accepted(now))?)
        .execute(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        self.put_sealed(tx, organization, &new.uid, &new.sealed).await?;
        self.note_change(tx, organization.as_str(), &region, &new.uid, at)
            .await?;
        Ok(at)
    }

    async fn update(&self, tx: &mut Tx, organization: &OrganizationId, change: &Update) -> Result<u64, Error> {
        let old = self
            .by_uid(tx, organization.as_str(), &change.uid)
            .await?
            .ok_or(Error::NotFound)?;
        if old.deleted_at.is_some() {
            return Err(Error::Deleting);
        }
        if old.generation != change.generation {
            return Err(Error::Changed);
        }
        let (now, at) = (Timestamp::now(), self.next_version(tx).await?);
        let mut status = old.status;
        status.superseded(now);
        sqlx::query(
            "UPDATE resources SET generation = generation + 1, resource_version = ?2, desired_version = ?2, updated_at = ?3, \
             content = ?4, labels = ?5, annotations = ?6, status = ?7 WHERE uid = ?1",
        )
        .bind(&change.uid)
        .bind(version(at))
        .bind(now.unix_millis())
        .bind(text(&change.content)?)
        .bind(text(&change.labels)?)
        .bind(text(&change.annotations)?)
        .bind(text(&status)?)
        .execute(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        for field in &change.forgotten {
            sqlx::query("DELETE FROM sealed WHERE uid = ?1 AND field = ?2")
                .bind(&change.uid)
                .bind(field)
                .execute(&mut **tx)
                .await
                .map_err(|error| self.sort(error))?;
        }
        self.put_sealed(tx, organization, &change.uid, &change.sealed).await?;
        self.note_change(tx, organization.as_str(), &old.region_id, &change.uid, at)
            .await?;
        Ok(at)
    }

    async fn delete(
        &self,
        tx: &mut Tx,
        organization: &OrganizationId,
        uid: &str,
        generation: u64,
    ) -> Result<u64, Error> {
        let object = self
            .by_uid(tx, organization.as_str(), uid)
            .await?
            .ok_or(Error::NotFound)?;
        if object.generation != generation {
            return Err(Error::Changed);
        }
        let mut doomed = Vec::new();
        if object.kind == "Project" {
            let rows = sqlx::query(select!(
                "WHERE r.org_id = ?1 AND r.project_id = ?2 ORDER BY r.kind, r.name"
            ))
            .bind(organization.as_str())
            .bind(&object.id)
            .fetch_all(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
            for row in &rows {
                doomed.push(from_row(row)?);
            }
        }
        doomed.push(object);
        let mut newest = 0;
        for object in doomed.into_iter().filter(|object| object.deleted_at.is_none()) {
            newest = self.mark_deleted(tx, object).await?;
        }
        Ok(newest)
    }

    async fn mark_deleted(&self, tx: &mut Tx, object: Resource) -> Result<u64, Error> {
        let (now, at) = (Timestamp::now(), self.next_version(tx).await?);
        let mut status = object.status;
        status.status = word::DELETING.into();
        status.updated_at = now;
        sqlx::query(
            "UPDATE resources SET resource_version = ?2, desired_version = ?2, updated_at = ?3, deleted_at = ?3, status = ?4 \
             WHERE uid = ?1",
        )
        .bind(&object.uid)
        .bind(version(at))
        .bind(now.unix_millis())
        .bind(text(&status)?)
        .execute(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        // Nobody needs a secret of something that is going away.
        sqlx::query("DELETE FROM sealed WHERE uid = ?1")
            .bind(&object.uid)
            .execute(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        self.note_change(tx, object.organization.as_str(), &object.region_id, &object.uid, at)
            .await?;
        if object.finalizers.is_empty() {
            self.remove_if_free(tx, object.organization.as_str(), &object.uid)
                .await?;
        }
        Ok(at)
    }

    async fn put_sealed(
        &self,
        tx: &mut Tx,
        organization: &OrganizationId,
        uid: &str,
        secrets: &[SealedSecret],
    ) -> Result<(), Error> {
        for secret in secrets {
            sqlx::query(
                "INSERT INTO sealed (org_id, uid, field, version, key_id, ciphertext, fingerprint) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (uid, field) DO UPDATE SET \
                 version = excluded.version, key_id = excluded.key_id, ciphertext = excluded.ciphertext, \
                 fingerprint = excluded.fingerprint",
            )
            .bind(organization.as_str())
            .bind(uid)
            .bind(&secret.value.field)
            .bind(version(secret.value.version))
            .bind(&secret.value.key_id)
            .bind(&secret.value.ciphertext)
            .bind(secret.fingerprint.as_slice())
            .execute(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        }
        Ok(())
    }

    async fn note_change(
        &self,
        tx: &mut Tx,
        organization: &str,
        region: &str,
        uid: &str,
        at: u64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO changes (seq, org_id, region_id, uid) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (uid) DO UPDATE SET seq = excluded.seq, region_id = excluded.region_id",
        )
        .bind(version(at))
        .bind(organization)
        .bind(region)
        .bind(uid)
        .execute(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        Ok(())
    }
}
