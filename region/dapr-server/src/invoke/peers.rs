//! The other Dapr Servers that this one calls.
//!
//! One idea: a peer that was called once is found by the caller's own spelling of it, with its connections; nothing is
//! resolved for each call. Where a peer is, the network says (drop-in form) or the agent (platform mode); who it is, its
//! certificate must prove: exactly the App ID and namespace that were asked for. Must never dial a peer without mutual TLS
//! where this process has an identity.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use palladium_spiffe::SpiffeId;
use palladium_tls::{ALPN_H2, Authorizer, Connector, SvidSource, TrustBundles, exactly, mtls_client_config};

use super::mdns::Mdns;
use super::pool::Pool;

const HANDSHAKE: Duration = Duration::from_secs(5);
/// Spellings of peers that are remembered.
const MAX_PEERS: usize = 8192;

/// An App ID somewhere else.
pub struct Peer {
    /// Its App ID.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    tls: Option<Connector>,
    pools: ArcSwap<Vec<Arc<Pool>>>,
    /// The version of the network's list that `pools` was made of.
    seen: AtomicU64,
    next: AtomicUsize,
}

impl Peer {
    /// The connections of the next instance.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        let pools = self.pools.load();
        match pools.len() {
            0 => None,
            1 => pools.first().cloned(),
            count => pools.get(self.next.fetch_add(1, Ordering::Relaxed) % count).cloned(),
        }
    }

    fn set(&self, addresses: impl Iterator<Item = String>) {
        let old = self.pools.load();
        let pools = addresses
            .map(|address| match old.iter().find(|pool| pool.address() == address) {
                Some(pool) => pool.clone(),
                None => Arc::new(Pool::new(address, self.tls.clone())),
            })
            .collect();
        self.pools.store(Arc::new(pools));
    }
}

/// Why a target is nobody.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    /// More than one dot.
    #[error("invalid app id {0}")]
    Invalid(String),
    /// Nobody answered.
    #[error("couldn't find service: {0}")]
    NotFound(String),
    /// Nobody can be found, because nobody may be asked.
    #[error("name resolver not initialized")]
    NoResolver,
}

/// How this process proves who it is, and whom it trusts.
pub struct Identity {
    /// Its own certificates.
    pub svid: SvidSource,
    /// Its roots.
    pub bundles: TrustBundles,
}

/// All peers.
pub struct Peers {
    by_spelling: ArcSwap<HashMap<String, Arc<Peer>>>,
    namespace: String,
    /// Another name of the namespace: in platform mode the project's.
    project: ArcSwapOption<String>,
    identity: Option<Identity>,
    mdns: ArcSwapOption<Mdns>,
    /// In platform mode the agent's table is complete.
    table_only: bool,
}

impl Peers {
    /// Found by the network once [`Peers::listen`] was called.
    pub fn on_network(namespace: &str, identity: Option<Identity>) -> Self {
        Self::new(namespace, identity, false)
    }

    /// Told by the agent.
    pub fn in_table(namespace: &str) -> Self {
        Self::new(namespace, None, true)
    }

    fn new(namespace: &str, identity: Option<Identity>, table_only: bool) -> Self {
        Self {
            by_spelling: ArcSwap::default(),
            namespace: namespace.to_owned(),
            project: ArcSwapOption::empty(),
            identity,
            mdns: ArcSwapOption::empty(),
            table_only,
        }
    }

    /// From now on the network is asked.
    pub fn listen(&self, mdns: Mdns) {
        self.mdns.store(Some(Arc::new(mdns)));
    }

