//! Subscriptions, resiliency policies, HTTP endpoints and configurations over Operator: each Dapr Server is given its own.

use palladium_proto::operator::{
    ConfigurationUpdateRequest, GetConfigurationRequest, GetResiliencyRequest, HttpEndpointUpdateRequest,
    ListHttpEndpointsRequest, ListResiliencyRequest, ListSubscriptionsRequest, ResiliencyUpdateRequest,
    ResourceEventType, SubscriptionUpdateRequest,
};
use palladium_proto::region::Verdict;
use palladium_sealing::SealedField;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Code;

use super::control::{Control, DOMAIN, PROJECT, REGION, Wanted, region};
use super::serving::{PATIENCE, Served};

fn subscription(name: &str, path: &str, scopes: &[&str]) -> Wanted {
    let spec = json!({ "pubsubname": "pubsub", "topic": "t", "routes": { "default": path } });
    Wanted::new(
        "Subscription",
        name,
        &format!("u-{name}"),
        json!({ "spec": spec, "scopes": scopes }),
    )
}

fn resiliency(name: &str, scopes: &[&str]) -> Wanted {
    let spec = json!({ "policies": { "timeouts": { "fast": 2000 } }, "targets": { "apps": { "stock": { "timeout": "fast" } } } });
    Wanted::new(
        "Resiliency",
        name,
        &format!("u-{name}"),
        json!({ "spec": spec, "scopes": scopes }),
    )
}

/// An HTTP endpoint with a sealed header.
fn endpoint(served: &Served, url: &str, scopes: &[&str], generation: u64, sealed: bool) -> Wanted {
    let field = "spec.headers.Authorization";
    let reference = json!({ "name": "palladium", "key": format!("u-api/{field}") });
    let spec = json!({ "baseUrl": url, "headers": [
        { "name": "Authorization", "secretKeyRef": reference }, { "name": "Accept", "value": "text/plain" },
    ] });
    let mut wanted = Wanted::new(
        "HTTPEndpoint",
        "api",
        "u-api",
        json!({ "spec": spec, "scopes": scopes }),
    );
    wanted.generation = generation;
    if sealed {
        let place = SealedField {
            region: REGION,
            project: PROJECT,
            uid: "u-api",
            field,
            version: generation,
        };
        wanted.sealed = vec![
            served
                .region
                .secrets
                .key()
                .public()
                .seal(&place, b"Bearer hunter2")
                .unwrap(),
        ];
    }
    wanted
}

fn read(all: Vec<bytes::Bytes>) -> Vec<Value> {
    all.iter().map(|json| serde_json::from_slice(json).unwrap()).collect()
}

fn names(all: &[Value]) -> Vec<&str> {
    all.iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap())
        .collect()
}

async fn subscriptions(served: &Served, app: &str, namespace: &str) -> Result<Vec<Value>, tonic::Status> {
    let namespace = namespace.to_owned();
    let request = ListSubscriptionsRequest { namespace };
    let answer = served.operator(app).list_subscriptions_v2(request).await?;
    Ok(read(answer.into_inner().subscriptions))
}

async fn endpoints(served: &Served, app: &str) -> Vec<Value> {
    let request = ListHttpEndpointsRequest::default();
    let answer = served.operator(app).list_http_endpoints(request).await.unwrap();
    read(answer.into_inner().http_endpoints)
}

async fn configuration(served: &Served, app: &str, name: &str) -> Result<bytes::Bytes, Code> {
    let request = GetConfigurationRequest {
        name: name.into(),
        namespace: PROJECT.into(),
    };
    let answer = served.operator(app).get_configuration(request).await;
    answer
        .map(|answer| answer.into_inner().configuration)
        .map_err(|status| status.code())
}

#[tokio::test]
async fn sec_045_each_kind_reaches_only_its_scope() {
    let mut served = Served::start().await;
    served.put(&subscription("own", "/own", &["orders"]));
    served.put(&subscription("all", "/all", &[]));
    served.put(&resiliency("mine", &["orders"]));
    served.put(&endpoint(&served, "https://api.example", &["orders"], 1, true));
    let mine = subscriptions(&served, "orders", PROJECT).await.unwrap();
    assert_eq!(names(&mine), ["all", "own"]);
    assert_eq!(
        (
            &mine[1]["apiVersion"],
            &mine[1]["spec"]["routes"]["default"],
            &mine[1]["metadata"]["namespace"]
        ),
        (&json!("dapr.io/v2alpha1"), &json!("/own"), &json!(PROJECT))
    );
    assert_eq!(names(&subscriptions(&served, "stock", "").await.unwrap()), ["all"]);
    let refused = subscriptions(&served, "orders", "prj-qqqqqqqqqqqq").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // The older call knows no namespace, and shows no more.
    let older = served
        .operator("stock")
        .list_subscriptions(())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(older.subscriptions.len(), 1);

    for (app, count) in [("orders", 1), ("stock", 0)] {
        let mut operator = served.operator(app);
        let list = operator
            .list_resiliency(ListResiliencyRequest::default())
            .await
            .unwrap();
        let list = read(list.into_inner().resiliencies);
        assert_eq!(list.len(), count, "{app}");
        let request = GetResiliencyRequest {
            name: "mine".into(),
            ..GetResiliencyRequest::default()
        };
        assert_eq!(operator.get_resiliency(request).await.is_ok(), count == 1, "{app}");
        if count == 1 {
            assert_eq!(list[0]["spec"]["policies"]["timeouts"]["fast"], "2000");
        }
    }
    assert!(endpoints(&served, "stock").await.is_empty());
}

