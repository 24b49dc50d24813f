//! A Sentry under test, with its folders, its attestors and a client.

use std::{net::SocketAddr, path::PathBuf, sync::Mutex, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use palladium_identity::{Attestation, Identity, IdentityConfig, IdentityError, Settings};
use palladium_proto::sentry::{
    SignCertificateRequest, SignCertificateResponse, ca_client::CaClient, sign_certificate_request::TokenValidator,
};
use palladium_sealing::KekConfig;
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tasks::{ReadyFile, Shutdown};
use palladium_tls::{ALPN_H2, Bundle, Connector, TrustBundles, exactly, svid_client_without_certificate};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::{Config, Zone as ZoneKind};

pub const DOMAIN: &str = "reg-test.palladium.internal";
pub const APP: &str = "/ns/prj-abc/orders";

/// A port that was free a moment ago, and never the same twice.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    let address = loop {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        if !given.contains(&address) {
            break address;
        }
    };
    given.push(address);
    address
}

/// The attestors' private keys, kept by the test.
pub struct AttestorKey(EncodingKey);

impl AttestorKey {
    pub fn generate() -> Self {
        Self(EncodingKey::from_ec_der(&KeyPair::generate().unwrap().serialize_der()))
    }

    pub fn file(&self, name: &str, paths: &[&str]) -> String {
        let jwk = Jwk::from_encoding_key(&self.0, Algorithm::ES256).unwrap();
        json!({ "name": name, "jwk": jwk, "paths": paths }).to_string()
    }

    pub fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &self.0).unwrap()
    }
}

pub struct Zone {
    pub folder: TempDir,
    pub config: Config,
    /// Speaks for `/ns/palladium/*`.
    pub supervisor: AttestorKey,
    /// Speaks for `/ns/prj-*`.
    pub agent: AttestorKey,
    pub shutdown: Shutdown,
}

pub fn now() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9
}

impl Zone {
    /// A running Sentry of a region that knows one application.
    pub async fn start(bend: impl FnOnce(&mut Config)) -> Self {
        let zone = Self::prepare(bend);
        zone.write_table(&[(APP, 0)]);
        zone.run().await;
        zone
    }

    pub fn prepare(bend: impl FnOnce(&mut Config)) -> Self {
        palladium_tls::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let data_folder = folder.path().join("sentry");
        let attestors_folder = folder.path().join("trust");
        for path in [&data_folder, &attestors_folder] {
            std::fs::create_dir(path).unwrap();
        }
        let (supervisor, agent) = (AttestorKey::generate(), AttestorKey::generate());
        std::fs::write(
            attestors_folder.join("s.json"),
            supervisor.file("supervisor", &["/ns/palladium/*"]),
        )
        .unwrap();
        std::fs::write(attestors_folder.join("a.json"), agent.file("agent", &["/ns/prj-*"])).unwrap();
        let mut config = Config {
            trust_domain: TrustDomain::parse(DOMAIN).unwrap(),
            zone: ZoneKind::Region,
            listen: free_address(),
            kek: KekConfig::KeyFile {
                path: folder.path().join("kek"),
            },
            data_folder,
            attestors_folder,
            agent: None,
            edge: None,
            leaf_ttl_seconds: 3600,
            issuer_ttl_seconds: 7 * 24 * 3600,
            root_ttl_seconds: 365 * 24 * 3600,
            log: palladium_telemetry::LogConfig::default(),
        };
        bend(&mut config);
        Self {
            folder,
            config,
            supervisor,
            agent,
            shutdown: Shutdown::new(),
        }
    }

    pub fn write_table(&self, rows: &[(&str, i64)]) {
        let rows: serde_json::Map<String, Value> = rows
            .iter()
            .map(|(path, before)| (format!("spiffe://{DOMAIN}{path}"), json!(before)))
            .collect();
        let table = json!({ "version": 1, "revoked_before": rows }).to_string();
        std::fs::write(self.config.data_folder.join("identities.json"), table).unwrap();
    }

