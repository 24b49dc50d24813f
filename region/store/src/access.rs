//! Which App ID may use which managed component: the agent's table, in memory and on disk.
//!
//! The one idea: the table answers one question, (project, App ID, component name) → component, and is replaced as a
//! whole. What it does not list is not there. The last one is kept on disk, so that a store serves with the agent
//! away; a file that is not what was written is ignored, and then nobody is served until the agent speaks. Must never
//! merge a table into the one before: what a new one leaves out is revoked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use palladium_os::files::write_private;
use palladium_proto::region::ManagedTable;
use palladium_sealing::sha256;
use prost::Message as _;
use tokio::sync::watch;

/// The component types that this store serves.
const TYPES: &[(&str, Kind)] = &[("state.diagrid", Kind::State), ("pubsub.diagrid", Kind::Bus)];
const FILE: &str = "managed.pb";
const HASH: usize = 32;

/// Answers from the newest table.
#[derive(Debug, Clone)]
pub(crate) struct Access(Arc<watch::Sender<Arc<Grants>>>);

/// What a component is for. A call of one kind never reaches a component of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    State,
    Bus,
}

/// A component that an App ID may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    kind: Kind,
    pub(crate) uid: Arc<str>,
    /// As the component says it; empty = the App ID's own name.
    pub(crate) consumer_id: Arc<str>,
}

/// (project, App ID, component name) → component.
#[derive(Debug, Default)]
pub(crate) struct Grants(HashMap<(String, String, String), Grant>);

impl Access {
    /// Nobody may anything yet.
    pub(crate) fn new() -> Self {
        Access(Arc::new(watch::Sender::new(Arc::default())))
    }

    /// Puts a table in force.
    pub(crate) fn replace(&self, table: &ManagedTable) {
        let mut grants = HashMap::new();
        for component in table.components.iter().filter(|one| !one.deleted) {
            let kind = TYPES
                .iter()
                .find(|(name, _)| component.r#type.eq_ignore_ascii_case(name));
            let Some((_, kind)) = kind else { continue };
            let grant = Grant {
                kind: *kind,
                uid: component.component_uid.as_str().into(),
                consumer_id: component.consumer_id.as_str().into(),
            };
            for app in &component.app_ids {
                let key = (component.project_id.clone(), app.clone(), component.name.clone());
                grants.insert(key, grant.clone());
            }
        }
        self.0.send_replace(Arc::new(Grants(grants)));
    }

    /// The component of this kind and name that this App ID may use; `None` = not permitted.
    pub(crate) fn component(&self, kind: Kind, project: &str, app: &str, component: &str) -> Option<Grant> {
        let grants = self.0.borrow();
        let grant = grants
            .0
            .get(&(project.to_string(), app.to_string(), component.to_string()));
        grant.filter(|grant| grant.kind == kind).cloned()
    }

    /// Tells of every new table.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Grants>> {
        self.0.subscribe()
    }

    /// As [`Access::component`], but waits a little for a table that is on its way: a Dapr Server may learn of a new
    /// component before this store does.
    pub(crate) async fn soon(
        &self,
        kind: Kind,
        [project, app, component]: [&str; 3],
        patience: Duration,
    ) -> Option<Grant> {
        let mut tables = self.0.subscribe();
        let permitted = async {
            loop {
                if let Some(grant) = self.component(kind, project, app, component) {
                    return Some(grant);
                }
                tables.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, permitted).await.ok().flatten()
    }
}

/// Where the last table is kept.
#[derive(Debug, Clone)]
pub(crate) struct LastTable(PathBuf);

impl LastTable {
    pub(crate) fn new(data_folder: &Path) -> Self {
        LastTable(data_folder.join(FILE))
    }

    /// The last table; `None` at the first start, or when the file is damaged.
    pub(crate) fn read(&self) -> Option<ManagedTable> {
        let bytes = std::fs::read(&self.0).ok()?;
        let table = bytes.split_at_checked(HASH).and_then(|(hash, content)| {
            if sha256(content) == hash {
                ManagedTable::decode(content).ok()
            } else {
                None
            }
        });
        if table.is_none() {
            tracing::error!(file = %self.0.display(), "the last table of managed components is damaged and ignored");
        }
        table
    }

    /// Keeps a table. Blocks on local disk.
    pub(crate) fn write(&self, table: &ManagedTable) -> Result<(), palladium_os::Error> {
        let content = table.encode_to_vec();
        write_private(&self.0, &[&sha256(&content)[..], &content].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::component;

    #[test]
    fn only_what_the_table_lists() {
        let access = Access::new();
        let uid = |kind, project, app, name| {
            let grant = access.component(kind, project, app, name);
            grant.map(|grant| grant.uid.to_string())
        };
        assert!(uid(Kind::State, "prj-a", "orders", "kv").is_none());
        let mut gone = component("prj-a", "u2", "old", &["orders"]);
        gone.deleted = true;
        let mut other = component("prj-a", "u3", "bus", &["orders"]);
        other.r#type = "pubsub.diagrid".into();
        let components = vec![component("prj-a", "u1", "kv", &["orders", "stock"]), gone, other];
        access.replace(&ManagedTable {
            components,
            ..ManagedTable::default()
        });
        assert_eq!(uid(Kind::State, "prj-a", "orders", "kv").as_deref(), Some("u1"));
        assert_eq!(uid(Kind::Bus, "prj-a", "orders", "bus").as_deref(), Some("u3"));
        assert!(uid(Kind::Bus, "prj-a", "orders", "kv").is_none());
        for (project, app, name) in [
            ("prj-b", "orders", "kv"),
            ("prj-a", "web", "kv"),
            ("prj-a", "orders", "old"),
            ("prj-a", "orders", "bus"),
        ] {
            assert!(uid(Kind::State, project, app, name).is_none(), "{project} {app} {name}");
        }
        access.replace(&ManagedTable::default());
        assert!(
            uid(Kind::State, "prj-a", "orders", "kv").is_none(),
            "absence is removal"
        );
    }

    #[tokio::test]
    async fn a_table_on_its_way_is_waited_for() {
        let access = Access::new();
        let (later, table) = (access.clone(), vec![component("prj-a", "u1", "kv", &["orders"])]);
        let waiting = access.soon(Kind::State, ["prj-a", "orders", "kv"], Duration::from_secs(5));
        let arriving = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            later.replace(&ManagedTable {
                components: table,
                ..ManagedTable::default()
            });
        };
        let found = tokio::join!(waiting, arriving).0;
        assert_eq!(found.map(|grant| grant.uid.to_string()).as_deref(), Some("u1"));
        assert!(
            access
                .soon(Kind::State, ["prj-b", "orders", "kv"], Duration::from_millis(20))
                .await
                .is_none()
        );
    }

    #[test]
    fn the_last_table_is_whole_or_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let last = LastTable::new(folder.path());
        assert!(last.read().is_none());
        let table = ManagedTable {
            version: 3,
            components: vec![component("prj-a", "u1", "kv", &["orders"])],
            ..ManagedTable::default()
        };
        last.write(&table).unwrap();
        assert_eq!(last.read(), Some(table));
        let mut bytes = std::fs::read(&last.0).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&last.0, &bytes).unwrap();
        assert!(last.read().is_none());
        std::fs::write(&last.0, b"short").unwrap();
        assert!(last.read().is_none());
    }
}
