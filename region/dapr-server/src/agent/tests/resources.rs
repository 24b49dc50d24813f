//! What becomes of Configurations, subscriptions and policies that the agent hands out.

use palladium_engine_resiliency::{ComponentKind, Direction};
use palladium_spiffe::SpiffeId;

use super::*;
use crate::api_rules::Protocol;
use crate::invoke::access::Question;

fn document(kind: &str, name: &str, spec: Value) -> Bytes {
    let document = json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": kind,
        "metadata": {"name": name, "uid": format!("uid of {name}"), "generation": 3},
        "spec": spec,
    });
    serde_json::to_vec(&document).unwrap().into()
}

fn with_configuration(spec: Value) -> Given {
    Given {
        configuration: Some(document("Configuration", "mine", spec)),
        ..Given::default()
    }
}

/// Waits for a report of which this holds.
async fn reported(world: &World, holds: impl Fn(&ReportRequest) -> bool) -> ReportRequest {
    let started = Instant::now();
    loop {
        let newest = world.reports.lock().unwrap().last().cloned();
        if let Some(report) = newest.filter(&holds) {
            return report;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no such report");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn load<'a>(report: &'a ReportRequest, name: &str) -> Option<&'a LoadResult> {
    report.loads.iter().find(|load| load.name == name)
}

fn may_call(world: &World, caller: &str, method: &str) -> bool {
    let caller = SpiffeId::parse(&format!("spiffe://reg-a.palladium.internal/ns/prj-a/{caller}")).unwrap();
    let question = Question {
        caller: Some(&caller),
        method,
        verb: Some("GET"),
        proxied: false,
    };
    let rules = world.server.rules.load();
    rules
        .access
        .as_ref()
        .is_none_or(|access| access.check(&question).is_ok())
}

fn only(app_id: &str) -> Value {
    json!({ "accessControl": {
        "defaultAction": "deny", "trustDomain": "reg-a.palladium.internal",
        "policies": [{ "appId": app_id, "defaultAction": "allow", "namespace": "prj-a",
                       "trustDomain": "reg-a.palladium.internal" }],
    } })
}

#[tokio::test]
async fn nothing_is_served_before_the_configuration_that_an_app_id_names_is_in_force() {
    let mut world = World::begin(Given {
        configuration: None,
        ..Given::default()
    })
    .await;
    reported(&world, |report| report.applied_version == 1).await;
    world.looked_in_vain().await;
    assert!(!world.following.is_finished(), "it serves without its access control");
    assert!(world.reports.lock().unwrap().iter().all(|report| !report.ready));

    world.given.send_replace(with_configuration(only("friend")));
    let in_time = tokio::time::timeout(Duration::from_secs(20), &mut world.following).await;
    world._tasks = in_time.expect("it serves now").unwrap();
    assert!(may_call(&world, "friend", "/orders") && !may_call(&world, "stranger", "/orders"));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_leaves_the_one_before() {
    let world = World::given(with_configuration(only("friend"))).await;
    assert!(load(&world.report(), "mine").unwrap().ok);
    let policy = json!({ "accessControl": { "policies": [{ "appId": "", "namespace": "", "trustDomain": "" }] } });
    world.given.send_replace(with_configuration(policy));
    let report = reported(&world, |report| load(report, "mine").is_some_and(|load| !load.ok)).await;
    let told = load(&report, "mine").unwrap();
    assert!(
        (told.kind.as_str(), told.generation) == ("Configuration", 3) && told.message.contains("missing trustdomain"),
        "{told:?}"
    );
    assert!(may_call(&world, "friend", "/orders") && !may_call(&world, "stranger", "/orders"));
    // And one that is gone leaves it as well.
    world.given.send_modify(|given| given.configuration = None);
    world.looked_in_vain().await;
    assert!(may_call(&world, "friend", "/orders") && !may_call(&world, "stranger", "/orders"));
}

#[tokio::test]
async fn every_part_of_a_configuration_follows_it() {
    let world = World::given(Given {
        components: vec![
            component("good", "state.in-memory", json!([])),
            component(
                "file",
                "state.sqlite",
                json!([{"name": "connectionString", "value": "data.db"}]),
            ),
            component("loud", "middleware.http.uppercase", json!([])),
        ],
        ..with_configuration(json!({
            "components": { "deny": ["state.sqlite"] },
            "api": { "denied": [{ "name": "state", "version": "v1", "protocol": "http" }] },
            "secrets": { "scopes": [{ "storeName": "vault", "defaultAccess": "deny" }] },
            "appHttpPipeline": { "handlers": [{ "name": "loud", "type": "middleware.http.uppercase" }] },
            "features": [{ "name": "x", "enabled": true }],
            "logging": { "apiLogging": { "enabled": true } },
        }))
    })
    .await;
    assert!(world.usable("good") && !world.usable("file"));
    assert!(load(&world.report(), "file").unwrap().message.contains("denied"));
    {
        let rules = world.server.rules.load();
        assert!(!rules.api.allows(Protocol::Http, "state", "v1.0") && !rules.secrets.allow("vault", "s"));
        assert!(rules.pipelines.app().is_some() && rules.pipelines.api().is_none());
        assert!(rules.features == ["x"] && rules.api_logging.enabled);
    }
    // Taken back, it is as if it had never been said.
    world
        .given
        .send_modify(|given| given.configuration = Some(Bytes::new()));
    reported(&world, |report| load(report, "file").is_some_and(|load| load.ok)).await;
    let rules = world.server.rules.load();
    assert!(rules.api.allows(Protocol::Http, "state", "v1.0") && rules.secrets.allow("vault", "s"));
    assert!(rules.pipelines.app().is_none() && rules.features.is_empty() && !rules.api_logging.enabled);
}

#[tokio::test]
async fn paths_are_read_as_the_application_speaks() {
    let access = json!({ "accessControl": {
        "defaultAction": "deny", "trustDomain": "reg-a.palladium.internal",
        "policies": [{ "appId": "friend", "defaultAction": "deny", "namespace": "prj-a",
                       "trustDomain": "reg-a.palladium.internal",
                       "operations": [{ "name": "/Orders", "action": "allow", "httpVerb": ["*"] }] }],
    } });
    let world = World::given(with_configuration(access)).await;
    assert!(may_call(&world, "friend", "/orders"), "HTTP: in any case");
    world.settings.send_replace(AppServerState {
        version: 2,
        endpoint: Some(AppEndpoint {
            url: "http://127.0.0.1:9".to_owned(),
            protocol: "grpc".to_owned(),
            ..AppEndpoint::default()
        }),
        ..AppServerState::default()
    });
    world.applied(2).await;
    let started = Instant::now();
    while may_call(&world, "friend", "/orders") {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the old reading is still in force"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(may_call(&world, "friend", "/Orders"), "gRPC: exactly");
}

#[tokio::test]
async fn subscriptions_and_policies_come_and_go() {
    let subscription = json!({ "pubsubname": "bus", "topic": "orders", "routes": { "default": "/in" } });
    let policy = |tries: i64| {
        json!({
            "policies": { "retries": { "few": { "policy": "constant", "duration": "1ms", "maxRetries": tries } } },
            "targets": { "components": { "bus": { "outbound": { "retry": "few" } } } },
        })
    };
    let world = World::given(Given {
        subscriptions: vec![
            document("Subscription", "orders-in", subscription),
            document("Subscription", "shapeless", json!({ "topic": [] })),
        ],
        resiliencies: vec![
            document("Resiliency", "calm", policy(3)),
            document(
                "Resiliency",
                "wrong",
                json!({ "policies": { "timeouts": { "t": "soon" } } }),
            ),
        ],
        ..Given::default()
    })
    .await;
    let has_policy = || {
        let policies = world.server.resiliency.now();
        !policies
            .component("bus", ComponentKind::Pubsub, Direction::Outbound)
            .is_empty()
    };
    let report = world.report();
    for (name, ok) in [
        ("orders-in", true),
        ("shapeless", false),
        ("calm", true),
        ("wrong", false),
    ] {
        let load = load(&report, name).expect(name);
        assert!(load.ok == ok && load.message.is_empty() == ok, "{load:?}");
    }
    assert_eq!(world.server.components.load().subscriptions.len(), 1);
    assert!(has_policy());
    world.given.send_replace(Given::default());
    reported(&world, |report| report.loads.is_empty()).await;
    assert!(world.server.components.load().subscriptions.is_empty() && !has_policy());
}

#[tokio::test]
async fn http_endpoints_come_and_go_and_their_headers_are_told_to_nobody() {
    let headers = json!([{ "name": "Authorization", "value": SECRET }]);
    let world = World::given(Given {
        http_endpoints: vec![
            document(
                "HTTPEndpoint",
                "payments",
                json!({ "baseUrl": "https://payments.example", "headers": headers }),
            ),
            document(
                "HTTPEndpoint",
                "nowhere",
                json!({ "baseUrl": "ftp://x", "headers": headers }),
            ),
            document(
                "HTTPEndpoint",
                "broken",
                json!({ "baseUrl": "https://payments.example", "clientTLS": { "rootCA": { "value": SECRET } } }),
            ),
        ],
        ..Given::default()
    })
    .await;
    let report = world.report();
    for (name, ok) in [("payments", true), ("nowhere", false), ("broken", false)] {
        let load = load(&report, name).expect(name);
        assert!(load.ok == ok && load.message.is_empty() == ok, "{load:?}");
    }
    assert!(world.server.invoke.endpoints.names().contains(&"payments".to_owned()));
    world.given.send_replace(Given::default());
    reported(&world, |report| report.loads.is_empty()).await;
    assert!(world.server.invoke.endpoints.names().is_empty());
}
