//! API keys: digests, roles, expiry.
//!
//! Must never see a key itself.

use std::collections::BTreeSet;

use palladium_kinds::{Grant, OrganizationId, ProjectId, Role, RoleScope, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::commit::Tx;
use crate::resource::ids;
use crate::{Error, Store};

/// A key to be kept.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// `key-…`
    pub id: String,
    /// Unique among the keys of the same scope: a name must not tell what other projects have.
    pub name: String,
    /// SHA-256 of the whole key.
    pub token_sha256: [u8; 32],
    /// Its one role and where it holds.
    pub grant: Grant,
    /// Who made it.
    pub created_by: String,
    /// `None` = never.
    pub expires_at: Option<Timestamp>,
}

/// A kept key.
#[derive(Debug, Clone)]
pub struct ApiKeyRow {
    /// `key-…`
    pub id: String,
    /// Whose it is.
    pub organization: OrganizationId,
    /// For people.
    pub name: String,
    /// SHA-256 of the whole key.
    pub token_sha256: Vec<u8>,
    /// Its one role and where it holds.
    pub grant: Grant,
    /// Creation.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// `None` = never.
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// The key with this digest. Expiry is the caller's to check.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_by_digest(&self, token_sha256: &[u8; 32]) -> Result<Option<ApiKeyRow>, Error> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE token_sha256 = ?1")
            .bind(token_sha256.as_slice())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        row.as_ref().map(from_row).transpose()
    }

    /// The key of that id, or the keys of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys_named(&self, organization: &OrganizationId, id_or_name: &str) -> Result<Vec<ApiKeyRow>, Error> {
        let rows = sqlx::query("SELECT * FROM api_keys WHERE org_id = ?1 AND (id = ?2 OR name = ?2) LIMIT 100")
            .bind(organization.as_str())
            .bind(id_or_name)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        rows.iter().map(from_row).collect()
    }

    /// The keys of the organization, by name; `only` those of these projects, if any are named.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_list(
        &self,
        organization: &OrganizationId,
        only: Option<&BTreeSet<ProjectId>>,
    ) -> Result<Vec<ApiKeyRow>, Error> {
        let rows = "SELECT * FROM api_keys WHERE org_id = ?1 \
                    AND (?2 IS NULL OR project_id IN (SELECT value FROM json_each(?2))) ORDER BY name";
        let rows = sqlx::query(rows)
            .bind(organization.as_str())
            .bind(only.map(ids).transpose()?)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        rows.iter().map(from_row).collect()
    }

    pub(crate) async fn key_insert(
        &self,
        tx: &mut Tx,
        organization: &OrganizationId,
        key: &NewApiKey,
    ) -> Result<(), Error> {
        let project = match &key.grant.scope {
            RoleScope::Global => "",
            RoleScope::Project(id) => id.as_str(),
        };
        let taken = "SELECT COUNT(*) FROM api_keys WHERE org_id = ?1 AND project_id = ?2 AND name = ?3";
        let taken: i64 = sqlx::query_scalar(taken)
            .bind(organization.as_str())
            .bind(project)
            .bind(&key.name)
            .fetch_one(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        if taken > 0 {
            return Err(Error::Exists {
                kind: "API key".into(),
                name: key.name.clone(),
                deleting: false,
            });
        }
        sqlx::query(
            "INSERT INTO api_keys (id, org_id, name, token_sha256, role, project_id, created_at, created_by, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(&key.id)
        .bind(organization.as_str())
        .bind(&key.name)
        .bind(key.token_sha256.as_slice())
        .bind(key.grant.role.as_str())
        .bind(project)
        .bind(Timestamp::now().unix_millis())
        .bind(&key.created_by)
        .bind(key.expires_at.map(Timestamp::unix_millis))
        .execute(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        Ok(())
    }

    pub(crate) async fn key_remove(&self, tx: &mut Tx, organization: &OrganizationId, id: &str) -> Result<(), Error> {
        // Whoever removes an administrator's key leaves one behind that lasts as long; else the organization could end up with none.
        let orphaned: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM api_keys k WHERE k.org_id = ?1 AND k.id = ?2 AND k.role = ?3 AND k.project_id = '' \
             AND (k.expires_at IS NULL OR k.expires_at > ?4) AND NOT EXISTS (SELECT 1 FROM api_keys o \
             WHERE o.org_id = k.org_id AND o.id <> k.id AND o.role = k.role AND o.project_id = '' \
             AND (o.expires_at IS NULL OR o.expires_at >= k.expires_at))",
        )
        .bind(organization.as_str())
        .bind(id)
        .bind(Role::Admin.as_str())
        .bind(Timestamp::now().unix_millis())
        .fetch_one(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        if orphaned > 0 {
            return Err(Error::LastAdmin);
        }
        let gone = sqlx::query("DELETE FROM api_keys WHERE org_id = ?1 AND id = ?2")
            .bind(organization.as_str())
            .bind(id)
            .execute(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        if gone.rows_affected() == 0 {
            Err(Error::NotFound)
        } else {
            Ok(())
        }
    }
}

fn from_row(row: &SqliteRow) -> Result<ApiKeyRow, Error> {
    let project: String = row.get("project_id");
    let scope = match project.as_str() {
        "" => RoleScope::Global,
        text => RoleScope::Project(
            text.parse::<ProjectId>()
                .map_err(|_| Error::Corrupt { what: "project id" })?,
        ),
    };
    Ok(ApiKeyRow {
        id: row.get("id"),
        organization: row.get::<String, _>("org_id").parse().map_err(|_| Error::Corrupt {
            what: "organization id",
        })?,
        name: row.get("name"),
        token_sha256: row.get("token_sha256"),
        grant: Grant {
            role: row
                .get::<String, _>("role")
                .parse()
                .map_err(|_| Error::Corrupt { what: "role" })?,
            scope,
        },
        created_at: Timestamp::from_unix_millis(row.get("created_at")),
        created_by: row.get("created_by"),
        expires_at: row.get::<Option<i64>, _>("expires_at").map(Timestamp::from_unix_millis),
    })
}
