//! Follows the agent's `Workload.WatchIdentities` and keeps the identity table up to date.
//!
//! One idea: level-triggered. Every message is the whole table; after any interruption the next one repairs everything.
//! Never ends by itself, and never empties the table because the agent is away.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use palladium_proto::region::{IdentityTable, WatchRequest, workload_client::WorkloadClient};
use palladium_spiffe::SpiffeId;
use palladium_tasks::{Backoff, Shutdown};
use palladium_tls::{ALPN_H2, Connector, SvidSource, TrustBundles, exactly, mtls_client_config};

use crate::{
    AgentConfig,
    table::{Identities, Table},
};

const CONNECT: Duration = Duration::from_secs(5);
/// A table of a hundred thousand identities has about 10 MB.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Follows until `shutdown`.
pub(crate) async fn follow(
    agent: AgentConfig,
    identities: Arc<Identities>,
    svid: SvidSource,
    bundles: TrustBundles,
    shutdown: Shutdown,
) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let session = session(&agent, &identities, &svid, &bundles, &mut backoff);
        match shutdown.unless(session).await {
            None => return,
            Some(Ok(())) => tracing::info!("identity stream ended; following again"),
            Some(Err(error)) => tracing::debug!(%error, "identity stream not available"),
        }
        if shutdown
            .unless(tokio::time::sleep(backoff.next_delay()))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn session(
    agent: &AgentConfig,
    identities: &Identities,
    svid: &SvidSource,
    bundles: &TrustBundles,
    backoff: &mut Backoff,
) -> Result<(), tonic::Status> {
    let config = mtls_client_config(svid, bundles, exactly(&agent.spiffe_id), ALPN_H2);
    let connector = Connector::mtls(config, bundles.clone(), CONNECT);
    let channel = palladium_tls::channel(connector, &agent.address.to_string())
        .map_err(|error| tonic::Status::internal(error.to_string()))?;
    let mut client = WorkloadClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let request = WatchRequest {
        known_version: identities.version(),
    };
    let mut tables = client.watch_identities(request).await?.into_inner();
    while let Some(message) = tables.message().await? {
        backoff.reset();
        match identities.replace(read(message)) {
            Ok(()) => tracing::debug!(version = identities.version(), "identity table replaced"),
            // A full disk: go on with the old table; the next message or session brings the whole again.
            Err(error) => return Err(tonic::Status::internal(error.to_string())),
        }
    }
    Ok(())
}

/// Identities that do not parse are left out: one bad row must not revoke the others.
fn read(message: IdentityTable) -> Table {
    let mut revoked_before = BTreeMap::new();
    for identity in message.identities {
        match SpiffeId::parse(&identity.spiffe_id) {
            Ok(id) => {
                revoked_before.insert(id, identity.revoked_before_unix_s);
            }
            Err(error) => tracing::error!(%error, "an identity from the agent is not a SPIFFE ID"),
        }
    }
    Table {
        version: message.version,
        revoked_before,
    }
}
