//! The edge authority: certificates with names instead of identities, for public listeners.
//!
//! One idea: its own key, constrained by the root itself to `localhost`, loopback addresses and the configured domains, and
//! only the zone's one role with a public listener may ask. Never signs a URI: no edge certificate is anybody's identity.

use std::{net::IpAddr, sync::Arc};

use palladium_proto::sentry::{SignCertificateRequest, SignCertificateResponse, ca_server::Ca};
use palladium_tls::PeerInfo;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SubjectPublicKeyInfo,
};
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use crate::{
    attest::Attested,
    authority::{Authority, serial},
    compose::same_identity,
    csr::Csr,
    journal::{Journal, Record},
    refusal::Refusal,
    service::{answer, note, peer_of},
    sign::{Issued, SignError},
};

/// The service on the edge port. Who may connect at all is decided in the handshake.
pub(crate) struct EdgeService {
    pub(crate) authority: Arc<Authority>,
    pub(crate) domains: Vec<String>,
    pub(crate) ttl: Duration,
    pub(crate) journal: Journal,
}

impl EdgeService {
    fn issue(&self, request: &SignCertificateRequest, peer: &PeerInfo, record: &mut Record) -> Result<Issued, Refusal> {
        let attested = Attested::by_svid(peer.peer.as_ref(), OffsetDateTime::now_utc())?;
        record.proof = Some(attested.proof.clone());
        record.id = Some(attested.id.to_string());
        same_identity(&attested, request)?;
        let csr = Csr::parse(&request.certificate_signing_request)?;
        self.allowed(&csr)?;
        self.sign(&csr, OffsetDateTime::now_utc()).map_err(|error| {
            tracing::error!(%error, "edge certificate not signed");
            Refusal::Internal
        })
    }

    fn allowed(&self, csr: &Csr) -> Result<(), Refusal> {
        if !csr.is_p256 {
            return Err(Refusal::malformed("the key must be ECDSA on P-256"));
        }
        if csr.wants_ca || csr.other_names || !csr.uris.is_empty() {
            return Err(Refusal::denied(
                "an edge certificate holds host names and addresses only",
            ));
        }
        if csr.dns.is_empty() && csr.ips.is_empty() {
            return Err(Refusal::malformed("no host name or address is asked for"));
        }
        if let Some(name) = csr.dns.iter().find(|name| !self.may_name(name)) {
            return Err(Refusal::denied(format!("{name:?} is outside the names of this zone")));
        }
        if csr.ips.iter().all(IpAddr::is_loopback) {
            Ok(())
        } else {
            Err(Refusal::denied("only loopback addresses can be certified"))
        }
    }

    /// `localhost`, a configured domain, or a name below one; a wildcard only as the whole first label.
    fn may_name(&self, name: &str) -> bool {
        let plain = name.strip_prefix("*.").unwrap_or(name);
        let valid = !plain.is_empty()
            && plain.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            });
        let inside = |domain: &String| {
            plain == domain
                || plain
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        valid && (name == "localhost" || self.domains.iter().any(inside))
    }

    fn sign(&self, csr: &Csr, now: OffsetDateTime) -> Result<Issued, SignError> {
        if now >= self.authority.not_after {
            return Err(SignError::IssuerNotValid);
        }
        let serial = serial();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Palladium");
        params.serial_number = Some(serial.clone());
        params.not_before = now - Duration::minutes(5);
        params.not_after = (now + self.ttl).min(self.authority.not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        for name in &csr.dns {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into()?));
        }
        params
            .subject_alt_names
            .extend(csr.ips.iter().map(|address| SanType::IpAddress(*address)));
        let not_after = params.not_after;
        let leaf = params.signed_by(
            &SubjectPublicKeyInfo::from_der(&csr.public_key)?,
            &self.authority.issuer,
        )?;
        let serial = serial.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Issued {
            chain: vec![leaf.der().clone()],
            serial,
            not_after,
        })
    }
}

#[tonic::async_trait]
impl Ca for EdgeService {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let peer = peer_of(&request);
        let request = request.into_inner();
        let mut record = Record::new("issued", "edge", &request.namespace, &request.id);
        record.remote = peer.remote.map(|remote| remote.to_string());
        let result = self.issue(&request, &peer, &mut record);
        note(&self.journal, record, result.as_ref());
        Ok(Response::new(answer(&result?, &self.authority)))
    }
}