    /// The peers that the agent tells of: App ID, SPIFFE ID, address. `project`: another name of the namespace.
    pub fn set_table<'a>(
        &self,
        identity: &Identity,
        project: &str,
        table: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
    ) {
        self.project.store(Some(Arc::new(project.to_owned())));
        let old = self.by_spelling.load();
        let mut peers = HashMap::new();
        for (app_id, spiffe_id, address) in table {
            let Ok(id) = SpiffeId::parse(spiffe_id) else {
                tracing::warn!(app_id, "a peer without a valid SPIFFE ID is left out");
                continue;
            };
            let peer = match old.get(app_id) {
                Some(peer) => peer.clone(),
                None => {
                    let tls = connector(identity, exactly(&id));
                    Arc::new(self.peer(app_id, &self.namespace, Some(tls)))
                }
            };
            if peer.pools.load().first().is_none_or(|pool| pool.address() != address) {
                peer.set(std::iter::once(address.to_owned()));
            }
            for namespace in [self.namespace.as_str(), project] {
                if !namespace.is_empty() {
                    peers.insert(format!("{app_id}.{namespace}"), peer.clone());
                }
            }
            peers.insert(app_id.to_owned(), peer);
        }
        self.by_spelling.store(Arc::new(peers));
    }

    /// Whether a namespace is that of this process, by whichever of its names.
    pub fn is_own_namespace(&self, namespace: &str) -> bool {
        let project = || {
            self.project
                .load()
                .as_ref()
                .is_some_and(|own| own.as_str() == namespace)
        };
        namespace == self.namespace || (!namespace.is_empty() && project())
    }

    /// Whether the agent tells who there is: nothing else may be called.
    pub fn is_table(&self) -> bool {
        self.table_only
    }

    fn peer(&self, id: &str, namespace: &str, tls: Option<Connector>) -> Peer {
        Peer {
            id: id.to_owned(),
            namespace: namespace.to_owned(),
            tls,
            pools: ArcSwap::default(),
            seen: AtomicU64::new(0),
            next: AtomicUsize::new(0),
        }
    }

    /// The peer that a caller means, with at least one instance.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn find(&self, target: &str) -> Result<Arc<Peer>, ResolveError> {
        let known = self.by_spelling.load().get(target).cloned();
        if self.table_only {
            return known.ok_or_else(|| ResolveError::NotFound(target.to_owned()));
        }
        let mdns = self.mdns.load();
        let Some(mdns) = mdns.as_deref() else {
            return Err(ResolveError::NoResolver);
        };
        if let Some(peer) = &known {
            let version = mdns.version();
            if peer.seen.swap(version, Ordering::AcqRel) != version {
                peer.set(mdns.known(&peer.id).iter().map(ToString::to_string));
            }
            if !peer.pools.load().is_empty() {
                return Ok(peer.clone());
            }
        }
        let (id, namespace) = split(target, &self.namespace)?;
        let version = mdns.version();
        let addresses = mdns.resolve(id).await;
        if addresses.is_empty() {
            return Err(ResolveError::NotFound(id.to_owned()));
        }
        let peer = known.unwrap_or_else(|| {
            let tls = self
                .identity
                .as_ref()
                .map(|own| connector(own, any_domain(id, namespace)));
            Arc::new(self.peer(id, namespace, tls))
        });
        peer.set(addresses.iter().map(ToString::to_string));
        peer.seen.store(version, Ordering::Release);
        self.by_spelling.rcu(|all| {
            let mut all = HashMap::clone(all);
            if all.len() >= MAX_PEERS {
                all.clear();
            }
            all.insert(target.to_owned(), peer.clone());
            all
        });
        Ok(peer)
    }

    /// An instance did not answer: the network is asked anew.
    pub fn failed(&self, peer: &Peer, address: &str) {
        if let Some(mdns) = self.mdns.load().as_deref() {
            mdns.forget(&peer.id, address);
        }
    }
}

/// App ID and namespace of a target.
///
/// # Errors
/// [`ResolveError::Invalid`].
pub fn split<'a>(target: &'a str, own: &'a str) -> Result<(&'a str, &'a str), ResolveError> {
    match target.split_once('.') {
        None => Ok((target, own)),
        Some((id, namespace)) if !namespace.contains('.') && !id.is_empty() => Ok((id, namespace)),
        Some(_) => Err(ResolveError::Invalid(target.to_owned())),
    }
}

/// Dapr's rule: the path of the SPIFFE ID, whatever trust domain under the same roots.
fn any_domain(id: &str, namespace: &str) -> Authorizer {
    let path = format!("/ns/{namespace}/{id}");
    Arc::new(move |peer: &SpiffeId| peer.path() == path)
}

fn connector(identity: &Identity, expected: Authorizer) -> Connector {
    let config = mtls_client_config(&identity.svid, &identity.bundles, expected, ALPN_H2);
    Connector::mtls(config, identity.bundles.clone(), HANDSHAKE)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Peers {
        /// Nobody but this one, without TLS: a test's listener says who it is.
        pub(in crate::invoke) fn set_only(&self, app_id: &str, address: &str) {
            let peer = Arc::new(self.peer(app_id, &self.namespace, None));
            peer.set(std::iter::once(address.to_owned()));
            self.by_spelling
                .store(Arc::new(HashMap::from([(app_id.to_owned(), peer)])));
        }
    }

    #[test]
    fn targets_may_name_a_namespace() {
        assert_eq!(split("orders", "own"), Ok(("orders", "own")));
        assert_eq!(split("orders.prod", "own"), Ok(("orders", "prod")));
        assert!(split("a.b.c", "own").is_err());
    }

    #[tokio::test]
    async fn a_table_is_complete_and_knows_a_project_by_both_names() {
        let identity = Identity {
            svid: SvidSource::new(),
            bundles: TrustBundles::new(),
        };
        let peers = Peers::in_table("prj-a");
        let id = "spiffe://reg.palladium.internal/ns/prj-a/orders";
        peers.set_table(&identity, "shop", [("orders", id, "127.0.0.1:1")].into_iter());
        let first = peers.find("orders").await.expect("known");
        for spelling in ["orders.prj-a", "orders.shop"] {
            assert!(Arc::ptr_eq(&first, &peers.find(spelling).await.expect("known")));
        }
        assert!(peers.find("orders.other").await.is_err());
        assert!(peers.is_own_namespace("prj-a") && peers.is_own_namespace("shop"));
        assert!(!peers.is_own_namespace("other") && !peers.is_own_namespace(""));
        peers.set_table(&identity, "shop", [("orders", id, "127.0.0.1:2")].into_iter());
        assert_eq!(
            first.pool().expect("one").address(),
            "127.0.0.1:2",
            "callers follow a move"
        );
        peers.set_table(&identity, "shop", std::iter::empty());
        assert_eq!(
            peers.find("orders").await.err(),
            Some(ResolveError::NotFound("orders".into()))
        );
    }
}
