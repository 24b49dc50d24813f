//! `Join` and `Renew`: how a region gets its certificate, without having one.
//!
//! The one idea: the first contact is proven by a single-use secret, every later one by the key that was registered
//! then. All refusals look alike to the caller; the log says why. Secrets are compared in constant time, as digests.
//! Must never redeem a token before the certificate is made, nor remember a nonce before its signature holds.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use palladium_proto::region::region_join_server::RegionJoin;
use palladium_proto::region::{JoinRequest, JoinResponse, RenewRequest};
use palladium_sealing::{HpkePublicKey, constant_time_eq, token_digest};
use palladium_spiffe::platform;
use palladium_stream::signed;
use palladium_telemetry::SharedRation;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::issue::Issuer;
use crate::nonces::{Nonces, WINDOW_MS};
use crate::sessions::Sessions;
use crate::store::{RegionRecord, RegionStore, StoreError};

/// Joins under way, and renewals under way; each costs a signature or two. Apart, so that strangers with invented join tokens
/// cannot keep regions from renewing.
const CONCURRENT: usize = 16;
/// Between two warnings of the same kind: strangers decide how often there is a reason.
const WARNING: Duration = Duration::from_secs(1);
/// Every refusal takes this long, so that guessing is slow and timing says nothing.
const REFUSAL_DELAY: Duration = Duration::from_millis(300);
/// PEM of a P-256 request has about 500 bytes.
const MAX_CSR: usize = 8 * 1024;

/// The service.
pub(crate) struct JoinService {
    pub(crate) store: Arc<dyn RegionStore>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) organization_id: String,
    pub(crate) log_public_key: bytes::Bytes,
    pub(crate) nonces: Nonces,
    joins: Semaphore,
    renewals: Semaphore,
    warnings: SharedRation,
}

/// Why there is no certificate.
enum Refused {
    /// For reasons that only the log tells; the region as far as it is known.
    Silently {
        region: String,
        reason: &'static str,
    },
    Openly(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Openly(status)
    }
}

fn refuse(region: &str, reason: &'static str) -> Refused {
    Refused::Silently {
        region: region.to_owned(),
        reason,
    }
}

impl JoinService {
    pub(crate) fn new(
        store: Arc<dyn RegionStore>,
        issuer: Arc<Issuer>,
        sessions: Arc<Sessions>,
        organization_id: String,
        log_public_key: bytes::Bytes,
    ) -> Self {
        Self {
            store,
            issuer,
            sessions,
            organization_id,
            log_public_key,
            nonces: Nonces::default(),
            joins: Semaphore::new(CONCURRENT),
            renewals: Semaphore::new(CONCURRENT),
            warnings: SharedRation::new(WARNING),
        }
    }

    /// Does the work if there is room for it. The room is free again before a refusal's delay: waiting costs nothing.
    async fn limited(
        &self,
        permits: &Semaphore,
        work: impl Future<Output = Result<JoinResponse, Refused>>,
    ) -> Result<Response<JoinResponse>, Status> {
        let outcome = {
            let Ok(_permit) = permits.try_acquire() else {
                self.warn("", "too many at once");
                return Err(Status::resource_exhausted(
                    "too many regions join or renew now; try again",
                ));
            };
            work.await
        };
        match outcome {
            Ok(answer) => Ok(Response::new(answer)),
            Err(Refused::Openly(status)) => Err(status),
            Err(Refused::Silently { region, reason }) => {
                self.warn(&region, reason);
                tokio::time::sleep(REFUSAL_DELAY).await;
                Err(Status::permission_denied(
                    "refused; if this is your region, make a new join token",
                ))
            }
        }
    }

    /// Warns at most once per [`WARNING`], with the number of those left out since.
    fn warn(&self, region: &str, reason: &str) {
        if let Some(untold) = self.warnings.tell() {
            tracing::warn!(region, reason, untold, "a region was refused");
        }
    }

