//! A control plane that serves, with its certificate authority, and the region's side of the wire by hand.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use bytes::Bytes;
use palladium_identity::NewKey;
use palladium_kinds::RegionId;
use palladium_proto::region::region_join_client::RegionJoinClient;
use palladium_proto::region::region_stream_client::RegionStreamClient;
use palladium_proto::region::{
    ControlMessage, Hello, JoinRequest, JoinResponse, RegionMessage, RenewRequest, control_message, region_message,
};
use palladium_proto::sentry::ca_server::{Ca, CaServer};
use palladium_proto::sentry::{SignCertificateRequest, SignCertificateResponse};
use palladium_sealing::{ExposeSecret as _, HpkeKeyPair, Kek, KekConfig, SecretString};
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_stream::{JoinToken, signed};
use palladium_tasks::Shutdown;
use palladium_tls::{
    ALPN_H2, Acceptor, Bundle, Connector, Limits, Svid, SvidSource, TrustBundles, exactly, incoming,
    mtls_client_config, root_pin_client_config, svid_client_without_certificate, svid_server_config,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::join::now_ms;
use crate::testing::Memory;
use crate::{Config, Regions};

pub const ORGANIZATION: &str = "org-oooooooooooo";
pub const DOMAIN: &str = "org-oooooooooooo.palladium.internal";
pub const REGION: &str = "reg-aaaaaaaaaaaa";
pub const PATIENCE: Duration = Duration::from_secs(5);

pub fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&TrustDomain::parse(DOMAIN).unwrap(), path).unwrap()
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

fn leaf(path: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id(path).as_str().try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = OffsetDateTime::now_utc();
    params.not_after = OffsetDateTime::now_utc() + time::Duration::minutes(5);
    params
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::now_utc() - time::Duration::hours(1);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::hours(1);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn svid(&self, path: &str) -> SvidSource {
        let key = KeyPair::generate().unwrap();
        let cert = leaf(path).signed_by(&key, &self.0).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        SvidSource::with(Svid::new(vec![cert.der().clone()], key.into()).unwrap())
    }

    fn bundles(&self) -> TrustBundles {
        let bundles = TrustBundles::new();
        bundles.set(
            TrustDomain::parse(DOMAIN).unwrap(),
            Bundle::from_der([self.0.der().clone()]).unwrap(),
        );
        bundles
    }
}

/// Signs what the attestation names; that attestations are judged is Sentry's own test.
struct Sentry(Arc<Authority>);

#[tonic::async_trait]
impl Ca for Sentry {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let request = request.into_inner();
        assert!(request.token.split('.').count() == 3 && request.namespace == "region");
        let pem = std::str::from_utf8(&request.certificate_signing_request).unwrap();
        let csr = CertificateSigningRequestParams::from_pem(pem).map_err(|_| Status::invalid_argument("csr"))?;
        let params = leaf(&format!("/ns/{}/{}", request.namespace, request.id));
        let cert = params.signed_by(&csr.public_key, &self.0.0).unwrap();
        Ok(Response::new(SignCertificateResponse {
            workload_certificate: cert.pem().into(),
            trust_chain_certificates: vec![self.0.0.pem().into()],
            ..SignCertificateResponse::default()
        }))
    }
}

pub struct Zone {
    pub store: Arc<Memory>,
    pub regions: Regions,
    pub address: String,
    bundles: TrustBundles,
    pub shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Zone {
    pub async fn start() -> Self {
        palladium_tls::install_crypto_provider();
        let (authority, shutdown) = (Arc::new(Authority::new()), Shutdown::new());
        let sentry = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sentry_address = sentry.local_addr().unwrap();
        let tls = svid_server_config(&authority.svid("/ns/palladium/dapr-sentry"), ALPN_H2);
        let accepted = incoming(sentry, Acceptor::public(tls, PATIENCE), Limits::default());
        let ca = CaServer::new(Sentry(authority.clone()));
        let stop = shutdown.clone();
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(ca);
            server
                .serve_with_incoming_shutdown(accepted, stop.wait())
                .await
                .unwrap();
        });