    pub async fn run(&self) {
        let (config, shutdown) = (self.config.clone(), self.shutdown.clone());
        tokio::spawn(async move { crate::run(config, shutdown).await.expect("sentry runs") });
        tokio::time::timeout(Duration::from_secs(20), async {
            while ReadyFile::read(&self.config.data_folder).is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("ready in time");
    }

    pub fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.config.trust_domain, path).unwrap()
    }

    pub fn roots_file(&self) -> PathBuf {
        self.config.data_folder.join("ca.crt")
    }

    pub fn bundles(&self) -> TrustBundles {
        let bundles = TrustBundles::new();
        let pem = std::fs::read(self.roots_file()).unwrap();
        bundles.set(self.config.trust_domain.clone(), Bundle::from_pem(&pem).unwrap());
        bundles
    }

    /// The claims of a correct attestation.
    pub fn claims(&self, path: &str) -> Value {
        let jti: String = palladium_sealing::random_bytes::<16>()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        json!({
            "sub": self.id(path).as_str(),
            "aud": [self.config.own_id().unwrap().as_str()],
            "iat": now(),
            "exp": now() + 60.0 - 0.01,
            "jti": jti,
        })
    }

    pub fn attestation(&self, path: &str) -> String {
        let key = if path.starts_with("/ns/prj-") {
            &self.agent
        } else {
            &self.supervisor
        };
        key.sign(&self.claims(path))
    }

    pub fn settings(&self, path: &str) -> Settings {
        let mut settings = Settings::platform(&IdentityConfig {
            spiffe_id: self.id(path).to_string(),
            sentry_address: self.config.listen,
            sentry_id: self.config.own_id().unwrap().to_string(),
            roots_file: self.roots_file(),
            edge_address: None,
        })
        .unwrap();
        settings.deadline = Duration::from_secs(10);
        settings
    }

    pub async fn obtain(&self, path: &str) -> Result<Identity, IdentityError> {
        Identity::obtain(self.settings(path), Attestation::Once(self.attestation(path).into())).await
    }

    /// One raw call without a client certificate.
    pub async fn call(&self, request: SignCertificateRequest) -> Result<SignCertificateResponse, tonic::Status> {
        let bundles = self.bundles();
        let config = svid_client_without_certificate(&bundles, exactly(&self.config.own_id().unwrap()), ALPN_H2);
        self.call_with(
            Connector::mtls(config, bundles, Duration::from_secs(5)),
            self.config.listen,
            request,
        )
        .await
    }

    pub async fn call_with(
        &self,
        connector: Connector,
        address: SocketAddr,
        request: SignCertificateRequest,
    ) -> Result<SignCertificateResponse, tonic::Status> {
        let channel = palladium_tls::channel(connector, &address.to_string()).unwrap();
        CaClient::new(channel)
            .sign_certificate(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn call_token(&self, path: &str, token: &str) -> Result<SignCertificateResponse, tonic::Status> {
        self.call(request(path, token, &csr(|_| {}))).await
    }

    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.config.data_folder.join("journal.jsonl")).unwrap_or_default()
    }

    /// Waits until the journal has a line with all of these.
    pub async fn journal_says(&self, words: &[&str]) -> bool {
        for _ in 0..200 {
            if self
                .journal()
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

pub fn request(path: &str, token: &str, csr: &str) -> SignCertificateRequest {
    let (namespace, id) = path.strip_prefix("/ns/").unwrap().split_once('/').unwrap();
    SignCertificateRequest {
        id: id.to_owned(),
        namespace: namespace.to_owned(),
        trust_domain: DOMAIN.to_owned(),
        token: token.to_owned(),
        token_validator: TokenValidator::Jwks.into(),
        certificate_signing_request: csr.to_owned().into(),
        jwt_audiences: Vec::new(),
    }
}

pub fn csr(bend: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    bend(&mut params);
    params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap()
}
