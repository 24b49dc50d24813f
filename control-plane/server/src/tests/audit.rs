//! The audit log over the API.

use http::Method;
use serde_json::{Value, json};

use super::{CRA, Harness, detail, minimal};
use crate::api::route::Route;
use crate::api::routes::routes;

/// Makes what the route needs and answers the request that will succeed.
async fn prepared(h: &Harness, route: &Route, number: usize) -> (String, Value) {
    let kind = route.kind().map_or("", |kind| kind.kind);
    let (project, name) = (format!("p{number}"), format!("n{number}"));
    let creates =
        route.method() == Method::POST && route.action().is_some_and(|action| action.name.ends_with(".create"));
    let spec = minimal(kind);
    let object = |name: &str| json!({"metadata": {"name": name}, "spec": spec});
    let path = |text: &str| text.replace("{project}", &project).replace("{name}", &name);
    match kind {
        "Project" if creates => return (path(route.path()), object(&project)),
        "Project" => {
            h.project(&project).await;
        }
        "AppIdentity" | "Component" | "Subscription" | "Configuration" | "Resiliency" | "HTTPEndpoint" => {
            h.project(&project).await;
            let plural = route.kind().map_or("", |kind| kind.plural);
            if !creates {
                h.post(&format!("{CRA}/projects/{project}/{plural}"), object(&name))
                    .await;
            }
        }
        "Region" => return (route.path().replace("{name}", "second"), Value::Null),
        "" if creates => return (path(route.path()), json!({"name": name, "role": "viewer"})),
        "" => {
            h.post(&format!("{CRA}/apikeys"), json!({"name": name, "role": "viewer"}))
                .await;
        }
        other => panic!("how is a {other} made? A new kind needs a line here"),
    }
    let body = match route.method().as_str() {
        "POST" if creates => object(&name),
        "PUT" => json!({"metadata": {"labels": {"a": "b"}}, "spec": spec}),
        "PATCH" => json!({"metadata": {"labels": {"c": "d"}}}),
        _ => Value::Null,
    };
    (path(route.path()), body)
}

/// A region that has not joined, for its join token.
pub(super) async fn second_region(h: &Harness) {
    use palladium_control_store::{Create, Mutation};
    use palladium_kinds::{RegionId, ids, region};
    let create = Create {
        kind: "Region".into(),
        project: None,
        id: RegionId::generate().to_string(),
        region: None,
        name: "second".into(),
        uid: ids::new_uid(),
        content: (region::KIND.normalize)(json!({"spec": {}})).unwrap(),
        labels: Default::default(),
        annotations: Default::default(),
        finalizers: vec![],
        sealed: vec![],
    };
    let record = palladium_audit::Record {
        actor: Default::default(),
        action: "test",
        resource: Default::default(),
        source: Default::default(),
    };
    let event = record.event(palladium_audit::Outcome::Success, 202, "");
    h.store
        .commit(&h.organization, vec![Mutation::Create(create)], event)
        .await
        .unwrap();
}

#[tokio::test]
async fn sec_127_every_mutating_route_is_recorded_exactly_once() {
    let h = Harness::new().await;
    second_region(&h).await;
    let mut covered = 0;
    for (number, route) in routes().iter().filter(|route| route.is_mutating()).enumerate() {
        let action = route.action().unwrap();
        let (path, body) = prepared(&h, route, number).await;
        let before = h.events("").await.len();
        let (status, answer) = h.call(&h.admin, route.method().clone(), &path, body).await;
        assert!(
            (200..300).contains(&status),
            "{} {path}: {status} {answer}",
            route.method()
        );
        let events = h.events("").await;
        assert_eq!(events.len(), before + 1, "{} {path}", route.method());
        let event = &events[0];
        assert_eq!(
            (&event["action"], &event["outcome"], &event["status"]),
            (&json!(action.name), &json!("success"), &json!(status))
        );
        assert_eq!(
            (&event["actor"]["type"], &event["actor"]["name"]),
            (&json!("apikey"), &json!("admin"))
        );
        assert_eq!(event["source"]["userAgent"], "test/1");
        assert!(event["source"]["requestId"].as_str().is_some_and(|id| !id.is_empty()));
        assert!(
            !event["resource"]["name"].as_str().unwrap().is_empty()
                && !event["resource"]["uid"].as_str().unwrap().is_empty(),
            "{event}"
        );
        assert_eq!(event["source"]["ip"], "192.0.2.7", "{event}");
        // What is made has nothing before, what is deleted nothing after; neither stands for the state of an object otherwise.
        let hashes = ["beforeHash", "afterHash"].map(|side| event[side].as_str().is_some_and(|hash| hash.len() == 64));
        let kept = match (route.method().as_str(), action.name.ends_with(".create")) {
            ("POST", _) if action.name.contains("oinToken") => [false, false],
            ("POST", true) => [false, true],
            ("DELETE", _) => [true, false],
            _ => [true, true],
        };
        assert_eq!(hashes, kept, "{event}");
        let changed = matches!(route.method().as_str(), "PUT" | "PATCH") || action.name.contains("tokensR");
        if changed {
            assert_ne!(event["beforeHash"], event["afterHash"], "{event}");
            assert!(!event["changes"].as_array().unwrap().is_empty(), "{event}");
        }
        covered += 1;
    }
    assert!(covered >= 20, "{covered}");
}

