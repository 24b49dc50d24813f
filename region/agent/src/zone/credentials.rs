//! The region's certificate towards the control plane: by join token the first time, by the region's own key ever after.
//!
//! The one idea: the server is known by a hash before it is told anything, and by its roots from then on. The key of the
//! certificate is made for it and never kept. The join token is removed once it is spent; must never be logged.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use palladium_identity::NewKey;
use palladium_proto::region::region_join_client::RegionJoinClient;
use palladium_proto::region::{JoinRequest, JoinResponse, RenewRequest};
use palladium_sealing::{ExposeSecret as _, read_secret_file, sha256};
use palladium_spiffe::{SpiffeId, TrustDomain, platform};
use palladium_stream::{JoinToken, join_token, signed};
use palladium_tls::{
    ALPN_H2, Bundle, Connector, Svid, SvidSource, TrustBundles, exactly, mtls_client_config, root_pin_client_config,
    svid_client_without_certificate,
};
use rustls_pki_types::ServerName;
use tonic::transport::Channel;

use crate::joined::Joined;
use crate::region::{Region, now_ms};
use crate::run::blocking;

const CONNECT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(20);

/// What a session needs to connect.
pub(super) struct Control {
    pub(super) channel: Channel,
}

/// Gets and renews the certificate.
pub(super) struct Credentials {
    region: Arc<Region>,
    bundles: TrustBundles,
    svid: SvidSource,
    /// When half of the certificate's life is over, Unix seconds.
    renew_at: i64,
}

impl Credentials {
    pub(super) fn new(region: Arc<Region>) -> Self {
        Self {
            region,
            bundles: TrustBundles::new(),
            svid: SvidSource::new(),
            renew_at: 0,
        }
    }

    /// Joins or renews as far as needed; returns the way to the control plane. Errors are for the log.
    pub(super) async fn ready(&mut self) -> Result<Control, String> {
        let joined = match self.joined().await? {
            Some(joined) => joined,
            None => self.join().await?,
        };
        let (domain, control_id) = control_id(&joined)?;
        if self.bundles.get(&domain).is_none() {
            let roots = Bundle::from_pem(joined.control_roots.as_bytes()).map_err(text)?;
            self.bundles.set(domain.clone(), roots);
        }
        let address = self
            .region
            .config
            .control_plane_address
            .clone()
            .unwrap_or_else(|| joined.address.clone());
        if unix_s() >= self.renew_at {
            self.renew(&joined, &control_id, &address).await?;
        }
        let tls = mtls_client_config(&self.svid, &self.bundles, exactly(&control_id), ALPN_H2);
        let connector = Connector::mtls(tls, self.bundles.clone(), CONNECT);
        Ok(Control {
            channel: palladium_tls::channel(connector, &address).map_err(text)?,
        })
    }

    async fn joined(&self) -> Result<Option<Joined>, String> {
        let folder = self.region.config.data_folder.clone();
        blocking(move || Joined::read(&folder)).await.map_err(text)
    }

