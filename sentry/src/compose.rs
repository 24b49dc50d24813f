//! Phase two: what may be written into a certificate for an attested caller.
//!
//! One idea: the order is made from the attested identity, the identity table and our own rules. What the request and
//! its CSR say is compared; whoever asks for more than it is, is refused and not quietly given less. Must never copy a
//! name from the CSR into the order, nor back-date it: revocation counts from `not_before`.

use std::time::Duration as Patience;

use palladium_proto::sentry::SignCertificateRequest;
use palladium_spiffe::SpiffeId;
use time::{Duration, OffsetDateTime};

use crate::{attest::Attested, csr::Csr, refusal::Refusal, sign::Order, table::Identities};

/// How long an identity that is not known yet may take to be announced.
const PATIENCE: Patience = Patience::from_secs(2);
/// A revocation may lie this far ahead (it is rounded up to a second); the new SVID then begins with it.
const REVOKED_AHEAD: i64 = 5;

/// Makes the order for a workload of the platform.
pub(crate) async fn compose(
    attested: &Attested,
    request: &SignCertificateRequest,
    identities: &Identities,
    leaf_ttl: Duration,
) -> Result<Order, Refusal> {
    same_identity(attested, request)?;
    let csr = plain_csr(attested, request)?;
    if !identities.becomes_known(&attested.id, PATIENCE).await {
        return Err(Refusal::denied("this identity does not exist in this trust domain"));
    }
    // After the wait: certificates are not back-dated, so that a revocation is exact.
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let revoked_before = identities.revoked_before(&attested.id);
    if revoked_before > now.unix_timestamp() + REVOKED_AHEAD {
        return Err(Refusal::denied("this identity is revoked"));
    }
    let not_before = OffsetDateTime::from_unix_timestamp(revoked_before).map_or(now, |revoked| revoked.max(now));
    Ok(Order {
        id: attested.id.clone(),
        public_key: csr.public_key,
        dns: Vec::new(),
        not_before,
        not_after: now + leaf_ttl,
    })
}

/// The request must name exactly the attested identity.
pub(crate) fn same_identity(attested: &Attested, request: &SignCertificateRequest) -> Result<(), Refusal> {
    let domain = attested.id.trust_domain();
    let asked = SpiffeId::workload(domain, &request.namespace, &request.id);
    let same_domain = request.trust_domain.is_empty() || request.trust_domain == domain.as_str();
    if same_domain && asked.as_ref() == Ok(&attested.id) {
        Ok(())
    } else {
        Err(Refusal::denied("the requested identity is not the attested one"))
    }
}

/// A P-256 key, and at most the caller's own ID as a name.
fn plain_csr(attested: &Attested, request: &SignCertificateRequest) -> Result<Csr, Refusal> {
    let csr = Csr::parse(&request.certificate_signing_request)?;
    if !csr.is_p256 {
        return Err(Refusal::malformed("the key must be ECDSA on P-256"));
    }
    let own_name = match &csr.uris[..] {
        [] => true,
        [uri] => uri == attested.id.as_str(),
        _ => false,
    };
    if !own_name || csr.wants_ca || csr.other_names || !csr.dns.is_empty() || !csr.ips.is_empty() {
        return Err(Refusal::denied(
            "the signing request asks for more than the attested identity",
        ));
    }
    Ok(csr)
}
