//! Who exists: the identities that may be certified, and when earlier SVIDs of theirs were revoked.
//!
//! One idea: the table is whole or not at all, the last one is on disk, and a Sentry that starts while the agent is away
//! works from it. The platform's own roles are built in. Never learns an identity from a request.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::Duration,
};

use palladium_spiffe::{PathPattern, SpiffeId, TrustDomain};
use palladium_tls::TrustBundles;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::Error;

const FILE: &str = "identities.json";
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The identities of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Grows with every change.
    pub(crate) version: u64,
    /// SVIDs of an ID that begin before this instant (Unix seconds, 0 = none) are revoked.
    pub(crate) revoked_before: BTreeMap<SpiffeId, i64>,
}

/// The table in use. Shared by reference.
pub(crate) struct Identities {
    domain: TrustDomain,
    built_in: Vec<PathPattern>,
    file: PathBuf,
    table: watch::Sender<Table>,
    bundles: TrustBundles,
}

impl Identities {
    /// Loads the last table from `folder`, if there is one, and tells `bundles` of its revocations.
    pub(crate) fn open(
        domain: TrustDomain,
        built_in: Vec<PathPattern>,
        folder: &Path,
        bundles: TrustBundles,
    ) -> Result<Self, Error> {
        let file = folder.join(FILE);
        let at = |source| Error::File {
            path: file.clone(),
            source,
        };
        let table = match std::fs::metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Table::default(),
            Err(error) => return Err(at(error)),
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(at(std::io::Error::other("larger than an identity table can be")));
            }
            Ok(_) => {
                let text = std::fs::read(&file).map_err(at)?;
                serde_json::from_slice(&text).map_err(|error| at(error.into()))?
            }
        };
        revoke(&bundles, &table);
        Ok(Self {
            domain,
            built_in,
            file,
            table: watch::Sender::new(table),
            bundles,
        })
    }

    /// The version that is in use.
    pub(crate) fn version(&self) -> u64 {
        self.table.borrow().version
    }

    /// Whether `id` exists in this zone.
    pub(crate) fn is_known(&self, id: &SpiffeId) -> bool {
        id.trust_domain() == &self.domain
            && (self.built_in.iter().any(|path| path.matches(id))
                || self.table.borrow().revoked_before.contains_key(id))
    }

    /// As [`Self::is_known`], but gives a table that is on its way some time to arrive: a Dapr Server may be started in
    /// the same moment in which its identity is announced.
    pub(crate) async fn becomes_known(&self, id: &SpiffeId, patience: Duration) -> bool {
        let mut changes = self.table.subscribe();
        let known = async {
            while !self.is_known(id) {
                if changes.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(patience, known).await.unwrap_or(false)
    }

    /// The instant before which SVIDs of `id` are revoked; 0 = none.
    pub(crate) fn revoked_before(&self, id: &SpiffeId) -> i64 {
        self.table.borrow().revoked_before.get(id).copied().unwrap_or(0)
    }

    /// Takes a new table: to disk first, then in use. IDs of other trust domains are left out.
    pub(crate) fn replace(&self, mut table: Table) -> Result<(), Error> {
        table
            .revoked_before
            .retain(|id, _| id.trust_domain() == &self.domain && id.is_workload());
        let text = serde_json::to_vec(&table).map_err(|error| Error::File {
            path: self.file.clone(),
            source: error.into(),
        })?;
        palladium_os::files::write_private(&self.file, &text)?;
        revoke(&self.bundles, &table);
        self.table.send_replace(table);
        Ok(())
    }
}

fn revoke(bundles: &TrustBundles, table: &Table) {
    let revoked: HashMap<SpiffeId, i64> = table
        .revoked_before
        .iter()
        .filter(|(_, before)| **before > 0)
        .map(|(id, before)| (id.clone(), *before))
        .collect();
    bundles.set_revocations(revoked);
}
