//! The API as a client meets it: real store, real policy, real extraction; only the region is a stand-in.

mod access;
mod audit;
mod canary;
mod keys;
mod kinds;
mod managed;
mod matrix;
mod resources;
mod secrets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use palladium_authz::Authorizer;
use palladium_component::catalog::{Catalog, CatalogField, ComponentType};
use palladium_control_store::Store;
use palladium_kinds::{OrganizationId, RegionId};
use palladium_regions::{
    Error as RegionsError, JoinTokenRecord, ReadBack, ReadBackError, RegionRecord, RegionStore as _,
};
use palladium_sealing::{HpkeKeyPair, SecretString};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::api::dispatch::router;
use crate::api::stages::{App, AppParts, RegionPort};
use crate::bootstrap;
use crate::config::{BootstrapConfig, LimitsConfig};

pub(super) const CRA: &str = "/apis/cra.diagrid.io/v1beta1";

/// A region that answers from a table.
#[derive(Default)]
pub(super) struct FakeRegion {
    pub(super) secrets: Mutex<HashMap<String, String>>,
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) is_away: AtomicBool,
    pub(super) has_no_roots: AtomicBool,
}

#[tonic::async_trait]
impl RegionPort for FakeRegion {
    fn mint_join_token(&self, region: &RegionId) -> Result<(SecretString, JoinTokenRecord), RegionsError> {
        if self.has_no_roots.load(Relaxed) {
            return Err(RegionsError::Config(
                "the control plane has no root certificate yet".to_owned(),
            ));
        }
        let record = JoinTokenRecord {
            id: palladium_kinds::ids::random_base32(8),
            region_id: region.to_string(),
            secret_sha256: [1; 32],
            expires_at_unix_ms: 1_800_000_000_000,
        };
        Ok(("plj_test".to_owned().into(), record))
    }

    fn is_connected(&self, _: &str) -> bool {
        !self.is_away.load(Relaxed)
    }

    async fn read_back(&self, _: &str, what: ReadBack, actor: &str) -> Result<SecretString, ReadBackError> {
        let key = match what {
            ReadBack::AppToken { uid } => uid,
            ReadBack::Field { uid, field } => format!("{uid}/{field}"),
        };
        self.asked.lock().unwrap().push(format!("{actor} {key}"));
        self.secrets
            .lock()
            .unwrap()
            .get(&key)
            .map(|text| text.clone().into())
            .ok_or(ReadBackError::NotConnected)
    }
}

pub(super) struct Harness {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) organization: OrganizationId,
    pub(super) region: RegionId,
    pub(super) region_key: HpkeKeyPair,
    pub(super) fake: Arc<FakeRegion>,
    pub(super) admin: String,
    pub(super) app: Arc<App>,
    router: Router,
}

impl Harness {
    pub(super) async fn new() -> Self {
        Self::with(Box::leak(Box::new(catalog()))).await
    }

    pub(super) async fn with(catalog: &'static Catalog) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("server");
        let store = Store::open(&data).await.unwrap();
        let region = RegionId::generate();
        let config = BootstrapConfig {
            organization_name: "acme".into(),
            region_id: region.to_string(),
            region_name: "local".into(),
            region_ingress: String::new(),
            join_token_file: folder.path().join("join.token"),
            // Outside of the folder that is swept for secrets: this file is meant to hold one.
            admin_key_file: folder.path().join("admin.key"),
        };
        let organization = bootstrap::ensure(&store, &OrganizationId::generate(), &config)
            .await
            .unwrap();
        let again = bootstrap::ensure(&store, &organization.id, &config).await.unwrap();
        assert_eq!(again, organization, "a second start makes nothing");
        let admin = std::fs::read_to_string(&config.admin_key_file)
            .unwrap()
            .trim()
            .to_owned();
        let region_key = HpkeKeyPair::generate().unwrap();
        let fake = Arc::new(FakeRegion::default());
        let app = Arc::new(App::new(AppParts {
            store: store.clone(),
            organization: organization.clone(),
            authorizer: Authorizer::new().unwrap(),
            catalog,
            regions: fake.clone(),
            fingerprint_key: [9; 32],
            public_url: "https://localhost:7443".into(),
            limits: LimitsConfig::default(),
        }));
        let router = router(app.clone());
        let organization = organization.id;
        let harness = Self {
            folder,
            store,
            organization,
            region,
            region_key,
            fake,
            admin,
            app,
            router,
        };
        harness.join().await;
        harness
    }

