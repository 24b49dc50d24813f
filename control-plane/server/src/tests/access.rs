//! What is open to everybody, what is not there for others, what nobody may set.

use http::Method;
use palladium_kinds::registry;
use serde_json::{Value, json};

use super::{CRA, Harness};
use crate::api::routes::routes;

#[tokio::test]
async fn sec_068_every_route_has_a_declared_action_or_a_stated_reason() {
    // That a route without either does not compile is shown by the doc tests of `api/route.rs`.
    let h = Harness::new().await;
    let actions = registry::actions();
    let mut public = Vec::new();
    for route in routes() {
        match route.action() {
            Some(action) => {
                assert!(
                    actions.contains(&action),
                    "{} is not in the registry, so no policy knows it",
                    action.name
                );
                let path = route
                    .path()
                    .replace("{project}", "default")
                    .replace("{name}", "kvstore");
                let (status, _) = h.call("", route.method().clone(), &path, Value::Null).await;
                assert_eq!(status, 401, "{} {path} without a key", route.method());
            }
            None => public.push(route.path().to_owned()),
        }
    }
    assert_eq!(
        public,
        ["/healthz", "/openapi.json", "/cli.envs.json"],
        "a new public path is a decision"
    );
}

#[tokio::test]
async fn sec_069_ids_of_others_are_answered_like_ids_of_nobody() {
    let h = Harness::new().await;
    let (own, other) = (h.project("own").await, h.project("other").await);
    h.post(
        &format!("{CRA}/projects/other/appids"),
        json!({"metadata": {"name": "victim"}}),
    )
    .await;
    let victim = h.get(&format!("{CRA}/projects/other/appids/victim")).await["metadata"]["uid"].clone();
    let key = h.key("admin", &own).await;
    let nobody = "prj-aaaaaaaaaaaa";
    // In the path: the same bytes for a project of somebody else and for none at all.
    for tail in [
        "",
        "/appids",
        "/appids/victim",
        "/appids/victim?showsensitive=true",
        "/components",
    ] {
        let theirs = h
            .call(&key, Method::GET, &format!("{CRA}/projects/{other}{tail}"), Value::Null)
            .await;
        let none = h
            .call(
                &key,
                Method::GET,
                &format!("{CRA}/projects/{nobody}{tail}"),
                Value::Null,
            )
            .await;
        assert_eq!(theirs, none);
        assert_eq!(theirs.0, 404);
    }
    // In the body, in a scope, in a filter.
    let apps = format!("{CRA}/projects/own/appids");
    for body in [
        json!({"metadata": {"name": "a"}, "spec": {"projectId": other}}),
        json!({"metadata": {"name": "a", "projectId": other}}),
    ] {
        assert_eq!(h.call(&key, Method::POST, &apps, body).await.0, 404);
    }
    let scope = json!({"name": "k", "role": "viewer", "scope": format!("project:{other}")});
    assert_eq!(
        h.call(&key, Method::POST, &format!("{CRA}/apikeys"), scope).await.0,
        404
    );
    for project in [other.as_str(), "other", nobody] {
        let path = format!("{CRA}/audit?project={project}");
        assert_eq!(h.call(&key, Method::GET, &path, Value::Null).await.0, 404, "{project}");
    }
    assert_eq!(
        h.call(&key, Method::GET, &format!("{CRA}/audit?project=own"), Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(
        h.call(&key, Method::GET, &format!("{CRA}/audit"), Value::Null).await.0,
        403
    );
    // In a list: only its own. And a uid of another object is no way to it.
    let (_, listed) = h.call(&key, Method::GET, &format!("{CRA}/projects"), Value::Null).await;
    let names: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(names, ["own"]);
    h.post(&apps, json!({"metadata": {"name": "mine"}})).await;
    let swapped = json!({"metadata": {"name": "mine", "uid": victim}, "spec": {"protocol": "grpc"}});
    assert_eq!(h.call(&key, Method::PUT, &format!("{apps}/mine"), swapped).await.0, 409);
    for path in [
        "own%2f..%2fother/appids/victim",
        "own/appids/..%2f..%2fother%2fappids%2fvictim",
        "own/appids/%00",
    ] {
        assert_eq!(
            h.call(&key, Method::GET, &format!("{CRA}/projects/{path}"), Value::Null)
                .await
                .0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn sec_070_a_viewer_reads_no_secret_and_nobody_assigns_what_is_the_servers() {
    let h = Harness::new().await;
    let apps = format!("{CRA}/projects/default/appids");
    let made = h
        .post(
            &apps,
            json!({"metadata": {"name": "a"}, "spec": {"appEndpoint": {"url": "http://a:1", "token": "app-secret"}}}),
        )
        .await;
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    h.fake.secrets.lock().unwrap().insert(uid.clone(), "pldt_secret".into());
    h.fake
        .secrets
        .lock()
        .unwrap()
        .insert(format!("{uid}/spec.appEndpoint.token"), "app-secret".into());
    let one = format!("{apps}/a");
    let viewer = h.key("viewer", "").await;
    for query in ["", "?showsensitive=false"] {
        let (status, seen) = h
            .call(&viewer, Method::GET, &format!("{one}{query}"), Value::Null)
            .await;
        assert_eq!(status, 200);
        assert!(
            !seen.to_string().contains("secret") && seen["status"].get("apiToken").is_none(),
            "{seen}"
        );
    }
    assert_eq!(
        h.call(&viewer, Method::GET, &format!("{one}?showsensitive=true"), Value::Null)
            .await
            .0,
        403
    );
    let (_, listed) = h.call(&viewer, Method::GET, &apps, Value::Null).await;
    assert!(!listed.to_string().contains("secret"), "{listed}");
    assert!(
        h.fake.asked.lock().unwrap().is_empty(),
        "the region was never asked on a viewer's behalf"
    );
    // A consumer reads the token by default, the application's token when asked.
    let consumer = h.key("apiConsumer", "").await;
    let (_, seen) = h.call(&consumer, Method::GET, &one, Value::Null).await;
    assert_eq!(seen["status"]["apiToken"], "pldt_secret");
    assert!(!seen.to_string().contains("app-secret"));
    let (_, seen) = h
        .call(
            &consumer,
            Method::GET,
            &format!("{one}?showsensitive=true"),
            Value::Null,
        )
        .await;
    assert_eq!(seen["spec"]["appEndpoint"]["token"], "app-secret");
    // Mass assignment: unknown is refused, server-owned is ignored.
    for body in [
        json!({"name": "k", "role": "viewer", "orgId": "x"}),
        json!({"name": "k", "role": "viewer", "createdBy": "root"}),
    ] {
        assert_eq!(
            h.call(&h.admin, Method::POST, &format!("{CRA}/apikeys"), body).await.0,
            400
        );
    }
    let body = json!({"metadata": {"name": "b", "finalizers": [], "generation": 99, "createdAt": "2000-01-01 00:00:00"},
        "status": {"status": "ready", "apiToken": "forged"}});
    let made = h.post(&apps, body).await;
    assert_eq!(
        (&made["metadata"]["generation"], &made["status"]["status"]),
        (&json!(1), &json!("pending"))
    );
    assert!(
        !made.to_string().contains("forged") && !made["metadata"]["createdAt"].as_str().unwrap().starts_with("2000")
    );
}
