//! Two Dapr Servers, an access control list before the application of one of them, and callers who write paths in their
//! own way.
//!
//! One idea: a path goes the whole way, from the caller's API over a connection to the application, and the list and the
//! application must speak of the same method. Must never ask a list itself: `access/tests.rs` does.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use palladium_http::{Limits, Server as HttpServer, Upload};
use palladium_spiffe::SpiffeId;
use serde_json::json;

use super::*;
use crate::auth::Auth;
use crate::http::{Surface, handle};
use crate::resources::Configuration;
use crate::rules::Rules;

/// App ID `front`, as its certificate says.
const FRONT: &str = "spiffe://reg-a.palladium.internal/ns/prj-a/front";

/// What follows `/method/`, and the method that it means. None of them is below `public`, whatever it looks like.
const SPELLINGS: [(&str, &str); 15] = [
    ("admin", "admin"),
    ("%61dmin", "admin"),
    ("admin/", "admin"),
    (".//admin", "admin"),
    ("public/../admin", "admin"),
    ("public%2F..%2Fadmin", "admin"),
    ("public/%2e%2e/admin", "admin"),
    // Out of the method: routed by another path, and another App ID stands in that.
    ("../../admin", "admin"),
    ("../../other/method/x", "other/method/x"),
    ("%2e%2e/%2e%2e/other/method/x", "other/method/x"),
    // Out of all: what is left is no route.
    ("../../../../admin", "admin"),
    // Decoded once.
    ("%2561dmin", "%61dmin"),
    ("public%252F..%252Fadmin", "public%2F..%2Fadmin"),
    // Separators to others, here letters like any.
    ("public%5C..%5Cadmin", "public\\..\\admin"),
    ("admin;public", "admin;public"),
];

struct World {
    caller: Arc<Server>,
    callee: Arc<Server>,
    /// Where the callee is called by its peers.
    address: String,
    /// How often the application was called.
    calls: Arc<AtomicUsize>,
}

impl World {
    async fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        // It answers with what it decodes of the path.
        let app = testing::application(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let method = decode(path.strip_prefix("/base/").unwrap_or_default()).expect("text");
            std::future::ready((200, method.into_owned()))
        });
        let callee = testing::open_server();
        callee.app.store(Some(app.await));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("any port");
        let address = listener.local_addr().expect("bound").to_string();
        let front = SpiffeId::parse(FRONT).expect("sound");
        let listener = HttpServer::new(testing::Proven(listener, front), Limits::default());
        tokio::spawn(serve_internal(callee.clone(), listener));
        let caller = Server {
            app_id: "front".to_owned(),
            auth: Auth::Open,
            ..new_server(&testing::config(), &Default::default(), Shutdown::new())
        };
        caller.invoke.peers.set_only("orders", &address);
        Self {
            caller: Arc::new(caller),
            callee,
            address,
            calls,
        }
    }

    /// From now on one operation is treated as `action` says, and all others as `default` says.
    fn list(&self, default: &str, operation: &str, action: &str) {
        let list = json!({ "defaultAction": default, "policies": [{
            "appId": "front", "namespace": "prj-a", "trustDomain": "reg-a.palladium.internal", "defaultAction": default,
            "operations": [{ "name": operation, "httpVerb": ["*"], "action": action }],
        }] });
        let configuration = Configuration {
            access: serde_json::from_value(list).expect("well formed"),
            ..Configuration::default()
        };
        let rules = Rules::new(&configuration, true).expect("complete");
        self.callee.rules.store(Arc::new(rules));
    }

    /// Status and body of a call's answer, and whether the application was called.
    async fn get(&self, path: &str) -> (u16, String, bool) {
        let before = self.calls.load(Ordering::Relaxed);
        let request = Request::get(path).body(Upload::whole(Default::default()));
        let answer = handle(&self.caller, Surface::Api, request.expect("sound")).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        let called = self.calls.load(Ordering::Relaxed) > before;
        (status, String::from_utf8_lossy(&body).into_owned(), called)
    }
}

/// The path is routed by without its dots and read as it came here. Whoever calls is judged by the canonical method, and
/// that is what the application decodes, whatever was made of the path before.
#[tokio::test]
async fn sec_054_the_method_that_is_judged_is_the_one_that_is_called() {
    let world = World::start().await;
    for (spelt, judged) in SPELLINGS {
        let path = format!("/v1.0/invoke/orders/method/{spelt}");
        let operation = format!("/{judged}");
        world.list("deny", &operation, "allow");
        assert_eq!(world.get(&path).await, (200, judged.to_owned(), true), "{spelt}");
        world.list("allow", &operation, "deny");
        let (status, words, called) = world.get(&path).await;
        let refusal = json!(format!("operation: {judged} verb: GET")).to_string();
        let refused = status == 403 && words.contains(refusal.trim_matches('"'));
        assert!(refused && !called, "{spelt}: {status} {words}");
        world.list("deny", "/public/**", "allow");
        let (status, words, called) = world.get(&path).await;
        assert!(
            status == 403 && !called,
            "{spelt} is taken for public: {status} {words}"
        );
    }
    world.list("deny", "/public/**", "allow");
    let public = world.get("/v1.0/invoke/orders/method/admin/../public/x").await;
    assert_eq!(public, (200, "public/x".to_owned(), true));
    // What could be read in two ways is not called at all.
    world.list("allow", "/admin", "deny");
    for spelt in ["admin%00", "admin%3Fx", "admin%23x", "admin%0a", "%c0%ae%c0%ae/admin"] {
        let (status, words, called) = world.get(&format!("/v1.0/invoke/orders/method/{spelt}")).await;
        assert!(status >= 400 && !called, "{spelt}: {status} {words}");
    }
    // Out of the method and into the API: that is no call.
    let (_, told, called) = world.get("/v1.0/invoke/orders/method/../../../metadata").await;
    assert!(told.contains("runtimeVersion") && !called, "{told}");
}

/// A callee does not rely on its peer: it cleans a method itself, and decodes none.
#[tokio::test]
async fn sec_054_a_peer_that_cleans_nothing_is_judged_by_what_is_called() {
    let world = World::start().await;
    let pool = Pool::new(world.address.clone(), None);
    let call = async |method: &str| {
        let mut call = Call {
            method: method.to_owned(),
            http: Some(HttpExtension {
                verb: Verb::Get.into(),
                querystring: String::new(),
            }),
            headers: HeaderMap::new(),
            origin: Origin::Http,
            content_type: String::new(),
            type_url: String::new(),
            body: Body::Empty,
        };
        caller::call(&pool, "orders", &mut call, None, 1 << 20, &world.caller.budget).await
    };
    for (sent, judged) in [
        ("admin", "admin"),
        ("/admin/", "admin"),
        (".//admin", "admin"),
        ("public/../admin", "admin"),
        ("%61dmin", "%61dmin"),
        ("public%2F..%2Fadmin", "public%2F..%2Fadmin"),
    ] {
        let operation = format!("/{judged}");
        world.list("deny", &operation, "allow");
        let Ok(reply) = call(sent).await else {
            panic!("{sent} is refused");
        };
        assert_eq!(shown(reply).await, (200, Bytes::from(judged)), "{sent}");
        let before = world.calls.load(Ordering::Relaxed);
        world.list("allow", &operation, "deny");
        let Err(failed) = call(sent).await else {
            panic!("{sent} is let in");
        };
        assert_eq!(failed.status.code(), tonic::Code::PermissionDenied, "{sent}");
        assert_eq!(world.calls.load(Ordering::Relaxed), before, "{sent}");
    }
}
