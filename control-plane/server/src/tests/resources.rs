//! The verbs of kinds, in Catalyst's shapes.

use http::Method;
use palladium_kinds::status::{Report, Verdict};
use serde_json::{Value, json};

use super::{CRA, Harness, detail};

#[tokio::test]
async fn the_first_start_leaves_a_project_with_its_store() {
    let h = Harness::new().await;
    let projects = h.get(&format!("{CRA}/projects")).await;
    assert_eq!(projects["items"][0]["metadata"]["name"], "default");
    let kvstore = h.get(&format!("{CRA}/projects/default/components/kvstore")).await;
    assert_eq!(kvstore["spec"]["type"], "state.diagrid");
    assert_eq!(kvstore["apiVersion"], "dapr.io/v1alpha1");
    let region = h.get(&format!("{CRA}/regions/local")).await;
    for field in ["type", "ingress", "host", "location"] {
        assert!(region["spec"][field].is_string(), "{field}");
    }
    assert_eq!(region["status"]["id"], json!(h.region.as_str()));
    assert_eq!(
        region["status"]["trustDomain"],
        json!(format!("{}.palladium.internal", h.region))
    );
    assert_eq!(region["status"]["connected"], json!(false));
    assert_eq!(h.get(&format!("{CRA}/regions")).await["items"][0], region);
    assert_eq!(
        h.get(&format!("{CRA}/whoami")).await["roles"][0]["role"],
        "cra.diagrid:admin"
    );
}

