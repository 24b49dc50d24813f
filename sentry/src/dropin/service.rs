//! `CA/SignCertificate` as Dapr's sentry answers it.
//!
//! The order of checks is Dapr's: validator, request, token, CSR. Of the CSR only the key is used; what else it asks
//! for is ignored, as Dapr does. One idea: only who is believed and how long a certificate lives differ from the
//! platform; signing and checking are its code. Must never take a name or a constraint from the CSR.

use std::sync::Arc;

use palladium_proto::sentry::{SignCertificateRequest, SignCertificateResponse, ca_server::Ca};
use palladium_spiffe::SpiffeId;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::{jwt::JwtSigner, metrics::Metrics, validate::Validators};
use crate::{
    authority::Current,
    csr::Csr,
    refusal::Refusal,
    service::{answer, sign_and_check},
    sign::Order,
};

/// The service of the drop-in form.
pub(super) struct DaprService {
    pub(super) validators: Validators,
    pub(super) authority: Arc<Current>,
    pub(super) workload_ttl: Duration,
    pub(super) clock_skew: Duration,
    pub(super) control_plane_namespace: String,
    /// Where the names of Dapr's own services end: Dapr takes its trust domain for it.
    pub(super) cluster_domain: String,
    pub(super) jwt: Option<JwtSigner>,
    pub(super) metrics: Arc<Metrics>,
}

impl DaprService {
    async fn issue(&self, request: &SignCertificateRequest) -> Result<SignCertificateResponse, Refusal> {
        let id = self.validators.validate(request).await?;
        let csr = Csr::parse(&request.certificate_signing_request)?;
        let authority = self.authority.borrow().clone();
        let now = OffsetDateTime::now_utc();
        let order = Order {
            dns: self.dns(request),
            public_key: csr.public_key,
            not_before: now - self.clock_skew,
            not_after: now + self.workload_ttl,
            id,
        };
        let issued = sign_and_check(&order, &authority)?;
        let mut response = answer(&issued, &authority);
        if let Some(jwt) = &self.jwt {
            self.add_tokens(jwt, &order.id, request, &mut response)?;
        }
        tracing::debug!(id = %order.id, serial = issued.serial, "certificate issued");
        Ok(response)
    }

    fn add_tokens(
        &self,
        jwt: &JwtSigner,
        id: &SpiffeId,
        request: &SignCertificateRequest,
        response: &mut SignCertificateResponse,
    ) -> Result<(), Refusal> {
        let mut audiences = vec![id.trust_domain().to_string()];
        audiences.extend(request.jwt_audiences.iter().cloned());
        let (all, each) = jwt.sign(id, &audiences).map_err(|error| {
            tracing::error!(%error, "JWT not signed");
            Refusal::Internal
        })?;
        response.jwt = Some(all);
        response.per_audience_jwts = each;
        Ok(())
    }

    /// DNS names of Dapr's own services in its own namespace.
    fn dns(&self, request: &SignCertificateRequest) -> Vec<String> {
        let namespace = &self.control_plane_namespace;
        if request.namespace != *namespace {
            return Vec::new();
        }
        match request.id.as_str() {
            "dapr-injector" => vec![format!("dapr-sidecar-injector.{namespace}.svc")],
            "dapr-operator" => vec![format!("dapr-webhook.{namespace}.svc")],
            "dapr-scheduler" => (0..3)
                .map(|i| {
                    format!(
                        "dapr-scheduler-server-{i}.dapr-scheduler-server.{namespace}.svc.{}",
                        self.cluster_domain
                    )
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[tonic::async_trait]
impl Ca for DaprService {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        self.metrics.request();
        let request = request.into_inner();
        let result = self.issue(&request).await;
        self.metrics.outcome(result.is_ok());
        result.map(Response::new).map_err(|refusal| {
            tracing::info!(id = request.id, namespace = request.namespace, %refusal, "certificate refused");
            refusal.into()
        })
    }
}