        let folder = tempfile::tempdir().unwrap();
        let kek = Kek::open(&KekConfig::KeyFile {
            path: folder.path().join("kek"),
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config {
            listen: address,
            public_url: format!("https://{address}"),
            organization_id: ORGANIZATION.into(),
            key_folder: folder.path().into(),
            sentry_address,
            trust_folder: folder.path().into(),
            join_token_seconds: 60,
            log_entries_kept: 100,
        };
        let store = Arc::new(Memory::new(&[REGION, "reg-bbbbbbbbbbbb"]));
        let svid = authority.svid("/ns/palladium/control-plane");
        let regions = Regions::open(config, &kek, store.clone(), svid, authority.bundles()).unwrap();
        let (serving, stop) = (regions.clone(), shutdown.clone());
        tokio::spawn(async move { serving.serve(listener, stop).await.unwrap() });
        let bundles = authority.bundles();
        Self {
            store,
            regions,
            address: address.to_string(),
            bundles,
            shutdown,
            _folder: folder,
        }
    }

    pub async fn token(&self, region: &str) -> JoinToken {
        let region: RegionId = region.parse().unwrap();
        let text = self.regions.create_join_token(&region).await.unwrap();
        JoinToken::parse(text.expose_secret()).unwrap()
    }

    pub fn pinned(&self, token: &JoinToken) -> RegionJoinClient<Channel> {
        let tls = root_pin_client_config(token.root_sha256, exactly(&id("/ns/palladium/control-plane")), ALPN_H2);
        let connector = Connector::named(tls, ServerName::try_from("control-plane").unwrap(), PATIENCE);
        RegionJoinClient::new(palladium_tls::channel(connector, &self.address).unwrap())
    }

    pub fn renewing(&self) -> RegionJoinClient<Channel> {
        let control = exactly(&id("/ns/palladium/control-plane"));
        let tls = svid_client_without_certificate(&self.bundles, control, ALPN_H2);
        let connector = Connector::mtls(tls, self.bundles.clone(), PATIENCE);
        RegionJoinClient::new(palladium_tls::channel(connector, &self.address).unwrap())
    }

    pub async fn joined(&self, region: &str) -> Joined {
        let (token, keys) = (self.token(region).await, Keys::new());
        let (request, key) = keys.join(&token);
        let answer = self.pinned(&token).join(request).await.unwrap().into_inner();
        Joined {
            answer: answer.clone(),
            svid: svid(&answer, key),
            keys,
        }
    }

    /// Opens a session; what is sent and what comes.
    pub async fn connect(&self, svid: &SvidSource, hello: Hello) -> Result<Session, Status> {
        let control = exactly(&id("/ns/palladium/control-plane"));
        let tls = mtls_client_config(svid, &self.bundles, control, ALPN_H2);
        let connector = Connector::mtls(tls, self.bundles.clone(), PATIENCE);
        let channel = palladium_tls::channel(connector, &self.address).unwrap();
        let (sender, receiver) = mpsc::channel(8);
        let session = Session::new(sender);
        session.send(region_message::Message::Hello(hello)).await;
        let answer = RegionStreamClient::new(channel)
            .connect(ReceiverStream::new(receiver))
            .await?;
        Ok(Session {
            inbound: Some(answer.into_inner()),
            ..session
        })
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

pub fn svid(answer: &JoinResponse, key: NewKey) -> SvidSource {
    SvidSource::with(Svid::from_pem(&answer.certificate_chain_pem, key.into_private_key()).unwrap())
}

pub struct Joined {
    pub answer: JoinResponse,
    pub svid: SvidSource,
    pub keys: Keys,
}

/// A region's lasting keys.
pub struct Keys {
    pub region: EcdsaKeyPair,
    pub hpke: HpkeKeyPair,
}

impl Keys {
    pub fn new() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let region = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        Self {
            region,
            hpke: HpkeKeyPair::generate().unwrap(),
        }
    }

    pub fn join(&self, token: &JoinToken) -> (JoinRequest, NewKey) {
        let key = NewKey::nameless().unwrap();
        let request = JoinRequest {
            token_id: token.id.clone(),
            token_secret: token.secret.expose_secret().to_owned(),
            region_key_spki: Bytes::copy_from_slice(self.region.public_key().as_der().unwrap().as_ref()),
            csr_pem: Bytes::copy_from_slice(key.csr_pem().as_bytes()),
            hpke_public_key: Bytes::copy_from_slice(self.hpke.public().as_bytes()),
            hpke_key_id: self.hpke.public().key_id(),
        };
        (request, key)
    }

    pub fn renew(&self, region: &str, at_ms: i64) -> (RenewRequest, NewKey) {
        let key = NewKey::nameless().unwrap();
        let nonce = palladium_sealing::random_bytes::<16>();
        let message = signed::renewal(region, key.csr_pem().as_bytes(), at_ms, &nonce);
        let signature = self.region.sign(&SystemRandom::new(), &message).unwrap();
        let request = RenewRequest {
            region_id: region.into(),
            csr_pem: Bytes::copy_from_slice(key.csr_pem().as_bytes()),
            issued_at_unix_ms: at_ms,
            nonce: Bytes::copy_from_slice(&nonce),
            signature: Bytes::copy_from_slice(signature.as_ref()),
        };
        (request, key)
    }

    pub fn renew_now(&self, region: &str) -> (RenewRequest, NewKey) {
        self.renew(region, now_ms())
    }
}

pub struct Session {
    sender: mpsc::Sender<RegionMessage>,
    inbound: Option<Streaming<ControlMessage>>,
}

impl Session {
    fn new(sender: mpsc::Sender<RegionMessage>) -> Self {
        Self { sender, inbound: None }
    }

    pub async fn send(&self, message: region_message::Message) {
        self.sender
            .send(RegionMessage { message: Some(message) })
            .await
            .unwrap();
    }

    /// The next message that is no heartbeat.
    pub async fn next(&mut self) -> Result<Option<control_message::Message>, Status> {
        let inbound = self.inbound.as_mut().unwrap();
        loop {
            let message = tokio::time::timeout(PATIENCE, inbound.message())
                .await
                .expect("in time")?;
            match message.and_then(|message| message.message) {
                Some(control_message::Message::Heartbeat(_)) => {}
                other => return Ok(other),
            }
        }
    }
}

pub fn hello(session: &str) -> Hello {
    Hello {
        region_id: REGION.into(),
        session_id: session.into(),
        agent_version: "test".into(),
        ..Hello::default()
    }
}

pub fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}
