//! `CA/SignCertificate` of the platform: the five phases in order.
//!
//! One idea: read [`Service::issue`] and you have read how a certificate comes into being. Must never hand out a
//! certificate that `check` has not accepted, nor answer without queueing a record.

use std::sync::Arc;

use palladium_proto::sentry::{SignCertificateRequest, SignCertificateResponse, ca_server::Ca};
use palladium_tls::PeerInfo;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use crate::{
    attest::Attest,
    authority::{Authority, Current, pem_of},
    check::check,
    compose::compose,
    journal::{Journal, Record, rfc3339},
    refusal::Refusal,
    sign::{Issued, Order, sign},
    table::Identities,
};

/// Everything the phases need.
pub(crate) struct Service {
    pub(crate) attest: Attest,
    pub(crate) identities: Arc<Identities>,
    pub(crate) authority: Arc<Current>,
    pub(crate) leaf_ttl: Duration,
    pub(crate) journal: Journal,
}

impl Service {
    async fn issue(
        &self,
        request: &SignCertificateRequest,
        peer: &PeerInfo,
        record: &mut Record,
    ) -> Result<(Issued, Arc<Authority>), Refusal> {
        let attested = self
            .attest
            .attest(&request.token, peer.peer.as_ref(), OffsetDateTime::now_utc())
            .await?;
        record.proof = Some(attested.proof.clone());
        record.id = Some(attested.id.to_string());
        let order = compose(&attested, request, &self.identities, self.leaf_ttl).await?;
        let authority = self.authority.borrow().clone();
        let issued = sign_and_check(&order, &authority)?;
        Ok((issued, authority))
    }
}

/// Phases three and four, whose failures are ours.
pub(crate) fn sign_and_check(order: &Order, authority: &Authority) -> Result<Issued, Refusal> {
    let now = OffsetDateTime::now_utc();
    let issued = sign(order, authority, now).map_err(|error| {
        tracing::error!(%error, id = %order.id, "certificate not signed");
        Refusal::Internal
    })?;
    check(&issued, order, authority, now).map_err(|reason| {
        tracing::error!(reason, id = %order.id, "certificate signed, but withheld: it does not verify");
        Refusal::Internal
    })?;
    Ok(issued)
}

/// The answer on Dapr's wire.
pub(crate) fn answer(issued: &Issued, authority: &Authority) -> SignCertificateResponse {
    SignCertificateResponse {
        workload_certificate: issued.pem().into(),
        trust_chain_certificates: authority.roots.iter().map(|root| pem_of(root).into()).collect(),
        valid_until: Some(palladium_proto::prost_types::Timestamp {
            seconds: issued.not_after.unix_timestamp(),
            nanos: 0,
        }),
        jwt: None,
        per_audience_jwts: std::collections::HashMap::new(),
    }
}

/// Completes a record and queues it.
pub(crate) fn note(journal: &Journal, mut record: Record, outcome: Result<&Issued, &Refusal>) {
    match outcome {
        Ok(issued) => {
            record.serial = Some(issued.serial.clone());
            record.not_after = Some(rfc3339(issued.not_after));
            tracing::info!(
                id = record.id,
                proof = record.proof,
                serial = issued.serial,
                "certificate issued"
            );
        }
        Err(refusal) => {
            record.event = "refused";
            record.reason = Some(refusal.to_string());
            tracing::warn!(
                requested = record.requested,
                reason = record.reason,
                remote = record.remote,
                "certificate refused"
            );
        }
    }
    journal.record(record);
}

/// Who called; absent only if the listener is not one of ours.
pub(crate) fn peer_of<T>(request: &Request<T>) -> PeerInfo {
    request.extensions().get::<PeerInfo>().cloned().unwrap_or(PeerInfo {
        peer: None,
        remote: None,
    })
}

#[tonic::async_trait]
impl Ca for Service {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let peer = peer_of(&request);
        let request = request.into_inner();
        let mut record = Record::new("issued", "workload", &request.namespace, &request.id);
        record.remote = peer.remote.map(|remote| remote.to_string());
        let result = self.issue(&request, &peer, &mut record).await;
        note(&self.journal, record, result.as_ref().map(|(issued, _)| issued));
        let (issued, authority) = result?;
        Ok(Response::new(answer(&issued, &authority)))
    }
}
