//! The identity table: from the agent's stream to disk, renewals and live connections.

use std::time::Duration;

use futures_util::{StreamExt, stream::BoxStream};
use palladium_proto::region::{
    Identity as Row, IdentityTable, WatchRequest,
    workload_server::{Workload, WorkloadServer},
};
use palladium_tls::{ALPN_H2, Acceptor, Limits, PeerInfo, exactly, incoming, mtls_server_config};
use time::OffsetDateTime;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::zone::{APP, Zone, csr, free_address, request};
use crate::AgentConfig;

/// The agent's side, as far as Sentry uses it.
struct Agent(watch::Receiver<IdentityTable>);

type Answer<T> = Result<Response<BoxStream<'static, Result<T, Status>>>, Status>;

#[tonic::async_trait]
impl Workload for Agent {
    async fn watch_identities(&self, request: Request<WatchRequest>) -> Answer<IdentityTable> {
        let caller = request
            .extensions()
            .get::<PeerInfo>()
            .and_then(|info| info.peer.clone());
        assert!(caller.is_some_and(|peer| peer.id.path() == "/ns/palladium/dapr-sentry"));
        let tables = futures_util::stream::unfold((self.0.clone(), true), |(mut tables, first)| async move {
            if !first {
                tables.changed().await.ok()?;
            }
            let table = tables.borrow_and_update().clone();
            Some((Ok(table), (tables, false)))
        });
        Ok(Response::new(tables.boxed()))
    }
}

fn table(version: u64, rows: &[(&str, i64)]) -> IdentityTable {
    let identities = rows
        .iter()
        .map(|(id, before)| Row {
            spiffe_id: (*id).to_owned(),
            revoked_before_unix_s: *before,
        })
        .collect();
    IdentityTable { version, identities }
}

#[tokio::test]
async fn identities_follow_the_agent_and_revocation_ends_renewal_until_a_new_svid() {
    let agent_address = free_address();
    let zone = Zone::prepare(|config| {
        let spiffe_id = format!("spiffe://{}/ns/palladium/agent", config.trust_domain)
            .parse()
            .unwrap();
        config.agent = Some(AgentConfig {
            address: agent_address,
            spiffe_id,
        });
    });
    zone.run().await;
    // The agent itself is built in, so it gets its SVID before any table exists.
    let agent = zone.obtain("/ns/palladium/agent").await.unwrap();
    let sentry = zone.config.own_id().unwrap();
    let tls = mtls_server_config(agent.svid(), agent.bundles(), exactly(&sentry), ALPN_H2);
    let listener = tokio::net::TcpListener::bind(agent_address).await.unwrap();
    let acceptor = Acceptor::mtls(tls, agent.bundles().clone(), Duration::from_secs(5));
    let (tables, receiver) = watch::channel(table(1, &[]));
    let server = tonic::transport::Server::builder().add_service(WorkloadServer::new(Agent(receiver)));
    tokio::spawn(server.serve_with_incoming(incoming(listener, acceptor, Limits::default())));

    let id = zone.id(APP).to_string();
    let refused = zone.obtain(APP).await.err().expect("does not exist yet");
    assert!(refused.wants_attestation());
    // Announced in the same moment in which it asks: the table may take two seconds.
    let (obtained, ()) = tokio::join!(zone.obtain(APP), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tables.send_replace(table(2, &[(&id, 0), ("not an id", 0)]));
    });
    let app = obtained.expect("announced in time");

    let tls = palladium_tls::mtls_client_config(app.svid(), app.bundles(), exactly(&sentry), ALPN_H2);
    let connector = palladium_tls::Connector::mtls(tls, app.bundles().clone(), Duration::from_secs(5));
    let mut live = connector.connect(zone.config.listen).await.unwrap();
    let revoked_before = OffsetDateTime::now_utc().unix_timestamp() + 1;
    tables.send_replace(table(3, &[(&id, revoked_before)]));
    // The live connection of the revoked SVID is closed.
    let closed = tokio::time::timeout(Duration::from_secs(2), async {
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut live, &mut rest).await;
    });
    closed.await.expect("sec_043: within two seconds");
    let renewal = zone
        .call_with(connector, zone.config.listen, request(APP, "", &csr(|_| {})))
        .await;
    assert!(renewal.is_err(), "a revoked SVID renews nothing");
    // A fresh attestation brings an SVID that begins with the revocation's end and is accepted.
    let renewed = zone.obtain(APP).await.expect("attested again");
    assert!(renewed.svid().current().unwrap().leaf().not_before >= revoked_before);
    // Gone from the table: not even with a fresh attestation.
    tables.send_replace(table(4, &[]));
    let on_disk = zone.config.data_folder.join("identities.json");
    for _ in 0..200 {
        if std::fs::read_to_string(&on_disk).unwrap().contains("\"version\":4") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = zone.call_token(APP, &zone.attestation(APP)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
