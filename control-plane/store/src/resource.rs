//! Reading objects.
//!
//! Must never answer across organizations: every query names one.

use std::collections::{BTreeMap, BTreeSet};

use palladium_kinds::status::CommonStatus;
use palladium_kinds::{Metadata, Object, OrganizationId, ProjectId, Timestamp, region, registry};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::store::{signed, unsigned};
use crate::{Error, Store};

/// A stored object.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Whose it is.
    pub organization: OrganizationId,
    /// `AppIdentity`
    pub kind: String,
    /// The project that it is in.
    pub project: Option<ProjectId>,
    /// Name of that project (for a project: its own name); empty for other objects of the organization.
    pub project_name: String,
    /// Its own `prj-…` or `reg-…`, else empty.
    pub id: String,
    /// The region that is told about it, else empty.
    pub region_id: String,
    /// Unique within (kind, project).
    pub name: String,
    /// Never reused.
    pub uid: String,
    /// Of what is wanted.
    pub generation: u64,
    /// Last change of anything.
    pub resource_version: u64,
    /// Last change of what is wanted.
    pub desired_version: u64,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change of what is wanted.
    pub updated_at: Timestamp,
    /// Being deleted since.
    pub deleted_at: Option<Timestamp>,
    /// `spec` and what stands beside it; secrets are references.
    pub content: Map<String, Value>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who must let go.
    pub finalizers: Vec<String>,
    /// What is.
    pub status: CommonStatus,
}

/// What is known of an extracted secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretState {
    /// Its current version.
    pub version: u64,
    /// Keyed hash of the plaintext.
    pub fingerprint: Vec<u8>,
}

impl Resource {
    /// The project that the object belongs to, counting a project as belonging to itself.
    pub fn owning_project(&self) -> Option<ProjectId> {
        self.project.clone().or_else(|| self.id.parse().ok())
    }

    /// As the API shows it, before masking.
    pub fn to_object(&self) -> Object {
        let version = registry::by_kind(&self.kind)
            .and_then(|kind| kind.api_versions.first())
            .copied()
            .unwrap_or_default();
        let mut status = serde_json::to_value(&self.status).unwrap_or_default();
        if self.kind == region::KIND.kind
            && let Some(status) = status.as_object_mut()
        {
            // What follows from the region's id is shown from the first day on, whether it has joined or not.
            status.insert("id".into(), self.id.clone().into());
            let domain = palladium_spiffe::platform::trust_domain(&self.id).map(|domain| domain.to_string());
            status.insert("trustDomain".into(), domain.unwrap_or_default().into());
            for field in ["connected", "joined"] {
                status.entry(field).or_insert(false.into());
            }
        }
        Object {
            api_version: version.to_owned(),
            kind: self.kind.clone(),
            metadata: Metadata {
                name: self.name.clone(),
                uid: self.uid.clone(),
                project_id: self.owning_project(),
                resource_version: self.resource_version,
                generation: self.generation,
                created_at: self.created_at,
                updated_at: self.updated_at,
                labels: self.labels.clone(),
                annotations: self.annotations.clone(),
                finalizers: self.finalizers.clone(),
                deletion_timestamp: self.deleted_at,
            },
            content: self.content.clone(),
            status,
        }
    }
}

/// Every column of [`Resource`], and the project's name.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.*, CASE WHEN r.kind = 'Project' THEN r.name ELSE COALESCE(p.name, '') END AS project_name \
             FROM resources r LEFT JOIN resources p \
             ON p.org_id = r.org_id AND p.kind = 'Project' AND p.id = r.project_id AND r.project_id <> '' ",
            $rest
        )
    };
}
pub(crate) use select;

