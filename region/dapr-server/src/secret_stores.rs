//! The secrets API: what HTTP and gRPC share.
//!
//! One idea: the scope is asked before the store. Must never log or keep a value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use palladium_component::SecretStore;
use palladium_component::secrets::Secret;
use palladium_component::state::Metadata;
use palladium_engine_resiliency::ComponentKind;
use palladium_engine_secrets::SecretsError;

use crate::entry::Block;
use crate::errors::Fault;
use crate::resiliency::outbound;
use crate::server::Server;

fn fault(error: SecretsError) -> Fault {
    Fault {
        report: error.report(),
        category: "secret",
    }
}

fn find(server: &Server, store: &str) -> Result<Arc<Block<dyn SecretStore>>, Fault> {
    let components = server.components.load();
    if !components.has_secret_stores() {
        return Err(fault(SecretsError::NotConfigured));
    }
    let found = components.secret_store(store).cloned();
    found.ok_or_else(|| {
        fault(SecretsError::NotFound {
            store: store.to_owned(),
        })
    })
}

/// One secret.
pub(crate) async fn get(server: &Server, store: &str, name: &str, metadata: &Metadata) -> Result<Secret, Fault> {
    let block = find(server, store)?;
    let (store, name) = (store.to_owned(), name.to_owned());
    if !server.rules.load().secrets.allow(&store, &name) {
        return Err(fault(SecretsError::Denied { store, name }));
    }
    let start = Instant::now();
    let policy = outbound(server, &store, ComponentKind::Secretstore);
    let found = policy.run(|_| block.driver.get(&name, metadata)).await;
    block.calls.observe("get", found.is_ok(), start.elapsed());
    found.map_err(|error| {
        let reason = error.to_string();
        fault(SecretsError::Get { store, name, reason })
    })
}

/// All secrets that the application may read.
pub(crate) async fn get_all(
    server: &Server,
    store: &str,
    metadata: &Metadata,
) -> Result<BTreeMap<String, Secret>, Fault> {
    let block = find(server, store)?;
    let start = Instant::now();
    let policy = outbound(server, store, ComponentKind::Secretstore);
    let found = policy.run(|_| block.driver.get_all(metadata)).await;
    block.calls.observe("bulk_get", found.is_ok(), start.elapsed());
    let mut found = found.map_err(|error| {
        let (store, reason) = (store.to_owned(), error.to_string());
        fault(SecretsError::GetAll { store, reason })
    })?;
    let rules = server.rules.load();
    found.retain(|name, _| rules.secrets.allow(store, name));
    Ok(found)
}
