//! The first start: organization, region, project `default` with its key-value store, an administrator's key, a join token.
//!
//! The one idea: all objects are one transaction, so a start that was cut off is simply a first start again; files are written
//! before the row that makes their content valid.
//!
//! Must never make anything again that a person has deleted, or a default credential.

use std::path::{Path, PathBuf};

use palladium_audit::{Outcome, Record};
use palladium_authn::ApiKeyToken;
use palladium_control_store::{Create, Mutation, NewApiKey, Organization, Store};
use palladium_kinds::audit_event::{AuditActor, AuditResource, AuditSource};
use palladium_kinds::definition::REGION_FINALIZER;
use palladium_kinds::{
    FieldErrors, Grant, KindDefinition, OrganizationId, ProjectId, RegionId, Role, RoleScope, ids, project, region,
};
use palladium_os::files::write_private;
use palladium_sealing::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::Error;
use crate::api::stages::RegionPort;
use crate::config::BootstrapConfig;
use crate::managed;

/// The action of the first start's record.
pub(crate) const BOOTSTRAP: &str = "organization.bootstrap";

/// Makes sure that the organization and what it begins with exist.
pub(crate) async fn ensure(
    store: &Store,
    organization_id: &OrganizationId,
    config: &BootstrapConfig,
) -> Result<Organization, Error> {
    let organization = store
        .organization_ensure(organization_id, &config.organization_name)
        .await?;
    if organization.id != *organization_id {
        return Err(Error::Config(format!(
            "regions.organization_id: the database in data_folder is that of {}, not of {organization_id}",
            organization.id
        )));
    }
    let region_id: RegionId = config
        .region_id
        .parse()
        .map_err(|error| Error::Config(format!("bootstrap.region_id: {error}")))?;
    let known = store
        .resource_list(&organization.id, region::KIND.kind, None, None, "", 1)
        .await?;
    if !known.is_empty() {
        return Ok(organization);
    }
    let grant = Grant {
        role: Role::Admin,
        scope: RoleScope::Global,
    };
    let key = ApiKeyToken::mint(&organization.id, "admin", &grant, None);
    write(&config.admin_key_file, key.token).await?;
    let row = NewApiKey {
        id: key.id,
        name: "admin".into(),
        token_sha256: key.digest,
        grant,
        created_by: "system".into(),
        expires_at: None,
    };
    let mut mutations = objects(config, &region_id).map_err(|errors| Error::Config(format!("bootstrap: {errors}")))?;
    mutations.push(Mutation::CreateKey(row));
    let resource = AuditResource {
        kind: "Organization".into(),
        name: organization.name.clone(),
        uid: organization.id.to_string(),
        project_id: String::new(),
    };
    store
        .commit(&organization.id, mutations, event(BOOTSTRAP, resource))
        .await?;
    tracing::info!(key_file = %config.admin_key_file.display(), "first start: organization, region and project made");
    Ok(organization)
}

/// Writes a join token for the first region as long as it has not joined and no other one is good.
pub(crate) async fn ensure_join_token(
    store: &Store,
    organization: &Organization,
    regions: &dyn RegionPort,
    config: &BootstrapConfig,
) -> Result<(), Error> {
    let region_id: RegionId = config
        .region_id
        .parse()
        .map_err(|error| Error::Config(format!("bootstrap.region_id: {error}")))?;
    if store.region_record(region_id.as_str()).await?.is_some() {
        return Ok(());
    }
    let file = config.join_token_file.clone();
    let there = tokio::task::spawn_blocking(move || file.exists())
        .await
        .unwrap_or(false);
    if there && store.join_token_pending(&region_id).await? {
        return Ok(());
    }
    let (token, record) = regions.mint_join_token(&region_id)?;
    let resource = AuditResource {
        kind: region::KIND.kind.into(),
        name: config.region_name.clone(),
        uid: region_id.to_string(),
        project_id: String::new(),
    };
    let mutations = vec![Mutation::CreateJoinToken(record)];
    store
        .commit(
            &organization.id,
            mutations,
            event(region::JOIN_TOKEN_CREATE.name, resource),
        )
        .await?;
    write(&config.join_token_file, token).await
}

fn objects(config: &BootstrapConfig, region_id: &RegionId) -> Result<Vec<Mutation>, FieldErrors> {
    let project_id = ProjectId::generate();
    let region_spec = json!({ "spec": { "ingress": config.region_ingress } });
    let project_spec =
        json!({ "spec": { "displayName": "default", "region": config.region_name, "managedKvEnabled": true } });
    let made = |kind: &KindDefinition, name: &str, body: Value| -> Result<Create, FieldErrors> {
        Ok(Create {
            kind: kind.kind.into(),
            project: None,
            id: String::new(),
            region: kind.regional.then(|| region_id.clone()),
            name: kind.names.canonical(name)?,
            uid: ids::new_uid(),
            content: (kind.normalize)(body)?,
            labels: Default::default(),
            annotations: Default::default(),
            finalizers: if kind.regional {
                vec![REGION_FINALIZER.to_owned()]
            } else {
                vec![]
            },
            sealed: vec![],
        })
    };
    let region = Create {
        id: region_id.to_string(),
        ..made(&region::KIND, &config.region_name, region_spec)?
    };
    let project = Create {
        id: project_id.to_string(),
        ..made(&project::KIND, "default", project_spec)?
    };
    let kvstore = managed::kv_store(project_id)?;
    Ok([region, project, kvstore].map(Mutation::Create).into())
}

fn event(action: &'static str, resource: AuditResource) -> palladium_kinds::audit_event::AuditEvent {
    let record = Record {
        actor: AuditActor {
            kind: "system".into(),
            id: "system".into(),
            name: "start".into(),
            on_behalf_of: String::new(),
        },
        action,
        resource,
        source: AuditSource::default(),
    };
    record.event(Outcome::Success, 201, "")
}

async fn write(path: &Path, secret: SecretString) -> Result<(), Error> {
    let path: PathBuf = path.to_owned();
    let name = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || {
        let line = format!("{}\n", secret.expose_secret());
        write_private(&path, line.as_bytes())
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::File {
            path: name,
            reason: error.to_string(),
        }),
        Err(error) => Err(Error::File {
            path: name,
            reason: error.to_string(),
        }),
    }
}