impl Store {
    /// One object by name; `project` is `None` for objects of the organization.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resource_find(
        &self,
        organization: &OrganizationId,
        kind: &str,
        project: Option<&ProjectId>,
        name: &str,
    ) -> Result<Option<Resource>, Error> {
        let row = sqlx::query(select!(
            "WHERE r.org_id = ?1 AND r.kind = ?2 AND r.project_id = ?3 AND r.name = ?4"
        ))
        .bind(organization.as_str())
        .bind(kind)
        .bind(project.map_or("", ProjectId::as_str))
        .bind(name)
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| self.sort(error))?;
        row.as_ref().map(from_row).transpose()
    }

    /// One object of the organization by its own id (`prj-…`, `reg-…`) or its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resource_find_by_id_or_name(
        &self,
        organization: &OrganizationId,
        kind: &str,
        id_or_name: &str,
    ) -> Result<Option<Resource>, Error> {
        let row = sqlx::query(select!(
            "WHERE r.org_id = ?1 AND r.kind = ?2 AND r.project_id = '' AND (r.id = ?3 OR r.name = ?4)"
        ))
        .bind(organization.as_str())
        .bind(kind)
        .bind(id_or_name)
        .bind(id_or_name.to_ascii_lowercase())
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| self.sort(error))?;
        row.as_ref().map(from_row).transpose()
    }

    /// Which of these names a project's objects of a kind have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resource_names(
        &self,
        organization: &OrganizationId,
        kind: &str,
        project: &ProjectId,
        names: &BTreeSet<&str>,
    ) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "SELECT name FROM resources WHERE org_id = ?1 AND kind = ?2 AND project_id = ?3 \
             AND name IN (SELECT value FROM json_each(?4))",
        )
        .bind(organization.as_str())
        .bind(kind)
        .bind(project.as_str())
        .bind(text(names)?)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.sort(error))
    }

    /// Objects of one kind in one project (or of the organization), by name, after `after`, at most `limit`; of projects
    /// `only` these, if any are named.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resource_list(
        &self,
        organization: &OrganizationId,
        kind: &str,
        project: Option<&ProjectId>,
        only: Option<&BTreeSet<ProjectId>>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Resource>, Error> {
        let rows = sqlx::query(select!(
            "WHERE r.org_id = ?1 AND r.kind = ?2 AND r.project_id = ?3 AND r.name > ?4 \
             AND (?6 IS NULL OR r.id IN (SELECT value FROM json_each(?6))) ORDER BY r.name LIMIT ?5"
        ))
        .bind(organization.as_str())
        .bind(kind)
        .bind(project.map_or("", ProjectId::as_str))
        .bind(after)
        .bind(limit)
        .bind(only.map(ids).transpose()?)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.sort(error))?;
        rows.iter().map(from_row).collect()
    }

    /// Extracted secrets of an object, by field.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn secret_states(
        &self,
        organization: &OrganizationId,
        uid: &str,
    ) -> Result<BTreeMap<String, SecretState>, Error> {
        let rows = sqlx::query("SELECT field, version, fingerprint FROM sealed WHERE org_id = ?1 AND uid = ?2")
            .bind(organization.as_str())
            .bind(uid)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        let state = |row: &SqliteRow| {
            (
                row.get("field"),
                SecretState {
                    version: unsigned(row.get("version")),
                    fingerprint: row.get("fingerprint"),
                },
            )
        };
        Ok(rows.iter().map(state).collect())
    }
}

/// A resource from a row of [`select`].
pub(crate) fn from_row(row: &SqliteRow) -> Result<Resource, Error> {
    let project: String = row.get("project_id");
    Ok(Resource {
        organization: row.get::<String, _>("org_id").parse().map_err(|_| Error::Corrupt {
            what: "organization id",
        })?,
        kind: row.get("kind"),
        project: match project.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Error::Corrupt { what: "project id" })?),
        },
        project_name: row.get("project_name"),
        id: row.get("id"),
        region_id: row.get("region_id"),
        name: row.get("name"),
        uid: row.get("uid"),
        generation: unsigned(row.get("generation")),
        resource_version: unsigned(row.get("resource_version")),
        desired_version: unsigned(row.get("desired_version")),
        created_at: Timestamp::from_unix_millis(row.get("created_at")),
        updated_at: Timestamp::from_unix_millis(row.get("updated_at")),
        deleted_at: row.get::<Option<i64>, _>("deleted_at").map(Timestamp::from_unix_millis),
        content: json(row, "content")?,
        labels: json(row, "labels")?,
        annotations: json(row, "annotations")?,
        finalizers: json(row, "finalizers")?,
        status: json(row, "status")?,
    })
}

fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, Error> {
    serde_json::from_str(row.get::<&str, _>(column)).map_err(|_| Error::Corrupt { what: column })
}

/// Projects as a JSON array for `json_each`.
pub(crate) fn ids(projects: &BTreeSet<ProjectId>) -> Result<String, Error> {
    text(&projects.iter().map(ProjectId::as_str).collect::<Vec<_>>())
}

/// JSON for a column; the values here always serialize.
pub(crate) fn text<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::Corrupt { what: "value" })
}

/// For binding.
pub(crate) fn version(value: u64) -> i64 {
    signed(value)
}