#[tokio::test]
async fn an_app_id_lives_through_all_verbs() {
    let h = Harness::new().await;
    let id = h.project("Shop").await;
    let apps = format!("{CRA}/projects/shop/appids");
    let body = json!({"apiVersion": "cra.diagrid.io/v1beta1", "kind": "AppIdentity",
        "metadata": {"name": "Orders", "labels": {"team": "a"}}, "spec": {}, "status": {}});
    let (status, made) = h.call(&h.admin, Method::POST, &apps, body.clone()).await;
    assert_eq!(
        (status, &made["metadata"]["name"], &made["status"]["status"]),
        (202, &json!("orders"), &json!("pending"))
    );
    assert_eq!(made["spec"]["projectId"], json!(id));
    assert!(made["metadata"]["createdAt"].as_str().unwrap().len() == 19, "{made}");
    let (status, again) = h.call(&h.admin, Method::POST, &apps, body).await;
    assert_eq!(status, 409);
    assert!(
        detail(&again).contains("an App ID with the same name already exists"),
        "{again}"
    );
    // By the project's id as well as by its name.
    let one = format!("{CRA}/projects/{id}/appids/orders");
    let read = h.get(&one).await;
    assert_eq!(read["metadata"]["uid"], made["metadata"]["uid"]);
    // A merge patch changes what it names; what was read can be sent back.
    let patch = json!({"metadata": {"labels": {"tier": "1"}}, "spec": {"protocol": "grpc"}});
    let (status, patched) = h.call(&h.admin, Method::PATCH, &one, patch).await;
    assert_eq!(
        (status, &patched["spec"]["protocol"], &patched["metadata"]["generation"]),
        (202, &json!("grpc"), &json!(2))
    );
    assert_eq!(patched["metadata"]["labels"], json!({"team": "a", "tier": "1"}));
    let (status, same) = h.call(&h.admin, Method::PUT, &one, patched.clone()).await;
    assert_eq!(
        (status, &same["metadata"]["generation"]),
        (202, &json!(2)),
        "the same again is no change: {same}"
    );
    // The version that was read first is stale now.
    let mut stale = read.clone();
    stale["spec"]["protocol"] = "http".into();
    let (status, _) = h.call(&h.admin, Method::PUT, &one, stale).await;
    assert_eq!(status, 409);
    let (status, gone) = h.call(&h.admin, Method::DELETE, &one, Value::Null).await;
    assert_eq!((status, &gone["status"]["status"]), (202, &json!("deleting")));
    assert!(
        gone["status"]["messages"][0]["message"]
            .as_str()
            .unwrap()
            .contains("your own components")
    );
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let report = Report {
        generation: 2,
        verdict: Verdict::Deleted,
        reason: "Gone".into(),
        message: String::new(),
        field: String::new(),
        details: Default::default(),
    };
    h.store.status_report(h.region.as_str(), uid, report).await.unwrap();
    let (status, _) = h.call(&h.admin, Method::GET, &one, Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_status_report_does_not_stand_in_the_way_of_a_change() {
    let h = Harness::new().await;
    let one = format!("{CRA}/projects/default");
    let read = h.get(&one).await;
    let report = Report {
        generation: 1,
        verdict: Verdict::Ready,
        reason: "Serving".into(),
        message: String::new(),
        field: String::new(),
        details: json!({"endpoints": {"http": {"url": "https://localhost:8443", "port": 8443}}})
            .as_object()
            .cloned()
            .unwrap(),
    };
    h.store
        .status_report(h.region.as_str(), read["metadata"]["uid"].as_str().unwrap(), report)
        .await
        .unwrap();
    let mut wanted = read;
    wanted["spec"]["displayName"] = "Default project".into();
    let (status, changed) = h.call(&h.admin, Method::PATCH, &one, wanted).await;
    assert_eq!(
        (status, &changed["status"]["status"]),
        (202, &json!("updating")),
        "{changed}"
    );
    assert_eq!(changed["status"]["endpoints"]["http"]["port"], 8443);
}

#[tokio::test]
async fn mistakes_are_named_with_field_and_remedy() {
    let h = Harness::new().await;
    let apps = format!("{CRA}/projects/default/appids");
    for (body, expected) in [
        (json!({"metadata": {"name": "a.b"}}), "metadata.name"),
        (json!({"metadata": {}}), "metadata.name: is missing"),
        (
            json!({"metadata": {"name": "a"}, "spec": {"protcol": "http"}}),
            "spec.protcol: unknown field",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"protocol": "tcp"}}),
            "spec.protocol: unknown value; use",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"appEndpoint": {"url": "ftp://x"}}}),
            "spec.appEndpoint.url",
        ),
        (json!({"kind": "Component", "metadata": {"name": "a"}}), "kind"),
        (json!([]), "not a JSON object"),
    ] {
        let (status, answer) = h.call(&h.admin, Method::POST, &apps, body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(detail(&answer).contains(expected), "{answer} should say {expected}");
        assert_eq!(
            (&answer["errors"][0]["status"], &answer["errors"][0]["title"]),
            (&json!(400), &json!("Bad Request"))
        );
    }
    let components = format!("{CRA}/projects/default/components");
    for (kind, expected) in [("state.nothing", "not known"), ("bindings.localstorage", "not hosted")] {
        let body = json!({"metadata": {"name": "c"}, "spec": {"type": kind}});
        let (status, answer) = h.call(&h.admin, Method::POST, &components, body).await;
        assert_eq!(status, 400);
        assert!(detail(&answer).contains(expected), "{answer}");
    }
    let change = json!({"spec": {"type": "state.redis"}});
    let (status, answer) = h
        .call(&h.admin, Method::PATCH, &format!("{components}/kvstore"), change)
        .await;
    assert_eq!(status, 400);
    assert!(detail(&answer).contains("cannot be changed once created"), "{answer}");
    let region = json!({"metadata": {"name": "x"}, "spec": {"region": "moon"}});
    let (status, answer) = h.call(&h.admin, Method::POST, &format!("{CRA}/projects"), region).await;
    assert_eq!(status, 400);
    assert!(detail(&answer).contains("no such region"), "{answer}");
}