    async fn redeem(&self, request: JoinRequest) -> Result<JoinResponse, Refused> {
        let token = self.store.join_token(&request.token_id).await.map_err(internal)?;
        // An unknown id takes the same way as a wrong secret.
        let expected = token.as_ref().map_or([0; 32], |token| token.secret_sha256);
        let same = constant_time_eq(&token_digest(&request.token_secret), &expected);
        let Some(token) = token.filter(|_| same) else {
            return Err(refuse("", "unknown or used join token, or wrong secret"));
        };
        if token.expires_at_unix_ms <= now_ms() {
            return Err(refuse(&token.region_id, "join token has expired"));
        }
        let hpke = HpkePublicKey::from_bytes(&request.hpke_public_key)
            .ok()
            .filter(|key| key.key_id() == request.hpke_key_id)
            .ok_or_else(|| Status::invalid_argument("hpke_public_key is not an X25519 key with that hpke_key_id"))?;
        if ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, request.region_key_spki.as_ref()).is_err() {
            return Err(Status::invalid_argument("region_key_spki is not a P-256 key").into());
        }
        let answer = self.answer(&token.region_id, request.csr_pem).await?;
        let record = RegionRecord {
            region_id: token.region_id.clone(),
            key_spki: request.region_key_spki,
            hpke_public_key: bytes::Bytes::copy_from_slice(hpke.as_bytes()),
            hpke_key_id: request.hpke_key_id,
        };
        // Last, in one transaction: of two callers with the same token one is refused, and the certificate that was made for it
        // never leaves this process.
        if !self.store.redeem(&token.id, record).await.map_err(internal)? {
            return Err(refuse(&token.region_id, "join token was used before"));
        }
        self.sessions.close(&token.region_id);
        tracing::info!(region = token.region_id, token = token.id, "a region joined");
        Ok(answer)
    }

    async fn prove(&self, request: RenewRequest) -> Result<JoinResponse, Refused> {
        let region_id = &request.region_id;
        let record = self
            .store
            .region(region_id)
            .await
            .map_err(internal)?
            .filter(|region| !region.key_spki.is_empty());
        let Some(record) = record else {
            return Err(refuse("", "renewal for a region that never joined"));
        };
        let now = now_ms();
        if now.abs_diff(request.issued_at_unix_ms) > WINDOW_MS.unsigned_abs() {
            return Err(refuse(region_id, "renewal's clock is off by more than five minutes"));
        }
        let message = signed::renewal(region_id, &request.csr_pem, request.issued_at_unix_ms, &request.nonce);
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, record.key_spki.as_ref());
        if key.map_or(true, |key| key.verify_sig(&message, &request.signature).is_err()) {
            return Err(refuse(region_id, "renewal is not signed by the region's key"));
        }
        // Only after the signature, or strangers could fill the memory of nonces.
        if !self.nonces.use_up(&request.nonce, now) {
            return Err(refuse(region_id, "renewal was seen before"));
        }
        Ok(self.answer(region_id, request.csr_pem).await?)
    }

    async fn answer(&self, region_id: &str, csr_pem: bytes::Bytes) -> Result<JoinResponse, Status> {
        if csr_pem.len() > MAX_CSR {
            return Err(Status::invalid_argument("the signing request is too large"));
        }
        let region_domain = platform::trust_domain(region_id).map_err(|_| Status::internal("region id"))?;
        let signed = self.issuer.certify(region_id, csr_pem).await?;
        Ok(JoinResponse {
            organization_id: self.organization_id.clone(),
            region_id: region_id.to_owned(),
            control_trust_domain: self.issuer.domain.to_string(),
            region_trust_domain: region_domain.to_string(),
            certificate_chain_pem: signed.workload_certificate,
            trust_anchors_pem: signed.trust_chain_certificates.concat().into(),
            log_public_key: self.log_public_key.clone(),
            valid_until_unix_s: signed.valid_until.map_or(0, |at| at.seconds),
        })
    }
}

#[tonic::async_trait]
impl RegionJoin for JoinService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        self.limited(&self.joins, self.redeem(request.into_inner())).await
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<JoinResponse>, Status> {
        self.limited(&self.renewals, self.prove(request.into_inner())).await
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Store errors stay inside.
pub(crate) fn internal(error: StoreError) -> Status {
    tracing::error!(%error, "region request failed");
    Status::unavailable("the control plane cannot answer now; try again")
}