#[tokio::test]
async fn sec_128_refusals_and_failures_are_recorded() {
    let h = Harness::new().await;
    let own = h.project("own").await;
    let viewer = h.key("viewer", &own).await;
    let apps = format!("{CRA}/projects/own/appids");
    assert_eq!(
        h.call(&viewer, Method::POST, &apps, json!({"metadata": {"name": "a"}}))
            .await
            .0,
        403
    );
    let event = &h.events("outcome=refused&action=appids.create").await[0];
    assert_eq!(
        (&event["status"], &event["resource"]["name"]),
        (&json!(403), &json!("a")),
        "{event}"
    );
    assert!(event["reason"].as_str().unwrap().contains("appids.create"));
    assert_eq!(
        event["resource"]["projectId"],
        json!(own),
        "by its id, so that a filter finds it"
    );
    // Looking where one may not look is a refusal too, whatever the answer pretends.
    assert_eq!(
        h.call(&viewer, Method::GET, &format!("{CRA}/projects/default"), Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(h.events("outcome=refused&action=projects.get").await.len(), 1);
    assert_eq!(
        h.call(&h.admin, Method::POST, &apps, json!({"metadata": {"name": "a.b"}}))
            .await
            .0,
        400
    );
    assert_eq!(h.events("outcome=failed&action=appids.create").await.len(), 1);
    // Strangers: a few events, however many they are.
    for _ in 0..50 {
        assert_eq!(h.call("x", Method::GET, &apps, Value::Null).await.0, 401);
    }
    let strangers = h.events("outcome=refused&action=appids.list").await;
    assert_eq!(strangers.len(), 10);
    assert_eq!(strangers[0]["actor"]["type"], "unauthenticated");
    assert_eq!(strangers[0]["actor"]["name"], "anonymous");
    // How many they were is recorded when the flood is over.
    let a_minute_later = palladium_kinds::Timestamp::now().unix_millis() + 60_000;
    h.app.summarize(a_minute_later).await;
    let counted = h.events("action=unauthenticated").await;
    assert_eq!(counted.len(), 1);
    assert_eq!(
        (&counted[0]["count"], &counted[0]["outcome"], &counted[0]["status"]),
        (&json!(40), &json!("refused"), &json!(401))
    );
}

#[tokio::test]
async fn sec_128_a_caller_who_is_refused_all_the_time_does_not_fill_the_log() {
    let h = Harness::new().await;
    h.project("own").await;
    let viewer = h.key("viewer", "").await;
    let (apps, before) = (format!("{CRA}/projects/own/appids"), h.events("").await.len());
    for n in 0..50 {
        let body = json!({"metadata": {"name": format!("a{n}")}});
        assert_eq!(h.call(&viewer, Method::POST, &apps, body).await.0, 403);
        // What cannot be meant is refused before anybody asks whether it is allowed.
        assert_eq!(
            h.call(&viewer, Method::POST, &apps, json!({"metadata": 1})).await.0,
            400
        );
    }
    assert_eq!(h.events("").await.len(), before + 20);
    // One who does the same meanwhile is seen.
    let other = h.key("viewer", "").await;
    let body = json!({"metadata": {"name": "a"}});
    assert_eq!(h.call(&other, Method::POST, &apps, body).await.0, 403);
    assert_eq!(h.events("action=appids.create&outcome=refused").await.len(), 11);
    h.app.summarize(i64::MAX).await;
    for (outcome, status) in [("refused", 403), ("failed", 400)] {
        let counted = &h.events(&format!("action=appids.create&outcome={outcome}")).await[0];
        assert_eq!(
            (&counted["count"], &counted["status"], &counted["actor"]["type"]),
            (&json!(40), &json!(status), &json!("apikey")),
            "{counted}"
        );
    }
    // Nothing is told twice.
    let told = h.events("").await.len();
    h.app.summarize(i64::MAX).await;
    assert_eq!(h.events("").await.len(), told);
}

#[tokio::test]
async fn sec_127_a_join_token_that_cannot_be_made_is_recorded_once_and_as_a_failure() {
    let h = Harness::new().await;
    second_region(&h).await;
    h.fake.has_no_roots.store(true, std::sync::atomic::Ordering::Relaxed);
    let path = format!("{CRA}/regions/second/jointoken");
    let before = h.events("").await.len();
    let (status, body) = h.call(&h.admin, Method::POST, &path, Value::Null).await;
    assert_eq!(status, 503, "{body}");
    let events = h.events("").await;
    assert_eq!(events.len(), before + 1);
    assert_eq!(
        (
            &events[0]["outcome"],
            &events[0]["status"],
            &events[0]["resource"]["name"]
        ),
        (&json!("failed"), &json!(503), &json!("second"))
    );
    h.fake.has_no_roots.store(false, std::sync::atomic::Ordering::Relaxed);
    let (status, body) = h.call(&h.admin, Method::POST, &path, Value::Null).await;
    assert_eq!((status, &body["joinToken"]), (201, &json!("plj_test")), "{body}");
    let events = h.events("").await;
    assert_eq!((events.len(), &events[0]["outcome"]), (before + 2, &json!("success")));
}

#[tokio::test]
async fn sec_133_nothing_that_a_client_sends_breaks_a_line_of_the_log() {
    let h = Harness::new().await;
    let agent = [
        b"curl/8 \x1b[31m".as_slice(),
        "\u{202e}evil".as_bytes(),
        &[0xff, 0xfe],
        &[b'A'; 5000],
    ]
    .concat();
    let agent: Vec<u8> = agent.into_iter().filter(|byte| *byte >= 0x20).collect();
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("{CRA}/projects/default/appids"))
        .header("x-diagrid-api-key", &h.admin)
        .header("user-agent", http::HeaderValue::from_bytes(&agent).unwrap())
        .body(axum::body::Body::from(
            json!({"metadata": {"name": "a", "annotations": {"note": "x".repeat(4096)}}}).to_string(),
        ))
        .unwrap();
    assert_eq!(h.send(request).await.0, 202);
    let path = format!("{CRA}/projects/default/appids/x%0d%0aforged%20line%1b%5b2J");
    assert_eq!(h.call(&h.admin, Method::DELETE, &path, Value::Null).await.0, 404);
    for event in h.events("").await {
        let text = event.to_string();
        assert!(text.len() < 8_000, "{}", text.len());
        let mut harmful = text
            .chars()
            .filter(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(harmful.next(), None, "{text}");
    }
    let forged = &h.events("outcome=failed&action=appids.delete").await[0];
    assert!(
        forged["resource"]["name"]
            .as_str()
            .unwrap()
            .contains("\\u{d}\\u{a}forged"),
        "{forged}"
    );
}

#[tokio::test]
async fn a_misspelt_action_is_told_and_every_recorded_one_is_known() {
    let h = Harness::new().await;
    let (status, body) = h
        .call(
            &h.admin,
            Method::GET,
            &format!("{CRA}/audit?action=appid.create"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 400);
    assert!(detail(&body).contains("appids.create"), "{body}");
    let all = h.events("").await;
    assert!(!all.is_empty());
    for event in all {
        let action = event["action"].as_str().unwrap();
        assert!(!h.events(&format!("action={action}")).await.is_empty(), "{action}");
    }
}