#[tokio::test]
async fn oversized_malformed_and_unknown_requests_are_answered_in_the_same_form() {
    let h = Harness::new().await;
    let path = format!("{CRA}/projects");
    let big = json!({"metadata": {"name": "a", "annotations": {"x": "y".repeat(2_000_000)}}});
    assert_eq!(h.call(&h.admin, Method::POST, &path, big).await.0, 413);
    let raw = |kind: &str, text: &str| {
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header("x-diagrid-api-key", &h.admin);
        request
            .header("content-type", kind)
            .body(axum::body::Body::from(text.to_owned()))
            .unwrap()
    };
    let (status, body) = h.send(raw("application/json", "{\"password\": \"hunter2\" oops")).await;
    assert_eq!(status, 400);
    assert!(
        !body.to_string().contains("hunter2") && detail(&body).contains("line 1"),
        "{body}"
    );
    assert_eq!(h.send(raw("application/xml", "<a/>")).await.0, 415);
    for (method, path, expected) in [(Method::GET, "/nothing", 404), (Method::PUT, "/healthz", 405)] {
        let (status, body) = h.call(&h.admin, method, path, Value::Null).await;
        assert_eq!(
            (status, body["errors"][0]["status"].as_u64()),
            (expected, Some(u64::from(expected)))
        );
    }
    assert_eq!(h.call("", Method::GET, "/healthz", Value::Null).await.0, 200);
    assert_eq!(
        h.call("", Method::GET, "/cli.envs.json", Value::Null).await.1["apiUrl"],
        "https://localhost:7443"
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let h = Harness::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        h.post(
            &format!("{CRA}/projects/default/appids"),
            json!({"metadata": {"name": name}}),
        )
        .await;
    }
    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let page = h
            .get(&format!("{CRA}/projects/default/appids?limit=2&continue={next}"))
            .await;
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        match page["metadata"]["continue"].as_str() {
            Some(more) => next = more.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn rotation_and_revocation_only_ever_go_up() {
    let h = Harness::new().await;
    h.post(
        &format!("{CRA}/projects/default/appids"),
        json!({"metadata": {"name": "a"}}),
    )
    .await;
    let one = format!("{CRA}/projects/default/appids/a");
    let spec = |object: &Value| {
        (
            object["spec"]["apiTokenRevision"].as_u64().unwrap(),
            object["spec"]["apiTokenMinimumRevision"].as_u64().unwrap(),
        )
    };
    assert_eq!(
        spec(&h.post(&format!("{one}/tokens:rotate"), Value::Null).await),
        (1, 0)
    );
    assert_eq!(
        spec(&h.post(&format!("{one}/tokens:revoke"), Value::Null).await),
        (2, 2)
    );
    // A file that does not speak of revisions keeps them; one that lowers them is refused.
    let (status, kept) = h
        .call(&h.admin, Method::PUT, &one, json!({"spec": {"protocol": "grpc"}}))
        .await;
    assert_eq!((status, spec(&kept)), (202, (2, 2)));
    assert_eq!(
        h.call(&h.admin, Method::PATCH, &one, json!({"spec": {"apiTokenRevision": 1}}))
            .await
            .0,
        400
    );
    assert_eq!(h.get(&format!("{one}/tokens")).await["items"], json!([]));
}

#[test]
fn the_committed_openapi_document_is_fresh() {
    let committed = include_str!("../../openapi.json");
    let made = serde_json::to_string_pretty(&crate::api::openapi::document()).unwrap() + "\n";
    assert!(committed == made, "run: cargo xtask generate");
    let committed = include_str!("../../../../docs/generated/role-matrix.md");
    assert!(
        committed == palladium_authz::role_matrix().unwrap(),
        "run: cargo xtask generate"
    );
}

#[tokio::test]
async fn a_scope_that_names_nobody_is_told_until_it_does() {
    let h = Harness::new().await;
    let project = format!("{CRA}/projects/default");
    let body = json!({"metadata": {"name": "c"}, "spec": {"type": "state.diagrid"}, "scopes": ["orders", "nosuchapp"]});
    let told = |object: &Value| {
        let messages = object["status"]["messages"].as_array().cloned().unwrap_or_default();
        let texts = messages.iter().filter_map(|message| message["message"].as_str());
        texts
            .filter_map(|text| text.strip_prefix("scope ")?.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(&h.post(&format!("{project}/components"), body).await),
        ["orders", "nosuchapp"]
    );
    h.post(
        &format!("{project}/appids"),
        json!({"metadata": {"name": "orders"}, "spec": {}}),
    )
    .await;
    assert_eq!(told(&h.get(&format!("{project}/components/c")).await), ["nosuchapp"]);
    let list = h.get(&format!("{project}/components")).await;
    let listed = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["metadata"]["name"] == "c")
        .unwrap();
    assert_eq!(told(listed), ["nosuchapp"]);
    h.post(
        &format!("{project}/appids"),
        json!({"metadata": {"name": "nosuchapp"}, "spec": {}}),
    )
    .await;
    assert!(told(&h.get(&format!("{project}/components/c")).await).is_empty());
}

#[tokio::test]
async fn a_body_with_a_key_twice_is_refused_without_its_text() {
    let h = Harness::new().await;
    let body = r#"{"metadata": {"name": "hunter2"}, "spec": {}, "spec": {"hunter2": 1}}"#;
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("{CRA}/projects"));
    let request = request
        .header("x-diagrid-api-key", &h.admin)
        .header("content-type", "application/json");
    let (status, answer) = h.send(request.body(axum::body::Body::from(body)).unwrap()).await;
    assert_eq!(status, 400);
    assert!(
        detail(&answer).contains("twice") && !answer.to_string().contains("hunter2"),
        "{answer}"
    );
}