    async fn join(&mut self) -> Result<Joined, String> {
        let config = &self.region.config;
        let file = config
            .join_token_file
            .clone()
            .ok_or("not joined, and no join_token_file is configured")?;
        let path = file.clone();
        let content = blocking(move || Ok(read_secret_file(&path, join_token::MAX_LENGTH)?))
            .await
            .map_err(text)?;
        let token = std::str::from_utf8(&content)
            .ok()
            .and_then(|text| JoinToken::parse(text).ok());
        let token = token.ok_or_else(|| format!("{}: {}", file.display(), join_token::NotAJoinToken))?;
        if token.region_id != config.region_id {
            return Err(format!(
                "the join token is for {}, this is {}",
                token.region_id, config.region_id
            ));
        }
        let address = config
            .control_plane_address
            .clone()
            .unwrap_or_else(|| token.address().to_owned());
        // The organization is not known yet; its root is, by hash, and nothing else may sign this path.
        let control_plane = |id: &SpiffeId| id.path() == platform::CONTROL_PLANE;
        let tls = root_pin_client_config(token.root_sha256, Arc::new(control_plane), ALPN_H2);
        let name = ServerName::try_from("control-plane").map_err(text)?;
        let channel = palladium_tls::channel(Connector::named(tls, name, CONNECT), &address).map_err(text)?;
        let key = NewKey::nameless().map_err(text)?;
        let hpke = self.region.secrets.key().public().clone();
        let mut request = tonic::Request::new(JoinRequest {
            token_id: token.id.clone(),
            token_secret: token.secret.expose_secret().to_owned(),
            region_key_spki: self.region.key.spki().map_err(text)?,
            csr_pem: Bytes::copy_from_slice(key.csr_pem().as_bytes()),
            hpke_public_key: Bytes::copy_from_slice(hpke.as_bytes()),
            hpke_key_id: hpke.key_id(),
        });
        request.set_timeout(CALL);
        let answer = RegionJoinClient::new(channel)
            .join(request)
            .await
            .map_err(status)?
            .into_inner();
        if sha256(&answer.log_public_key) != token.log_key_sha256 || answer.log_public_key.len() != 32 {
            return Err("the log key is not the one in the join token".to_owned());
        }
        let roots = Bundle::from_pem(&answer.trust_anchors_pem).map_err(text)?;
        if !roots.roots().any(|root| sha256(root) == token.root_sha256) {
            return Err("the control plane's roots do not hold the one in the join token".to_owned());
        }
        let joined = Joined {
            address: token.address().to_owned(),
            organization_id: answer.organization_id.clone(),
            control_trust_domain: answer.control_trust_domain.clone(),
            control_roots: String::from_utf8_lossy(&answer.trust_anchors_pem).into_owned(),
            log_public_key: answer.log_public_key.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let (domain, _) = control_id(&joined)?;
        self.bundles.set(domain, roots);
        self.accept(&joined, answer, key)?;
        let (region, kept) = (self.region.clone(), joined.clone());
        blocking(move || {
            kept.write(&region.config.data_folder)?;
            region.open_copy(&kept)?;
            region.audit_event("region", "region.join", &kept.organization_id, "done");
            Ok(())
        })
        .await
        .map_err(text)?;
        // It is spent; that it stays behind would only be untidy.
        if let Err(error) = tokio::fs::remove_file(&file).await {
            tracing::warn!(%error, file = %file.display(), "spent join token not removed");
        }
        tracing::info!(organization = joined.organization_id, "joined the control plane");
        Ok(joined)
    }

    async fn renew(&mut self, joined: &Joined, control_id: &SpiffeId, address: &str) -> Result<(), String> {
        let region_id = &self.region.config.region_id;
        let tls = svid_client_without_certificate(&self.bundles, exactly(control_id), ALPN_H2);
        let connector = Connector::mtls(tls, self.bundles.clone(), CONNECT);
        let channel = palladium_tls::channel(connector, address).map_err(text)?;
        let key = NewKey::nameless().map_err(text)?;
        let (issued_at_unix_ms, nonce) = (now_ms(), palladium_sealing::random_bytes::<16>());
        let message = signed::renewal(region_id, key.csr_pem().as_bytes(), issued_at_unix_ms, &nonce);
        let mut request = tonic::Request::new(RenewRequest {
            region_id: region_id.clone(),
            csr_pem: Bytes::copy_from_slice(key.csr_pem().as_bytes()),
            issued_at_unix_ms,
            nonce: Bytes::copy_from_slice(&nonce),
            signature: self.region.key.sign(&message).map_err(text)?,
        });
        request.set_timeout(CALL);
        let answer = RegionJoinClient::new(channel)
            .renew(request)
            .await
            .map_err(status)?
            .into_inner();
        let roots = String::from_utf8_lossy(&answer.trust_anchors_pem).into_owned();
        if roots != joined.control_roots {
            // Told by a server that the old roots vouch for: this is how new roots arrive.
            let bundle = Bundle::from_pem(roots.as_bytes()).map_err(text)?;
            let next = Joined {
                control_roots: roots,
                ..joined.clone()
            };
            let folder = self.region.config.data_folder.clone();
            blocking(move || next.write(&folder)).await.map_err(text)?;
            self.bundles.set(control_id.trust_domain().clone(), bundle);
        }
        self.accept(joined, answer, key)
    }

    /// Takes a certificate into use after checking that it is ours.
    fn accept(&mut self, joined: &Joined, answer: JoinResponse, key: NewKey) -> Result<(), String> {
        let (domain, _) = control_id(joined)?;
        let own = platform::region(&domain, &self.region.config.region_id).map_err(text)?;
        let svid = Svid::from_pem(&answer.certificate_chain_pem, key.into_private_key()).map_err(text)?;
        if *svid.id() != own || answer.region_id != self.region.config.region_id {
            return Err(format!("the certificate names {} instead of {own}", svid.id()));
        }
        let now = unix_s();
        self.renew_at = now + (svid.leaf().not_after - now) / 2;
        self.svid.set(svid);
        Ok(())
    }
}

fn control_id(joined: &Joined) -> Result<(TrustDomain, SpiffeId), String> {
    let domain = TrustDomain::parse(&joined.control_trust_domain).map_err(text)?;
    let id = SpiffeId::new(&domain, platform::CONTROL_PLANE).map_err(text)?;
    Ok((domain, id))
}

fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The innermost reason: tonic's own message says only "transport error".
pub(super) fn status(status: tonic::Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = std::error::Error::source(&status);
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}
