//! What regions report, and the end of a deletion.
//!
//! The one idea: a report can change status and release a finalizer, nothing else; and only for objects of that very region.
//!
//! Must never touch what is wanted.

use palladium_kinds::Timestamp;
use palladium_kinds::definition::REGION_FINALIZER;
use palladium_kinds::status::{Report, Verdict};

use crate::commit::Tx;
use crate::resource::{text, version};
use crate::{Error, Store};

/// Kind-specific status fields that a region may report. Everything else is dropped, so that nothing secret can slip in.
const DETAILS: &[&str] = &[
    "spiffeId",
    "spiffeIds",
    "tokens",
    "appIdStatus",
    "endpoints",
    "instances",
    "dataDestroyed",
];

impl Store {
    /// Takes in a report about one object; reports about other regions' objects, or unknown ones, are ignored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status_report(&self, region_id: &str, uid: &str, mut report: Report) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let organization: Option<String> =
            sqlx::query_scalar("SELECT org_id FROM resources WHERE uid = ?1 AND region_id = ?2")
                .bind(uid)
                .bind(region_id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(|error| self.sort(error))?;
        let Some(organization) = organization else {
            return Ok(());
        };
        let Some(object) = self.by_uid(&mut tx, &organization, uid).await? else {
            return Ok(());
        };
        let deleting = object.deleted_at.is_some();
        if report.verdict == Verdict::Deleted && !deleting {
            // Said of an older life of the name, or too early: the object is wanted.
            return Ok(());
        }
        report.details.retain(|key, _| DETAILS.contains(&key.as_str()));
        let mut status = object.status.clone();
        status.apply(&report, object.generation, deleting, Timestamp::now());
        let before = (
            &object.status.status,
            &object.status.conditions,
            &object.status.messages,
            &object.status.details,
        );
        let released =
            report.verdict == Verdict::Deleted && object.finalizers.iter().any(|name| name == REGION_FINALIZER);
        if before == (&status.status, &status.conditions, &status.messages, &status.details) && !released {
            return Ok(());
        }
        let mut finalizers = object.finalizers;
        if released {
            finalizers.retain(|name| name != REGION_FINALIZER);
        }
        let at = self.next_version(&mut tx).await?;
        sqlx::query("UPDATE resources SET status = ?2, finalizers = ?3, resource_version = ?4 WHERE uid = ?1")
            .bind(uid)
            .bind(text(&status)?)
            .bind(text(&finalizers)?)
            .bind(version(at))
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        if deleting && finalizers.is_empty() {
            self.remove_if_free(&mut tx, &organization, uid).await?;
        }
        tx.commit().await.map_err(|error| self.sort(error))
    }

    /// Removes an object that is being deleted and that nothing holds any more; then its project, if that only waited for it.
    pub(crate) async fn remove_if_free(&self, tx: &mut Tx, organization: &str, uid: &str) -> Result<(), Error> {
        let mut next = Some(uid.to_owned());
        while let Some(uid) = next.take() {
            let Some(object) = self.by_uid(tx, organization, &uid).await? else {
                return Ok(());
            };
            if object.deleted_at.is_none() || !object.finalizers.is_empty() {
                return Ok(());
            }
            if object.kind == "Project" {
                let inside: i64 =
                    sqlx::query_scalar("SELECT COUNT(*) FROM resources WHERE org_id = ?1 AND project_id = ?2")
                        .bind(organization)
                        .bind(&object.id)
                        .fetch_one(&mut **tx)
                        .await
                        .map_err(|error| self.sort(error))?;
                if inside > 0 {
                    return Ok(());
                }
            }
            for statement in [
                "DELETE FROM resources WHERE uid = ?1",
                "DELETE FROM changes WHERE uid = ?1",
            ] {
                sqlx::query(statement)
                    .bind(&uid)
                    .execute(&mut **tx)
                    .await
                    .map_err(|error| self.sort(error))?;
            }
            if let Some(project) = object.project {
                next =
                    sqlx::query_scalar("SELECT uid FROM resources WHERE org_id = ?1 AND kind = 'Project' AND id = ?2")
                        .bind(organization)
                        .bind(project.as_str())
                        .fetch_optional(&mut **tx)
                        .await
                        .map_err(|error| self.sort(error))?;
            }
        }
        Ok(())
    }
}