#[tokio::test]
async fn sec_104_an_http_endpoint_is_handed_out_with_its_secrets_or_not_at_all() {
    let mut served = Served::start().await;
    served.put(&endpoint(&served, "https://api.example", &["orders"], 1, false));
    assert!(endpoints(&served, "orders").await.is_empty(), "without its secret");
    served.put(&endpoint(&served, "https://api.example", &["orders"], 2, true));
    let found = endpoints(&served, "orders").await;
    assert_eq!(
        found[0]["spec"]["headers"],
        json!([{ "name": "Authorization", "value": "Bearer hunter2" }, { "name": "Accept", "value": "text/plain" }])
    );
    // The control plane cannot send it elsewhere without entering it again.
    served.put(&endpoint(&served, "https://evil.example", &["orders"], 3, false));
    let status = served.region.statuses.latest("u-api").unwrap();
    assert_eq!(
        (status.verdict(), status.field.as_str()),
        (Verdict::Held, "spec.headers.Authorization")
    );
    assert_eq!(
        endpoints(&served, "orders").await[0]["spec"]["baseUrl"],
        "https://api.example"
    );
    served.put(&endpoint(&served, "https://other.example", &["orders"], 4, true));
    assert_eq!(
        endpoints(&served, "orders").await[0]["spec"]["baseUrl"],
        "https://other.example"
    );
    // Nowhere on disk in clear.
    let folder = served.region.config.data_folder.clone();
    let grep = std::process::Command::new("grep")
        .arg("-r")
        .arg("hunter2")
        .arg(folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}

#[tokio::test]
async fn an_app_id_gets_the_configuration_that_it_names_in_the_regions_words() {
    let mut served = Served::start().await;
    let policies = json!([
        { "appId": "stock", "namespace": "default", "operations": [{ "name": "/a", "action": "allow" }] },
        { "appId": "stock", "namespace": "shop", "trustDomain": "public" },
        { "appId": "stock", "namespace": "elsewhere", "trustDomain": "other.example" },
    ]);
    let spec = json!({ "accessControl": { "defaultAction": "deny", "policies": policies } });
    let strict = Wanted::new("Configuration", "strict", "u-strict", json!({ "spec": spec }));
    served.put(&strict);
    assert_eq!(configuration(&served, "orders", "").await.unwrap(), "", "it names none");
    assert_eq!(configuration(&served, "orders", "strict").await, Err(Code::NotFound));
    served.put(&Wanted::app("orders").generation(2, json!({ "spec": { "appConfig": "strict" } })));
    for name in ["", "strict"] {
        let found = configuration(&served, "orders", name).await.unwrap();
        let found: Value = serde_json::from_slice(&found).unwrap();
        let control = &found["spec"]["accessControl"];
        assert_eq!(
            (&control["trustDomain"], &control["defaultAction"]),
            (&json!(DOMAIN), &json!("deny"))
        );
        let told: Vec<_> = control["policies"].as_array().unwrap().iter().collect();
        for (at, domain, namespace) in [
            (0, DOMAIN, PROJECT),
            (1, DOMAIN, PROJECT),
            (2, "other.example", "elsewhere"),
        ] {
            assert_eq!(
                (&told[at]["trustDomain"], &told[at]["namespace"]),
                (&json!(domain), &json!(namespace))
            );
        }
    }
    assert_eq!(configuration(&served, "orders", "other").await, Err(Code::NotFound));
    assert_eq!(configuration(&served, "stock", "").await.unwrap(), "", "another one's");
    // What is named and not there is not nothing: that would be a Dapr Server that everybody may call.
    served.region.take_entry(&served.control.delete(&strict)).unwrap();
    assert_eq!(configuration(&served, "orders", "").await, Err(Code::Unavailable));
}

#[tokio::test]
async fn changes_of_each_kind_are_told_while_they_happen() {
    use ResourceEventType::{Created, Deleted, Updated};
    let mut served = Served::start().await;
    let mut operator = served.operator("orders");
    macro_rules! next {
        ($events:expr, $field:ident) => {{
            let event = timeout(PATIENCE, $events.message()).await.unwrap().unwrap().unwrap();
            let resource: Value = serde_json::from_slice(&event.$field).unwrap();
            (
                event.r#type(),
                resource["metadata"]["name"].as_str().unwrap().to_owned(),
            )
        }};
    }
    let request = SubscriptionUpdateRequest::default();
    let mut told = operator.subscription_update(request).await.unwrap().into_inner();
    let wanted = subscription("s", "/1", &["orders"]);
    served.put(&subscription("other", "/1", &["stock"]));
    served.put(&wanted);
    assert_eq!(next!(told, subscription), (Created, "s".into()));
    served.put(&wanted.clone().generation(2, subscription("s", "/2", &["orders"]).body));
    assert_eq!(next!(told, subscription), (Updated, "s".into()));
    // Out of scope is gone.
    served.put(&wanted.clone().generation(3, subscription("s", "/2", &["stock"]).body));
    assert_eq!(next!(told, subscription), (Deleted, "s".into()));

    let mut told = operator
        .resiliency_update(ResiliencyUpdateRequest::default())
        .await
        .unwrap()
        .into_inner();
    served.put(&resiliency("r", &[]));
    assert_eq!(next!(told, resiliency), (Created, "r".into()));
    served
        .region
        .take_entry(&served.control.delete(&resiliency("r", &[])))
        .unwrap();
    assert_eq!(next!(told, resiliency), (Deleted, "r".into()));

    let mut told = operator
        .http_endpoint_update(HttpEndpointUpdateRequest::default())
        .await
        .unwrap()
        .into_inner();
    served.put(&endpoint(&served, "https://api.example", &[], 1, true));
    assert_eq!(next!(told, http_endpoints), (Created, "api".into()));

    // Another name in the App ID is another configuration.
    for name in ["one", "two"] {
        served.put(&Wanted::new(
            "Configuration",
            name,
            &format!("u-{name}"),
            json!({ "spec": {} }),
        ));
    }
    let request = ConfigurationUpdateRequest::default();
    let mut told = operator.configuration_update(request).await.unwrap().into_inner();
    let app =
        |generation, name: &str| Wanted::app("orders").generation(generation, json!({ "spec": { "appConfig": name } }));
    served.put(&app(2, "one"));
    assert_eq!(next!(told, configuration), (Created, "one".into()));
    served.put(&app(3, "two"));
    assert_eq!(next!(told, configuration), (Deleted, "one".into()));
    assert_eq!(next!(told, configuration), (Created, "two".into()));
}

#[test]
fn sec_142_the_guard_rails_and_rules_hold_for_each_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let rails = folder.path().join("guard-rails.yaml");
    std::fs::write(&rails, "allow: {componentHosts: ['*.good.example']}").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let file = std::fs::File::options().append(true).open(&rails).unwrap();
    file.set_modified(later).unwrap();
    region.refresh_rails();
    let tracing = |otel: &str| json!({ "tracing": { "samplingRate": "1", "otel": { "protocol": "grpc", "endpointAddress": otel } } });
    let zipkin = json!({ "tracing": { "zipkin": { "endpointAddress": "http://169.254.169.254/x" } } });
    let foreign = json!({ "name": "palladium", "key": "u-other/spec.headers.x" });
    let held = Verdict::Held;
    let rejected = Verdict::Rejected;
    for (n, (kind, spec, verdict)) in [
        ("HTTPEndpoint", json!({ "baseUrl": "https://api.good.example" }), None),
        (
            "HTTPEndpoint",
            json!({ "baseUrl": "https://169.254.169.254" }),
            Some(held),
        ),
        ("HTTPEndpoint", json!({ "baseUrl": "https://2852039166/" }), Some(held)),
        (
            "HTTPEndpoint",
            json!({ "baseUrl": "https://u:p@api.good.example" }),
            Some(rejected),
        ),
        (
            "HTTPEndpoint",
            json!({ "baseUrl": "https://api.good.example", "headers": [{ "name": "x", "secretKeyRef": foreign }] }),
            Some(rejected),
        ),
        ("Configuration", tracing("otel.good.example:4317"), None),
        ("Configuration", tracing("evil.example:4317"), Some(held)),
        ("Configuration", zipkin, Some(held)),
        ("Configuration", json!({ "mtls": { "enabled": false } }), Some(held)),
        ("Configuration", json!({ "mtls": { "enabled": true } }), Some(rejected)),
        ("Configuration", json!({ "nameResolution": {} }), Some(rejected)),
        (
            "Resiliency",
            json!({ "policies": { "timeouts": { "x": "forever" } } }),
            Some(rejected),
        ),
        (
            "Subscription",
            json!({ "pubsubname": "p", "topic": "t", "routes": { "default": "/../x" } }),
            Some(rejected),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("n{n}");
        let wanted = Wanted::new(kind, &name, &format!("u-{name}"), json!({ "spec": spec }));
        region.take_entry(&control.put(&wanted)).unwrap();
        let said = region.statuses.latest(&wanted.uid).map(|status| status.verdict());
        assert_eq!(said, verdict, "{kind} {}", wanted.body);
    }
}
