//! The route table: from the digest of a token to the one Dapr Server behind it.
//!
//! One idea: a table never changes; the next one replaces it whole, in one atomic step that all workers see with their
//! next request. Holds digests, never tokens; look-up is by digest, so nothing about a token can be learned from time.
//! A route that is not what the region's naming rules say is left out, whoever sent it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use palladium_proto::region::{Route as RouteMessage, RouteTable};
use palladium_spiffe::{SpiffeId, TrustDomain};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, RouteCounters};
use crate::upstream::{Dialer, Upstream};
use crate::uses::Uses;

/// SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// All that a request's way depends on.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) version: u64,
    grants: HashMap<Digest, Arc<Grant>, BuildHasherDefault<DigestHasher>>,
    /// Host name → project id.
    hosts: HashMap<Box<str>, Arc<str>>,
    with_hosts: HashSet<Arc<str>>,
}

/// What a token entitles to.
pub(crate) struct Grant {
    pub(crate) route: Arc<Route>,
    /// Unix seconds; 0 = no end.
    not_after: i64,
    /// Cancelled when the token is no longer in the table, so that streams under way end too.
    pub(crate) life: CancellationToken,
    /// The same from table to table, as long as the token is there.
    pub(crate) uses: Arc<Uses>,
}

impl Grant {
    pub(crate) fn is_valid_at(&self, now: impl FnOnce() -> i64) -> bool {
        self.not_after == 0 || now() < self.not_after
    }
}

/// One App ID.
pub(crate) struct Route {
    pub(crate) project_id: Arc<str>,
    pub(crate) app_id: Box<str>,
    /// `None` while its Dapr Server has no address.
    pub(crate) upstream: Option<Arc<Upstream>>,
    /// False while its Dapr Server is being started.
    pub(crate) ready: bool,
    /// Bytes of a request body, or of one gRPC message.
    pub(crate) max_body: u64,
    pub(crate) counters: RouteCounters,
}

/// Whose a host name is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HostOwner {
    /// The project that was asked about, or hosts are not used here.
    Same,
    /// Another project.
    Other,
    /// No project of this region.
    Nobody,
}

impl Table {
    pub(crate) fn grant(&self, digest: &Digest) -> Option<&Arc<Grant>> {
        self.grants.get(digest)
    }

    /// Whether requests of `project` may come to `host` (lower case, no port).
    pub(crate) fn host_owner(&self, host: &str, project: &Arc<str>) -> HostOwner {
        match self.hosts.get(host) {
            Some(owner) if owner == project => HostOwner::Same,
            Some(_) => HostOwner::Other,
            None if self.with_hosts.contains(project) => HostOwner::Nobody,
            None => HostOwner::Same,
        }
    }

    /// What is noted of each token.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (&Digest, &Arc<Uses>)> {
        self.grants.iter().map(|(digest, grant)| (digest, &grant.uses))
    }

    /// Keys of the upstreams that any route leads to.
    pub(crate) fn upstreams(&self) -> HashSet<u64> {
        self.grants
            .values()
            .filter_map(|grant| grant.route.upstream.as_ref())
            .map(|upstream| upstream.key)
            .collect()
    }
}

/// Makes tables out of what the agent says.
pub(crate) struct Compiler {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) default_max_body: u64,
    pub(crate) dialer: Dialer,
    pub(crate) metrics: Metrics,
}

impl Compiler {
    /// The next table. What stays the same keeps its connections and lives.
    pub(crate) fn compile(&self, message: &RouteTable, previous: &Table) -> Table {
        let mut upstreams: HashMap<(SpiffeId, SocketAddr), Arc<Upstream>> = previous
            .grants
            .values()
            .filter_map(|grant| grant.route.upstream.clone())
            .map(|upstream| ((upstream.spiffe_id.clone(), upstream.address), upstream))
            .collect();
        let mut table = Table {
            version: message.version,
            ..Table::default()
        };
        for route in &message.routes {
            match self.route(route, &mut upstreams) {
                Ok(compiled) => add_grants(&mut table, previous, route, &Arc::new(compiled)),
                Err(reason) => {
                    tracing::error!(
                        project = route.project_id,
                        app_id = route.app_id,
                        reason,
                        "route left out"
                    );
                }
            }
        }
        for project in &message.hosts {
            let id: Arc<str> = project.project_id.as_str().into();
            for host in &project.hosts {
                table.hosts.insert(host.to_ascii_lowercase().into(), id.clone());
                table.with_hosts.insert(id.clone());
            }
        }
        table
    }

    fn route(
        &self,
        message: &RouteMessage,
        upstreams: &mut HashMap<(SpiffeId, SocketAddr), Arc<Upstream>>,
    ) -> Result<Route, &'static str> {
        let id = SpiffeId::workload(&self.trust_domain, &message.project_id, &message.app_id)
            .map_err(|_| "project or App ID has a form that no SPIFFE ID can have")?;
        if id.as_str() != message.spiffe_id {
            return Err("its SPIFFE ID is not that of the App ID");
        }
        let upstream = match message.address.as_str() {
            "" => None,
            address => {
                let address = address.parse().map_err(|_| "its address is not ip:port")?;
                let known = upstreams.entry((id.clone(), address));
                Some(
                    known
                        .or_insert_with(|| Arc::new(self.dialer.upstream(id, address)))
                        .clone(),
                )
            }
        };
        Ok(Route {
            counters: self.metrics.route(&message.project_id, &message.app_id),
            project_id: message.project_id.as_str().into(),
            app_id: message.app_id.as_str().into(),
            upstream,
            ready: message.ready,
            max_body: if message.max_body_bytes == 0 {
                self.default_max_body
            } else {
                message.max_body_bytes
            },
        })
    }
}

/// Ends the lives of the tokens that `old` had and `new` has not. After the swap, so that no new life begins in between.
pub(crate) fn end_missing(old: &Table, new: &Table) {
    for (digest, grant) in &old.grants {
        if !new.grants.contains_key(digest) {
            grant.life.cancel();
        }
    }
}

fn add_grants(table: &mut Table, previous: &Table, message: &RouteMessage, route: &Arc<Route>) {
    for token in &message.tokens {
        let Ok(digest) = Digest::try_from(token.sha256.as_ref()) else {
            tracing::error!(
                project = message.project_id,
                app_id = message.app_id,
                "a token digest is not 32 bytes"
            );
            continue;
        };
        let same_app =
            |grant: &&Arc<Grant>| grant.route.project_id == route.project_id && grant.route.app_id == route.app_id;
        let (life, uses) = previous
            .grant(&digest)
            .filter(same_app)
            .map(|grant| (grant.life.clone(), grant.uses.clone()))
            .unwrap_or_default();
        let grant = Arc::new(Grant {
            route: route.clone(),
            not_after: token.not_after_unix_s,
            life,
            uses,
        });
        if table.grants.insert(digest, grant).is_some() {
            // Nobody can say whose it is: then it is nobody's.
            tracing::error!(
                project = message.project_id,
                app_id = message.app_id,
                "a token digest is there twice"
            );
            table.grants.remove(&digest);
        }
    }
}

/// A digest is already evenly spread: its first bytes are its hash. Only the agent decides which digests are in the
/// table, so nobody can aim at collisions.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length that a slice or array hashes first.
    fn write_usize(&mut self, _: usize) {}
}