    /// The region joins, so that there is a key to seal to.
    async fn join(&self) {
        let token = JoinTokenRecord {
            id: "t".into(),
            region_id: self.region.to_string(),
            secret_sha256: [0; 32],
            expires_at_unix_ms: i64::MAX,
        };
        self.store.put_join_token(token).await.unwrap();
        let record = RegionRecord {
            region_id: self.region.to_string(),
            key_spki: vec![1].into(),
            hpke_public_key: self.region_key.public().as_bytes().to_vec().into(),
            hpke_key_id: self.region_key.public().key_id(),
        };
        assert!(self.store.redeem("t", record).await.unwrap());
    }

    pub(super) async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(super) async fn call(&self, key: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("user-agent", "test/1")
            .extension(connection());
        if !key.is_empty() {
            request = request.header("x-diagrid-api-key", key);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        self.send(request.header("content-type", "application/json").body(body).unwrap())
            .await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(&self.admin, Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(&self.admin, Method::POST, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// A project and its id.
    pub(super) async fn project(&self, name: &str) -> String {
        let made = self
            .post(
                &format!("{CRA}/projects"),
                json!({"metadata": {"name": name}, "spec": {}}),
            )
            .await;
        made["metadata"]["projectId"].as_str().unwrap().to_owned()
    }

    /// An API key with this role; `scope` is a project or empty.
    pub(super) async fn key(&self, role: &str, scope: &str) -> String {
        let name = palladium_kinds::ids::random_base32(10);
        let mut body = json!({"name": name, "role": format!("cra.diagrid:{role}")});
        if !scope.is_empty() {
            body["scope"] = format!("project:{scope}").into();
        }
        self.post(&format!("{CRA}/apikeys"), body).await["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(super) async fn events(&self, query: &str) -> Vec<Value> {
        self.get(&format!("{CRA}/audit?{query}")).await["items"]
            .as_array()
            .cloned()
            .unwrap()
    }
}

/// What the listener knows of whoever calls.
fn connection() -> Arc<palladium_http::Connection> {
    let mut connection = palladium_http::Connection::default();
    connection.remote = Some(([192, 0, 2, 7], 40_000).into());
    Arc::new(connection)
}

/// The least that an object of this kind can say.
pub(super) fn minimal(kind: &str) -> Value {
    match kind {
        "Component" => json!({"type": "state.diagrid"}),
        "Subscription" => json!({"pubsubname": "pubsub", "topic": "t", "routes": {"default": "/"}}),
        "HTTPEndpoint" => json!({"baseUrl": "https://a.example"}),
        _ => json!({}),
    }
}

pub(super) fn detail(body: &Value) -> String {
    body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| e["detail"].as_str())
        .collect::<Vec<_>>()
        .join(" | ")
}

fn catalog() -> Catalog {
    let field = |name: &str, sensitive: bool| CatalogField {
        name: name.into(),
        aliases: vec![],
        kind: "string".into(),
        required: false,
        sensitive,
        default: None,
        allowed: vec![],
        description: String::new(),
    };
    let driver = |name: &str, hosted: &str, fields: Vec<CatalogField>| ComponentType {
        type_name: name.into(),
        aliases: vec![],
        versions: vec!["v1".into()],
        status: "stable".into(),
        hosted: hosted.into(),
        fields,
        example: String::new(),
    };
    let redis = ["redisUsername", "redisPassword", "clientKey", "sentinelPassword"].map(|name| field(name, true));
    let redis = redis
        .into_iter()
        .chain(["redisHost", "redisDB"].map(|name| field(name, false)))
        .collect();
    Catalog {
        components: vec![
            driver("state.redis", "allowed", redis),
            driver("state.diagrid", "allowed", vec![field("state", false)]),
            driver("bindings.localstorage", "refused", vec![]),
        ],
        common: Default::default(),
    }
}
