//! Subscriptions, configurations, resiliency policies and HTTP endpoints through the API, from making to deleting.

use http::Method;
use palladium_kinds::{KindDefinition, configuration, http_endpoint, registry, resiliency, subscription};
use palladium_regions::RegionStore as _;
use serde_json::{Value, json};

use super::secrets::files_with;
use super::{CRA, Harness, detail};

const KINDS: [&KindDefinition; 4] = [
    &subscription::KIND,
    &configuration::KIND,
    &resiliency::KIND,
    &http_endpoint::KIND,
];

fn collection(kind: &KindDefinition) -> String {
    format!("{CRA}/projects/default/{}", kind.plural)
}

fn example(kind: &KindDefinition) -> Value {
    serde_saphyr::from_str(kind.example).unwrap()
}

#[tokio::test]
async fn each_kind_is_made_shown_changed_and_deleted_and_all_of_it_is_recorded() {
    let h = Harness::new().await;
    for kind in KINDS {
        let (all, body) = (collection(kind), example(kind));
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        let one = format!("{all}/{name}");
        let made = h.post(&all, body.clone()).await;
        assert_eq!(made["apiVersion"], kind.api_versions[0], "{made}");
        assert_eq!(h.call(&h.admin, Method::POST, &all, body.clone()).await.0, 409);
        let read = h.get(&one).await;
        assert_eq!(
            (&read["kind"], &read["metadata"]["generation"]),
            (&json!(kind.kind), &json!(1))
        );
        assert_eq!(h.get(&all).await["items"].as_array().unwrap().len(), 1);
        // Dapr's own group is the same collection.
        let other = one.replace("cra.diagrid.io", "dapr.diagrid.io");
        assert_eq!(h.get(&other).await["metadata"]["uid"], read["metadata"]["uid"]);
        // What was read can be sent back, and says nothing new.
        let (status, same) = h.call(&h.admin, Method::PUT, &one, read).await;
        assert_eq!((status, &same["metadata"]["generation"]), (202, &json!(1)), "{same}");
        let patch = json!({ "metadata": { "labels": { "team": "shop" } } });
        let (status, changed) = h.call(&h.admin, Method::PATCH, &one, patch).await;
        assert_eq!(
            (status, &changed["metadata"]["generation"]),
            (202, &json!(2)),
            "{changed}"
        );
        let (_, told) = h.store.objects(h.region.as_str()).await.unwrap();
        assert!(
            told.iter()
                .any(|object| (object.kind.as_str(), &object.name) == (kind.kind, &name)),
            "the region is told"
        );
        let (status, gone) = h.call(&h.admin, Method::DELETE, &one, Value::Null).await;
        assert_eq!((status, &gone["status"]["status"]), (202, &json!("deleting")), "{gone}");
        for verb in ["create", "update", "delete"] {
            let found = h
                .events(&format!("action={}.{verb}&outcome=success", kind.plural))
                .await;
            assert!(!found.is_empty(), "{verb}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_field_reason_and_remedy() {
    let h = Harness::new().await;
    for (kind, spec, said) in [
        (
            &subscription::KIND,
            json!({"pubsubname": "p", "topic": "t", "routes": {"default": "orders"}}),
            "spec.routes.default: is not an absolute, clean path; use a path such as /orders",
        ),
        (
            &subscription::KIND,
            json!({"pubsubname": "p", "topic": "t", "routes": {"default": "/"}, "hosts": []}),
            "spec.hosts: unknown field; known here:",
        ),
        (
            &configuration::KIND,
            json!({"mtls": {"enabled": false}}),
            "spec.mtls: belongs to the platform and cannot be set here; leave it out",
        ),
        (
            &resiliency::KIND,
            json!({"policies": {"retries": {"r": {"policy": "linear"}}}}),
            "spec.policies.retries.r.policy: is not a retry policy; use constant or exponential",
        ),
        (
            &http_endpoint::KIND,
            json!({"baseUrl": "https://user:hunter2@a.example"}),
            "spec.baseUrl: holds a user name or password; send credentials in headers; use a URL",
        ),
    ] {
        let body = json!({"metadata": {"name": "x"}, "spec": spec});
        let (status, answer) = h.call(&h.admin, Method::POST, &collection(kind), body).await;
        let detail = detail(&answer);
        assert!(status == 400 && detail.contains(said), "{answer}");
        assert!(!detail.contains("hunter2"));
    }
    let scoped = json!({"metadata": {"name": "x"}, "spec": {}, "scopes": ["a/b"]});
    let (status, answer) = h
        .call(&h.admin, Method::POST, &collection(&resiliency::KIND), scoped)
        .await;
    assert!(status == 400 && detail(&answer).starts_with("scopes: "), "{answer}");
    let unknown = json!({"metadata": {"name": "y"}, "spec": {}, "scopes": ["nobody"]});
    let made = h.post(&collection(&resiliency::KIND), unknown).await;
    assert!(
        made["status"]["messages"][0]["message"]
            .as_str()
            .unwrap()
            .contains("scope nobody is no App ID")
    );
}

#[tokio::test]
async fn sec_101_a_canary_in_every_header_and_certificate_is_in_no_file_and_no_answer() {
    let h = Harness::new().await;
    let mut canaries = Vec::new();
    let mut canary = |what: &str| {
        let text = format!("CANARY{}{what}", palladium_kinds::ids::random_base32(16));
        canaries.push(text.clone());
        text
    };
    let pem = |label: &str, text: String| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----");
    let endpoint = json!({"metadata": {"name": "e"}, "spec": {
        "baseUrl": "https://a.example",
        "headers": [{"name": "Authorization", "value": canary("bearer")}, {"name": "x-api-key", "value": canary("key")}],
        "clientTLS": {
            "rootCA": {"value": pem("CERTIFICATE", canary("root"))},
            "certificate": {"value": pem("CERTIFICATE", canary("certificate"))},
            "privateKey": {"value": pem("PRIVATE KEY", canary("private"))},
        },
    }});
    let tracing = json!({"samplingRate": "1", "otel": {
        "endpointAddress": "collector:4317", "protocol": "grpc", "headers": [{"name": "api-key", "value": canary("otel")}],
    }});
    let configuration = json!({"metadata": {"name": "c"}, "spec": {"tracing": tracing}});
    for (kind, body, name) in [
        (&http_endpoint::KIND, endpoint, "e"),
        (&configuration::KIND, configuration, "c"),
    ] {
        let all = collection(kind);
        h.post(&all, body.clone()).await;
        // Refused, twice, and sent where no secret belongs.
        assert_eq!(h.call(&h.admin, Method::POST, &all, body.clone()).await.0, 409);
        let mut wrong = body.clone();
        wrong["metadata"]["name"] = "wrong".into();
        wrong["spec"]["unknown"] = body["spec"].clone();
        let (status, refused) = h.call(&h.admin, Method::POST, &all, wrong).await;
        assert!(status == 400 && !refused.to_string().contains("CANARY"), "{refused}");
        let mut noted = body.clone();
        noted["metadata"]["name"] = "noted".into();
        noted["metadata"]["annotations"] = json!({"note": body["spec"].to_string()});
        let (status, refused) = h.call(&h.admin, Method::POST, &all, noted).await;
        assert!(status == 400 && !refused.to_string().contains("CANARY"), "{refused}");
        for path in [all.clone(), format!("{all}/{name}")] {
            let shown = h.get(&path).await;
            assert!(
                !shown.to_string().contains("CANARY") && shown.to_string().contains("secretKeyRef"),
                "{shown}"
            );
        }
    }
    assert!(!json!(h.events("").await).to_string().contains("CANARY"));
    for canary in &canaries {
        assert_eq!(files_with(&h, canary), Vec::<String>::new(), "{canary}");
    }
    assert!(
        !files_with(&h, "x-api-key").is_empty(),
        "the sweep does look into the database"
    );
}

#[tokio::test]
async fn permitted_readers_see_headers_and_each_reading_is_recorded() {
    let h = Harness::new().await;
    let body = json!({"metadata": {"name": "e"}, "spec": {"baseUrl": "https://a.example",
        "headers": [{"name": "Authorization", "value": "Bearer hunter2"}]}});
    let made = h.post(&collection(&http_endpoint::KIND), body).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let path = format!("{}/e?showsensitive=true", collection(&http_endpoint::KIND));
    let field = format!("{uid}/spec.headers.Authorization");
    h.fake.secrets.lock().unwrap().insert(field, "Bearer hunter2".into());
    assert_eq!(h.get(&path).await["spec"]["headers"][0]["value"], "Bearer hunter2");
    let viewer = h.key("viewer", "").await;
    assert_eq!(h.call(&viewer, Method::GET, &path, Value::Null).await.0, 403);
    let read = h.events("action=httpendpoints.readSecrets&outcome=success").await;
    assert_eq!(read.len(), 1, "{read:?}");
}

#[tokio::test]
async fn an_app_id_names_a_configuration_that_is_there_and_stays() {
    let h = Harness::new().await;
    let (apps, all) = (
        format!("{CRA}/projects/default/appids"),
        collection(&configuration::KIND),
    );
    let app = |name: &str, config: &str| json!({"metadata": {"name": name}, "spec": {"appConfig": config}});
    let (status, answer) = h.call(&h.admin, Method::POST, &apps, app("orders", "strict")).await;
    assert!(
        status == 400 && detail(&answer).contains("spec.appConfig: there is no such Configuration"),
        "{answer}"
    );
    h.project("other").await;
    let elsewhere = format!("{CRA}/projects/other/configurations");
    h.post(&elsewhere, json!({"metadata": {"name": "strict"}, "spec": {}}))
        .await;
    assert_eq!(
        h.call(&h.admin, Method::POST, &apps, app("orders", "strict")).await.0,
        400
    );
    h.post(&all, json!({"metadata": {"name": "strict"}, "spec": {}})).await;
    h.post(&apps, app("orders", "strict")).await;
    let one = format!("{all}/strict");
    let (status, answer) = h.call(&h.admin, Method::DELETE, &one, Value::Null).await;
    assert!(
        status == 409 && detail(&answer).contains("App ID orders runs with it"),
        "{answer}"
    );
    assert_eq!(
        h.call(&h.admin, Method::PUT, &format!("{apps}/orders"), app("orders", ""))
            .await
            .0,
        202
    );
    assert_eq!(h.call(&h.admin, Method::DELETE, &one, Value::Null).await.0, 202);
    let (status, _) = h.call(&h.admin, Method::POST, &apps, app("stock", "strict")).await;
    assert_eq!(status, 400, "one that is going away is not there");
}

#[test]
fn what_others_name_is_applied_before_them() {
    let place = |kind: &KindDefinition| registry::KINDS.iter().position(|one| one.kind == kind.kind);
    let order = [
        &configuration::KIND,
        &subscription::KIND,
        &resiliency::KIND,
        &http_endpoint::KIND,
    ];
    assert!(order.map(place).is_sorted());
    assert_eq!(
        place(&palladium_kinds::app_identity::KIND),
        Some(registry::KINDS.len() - 1)
    );
}
