//! Who may do what, over every route.

use http::Method;
use palladium_kinds::{Class, Role, registry};
use serde_json::{Value, json};

use super::{CRA, Harness, detail};
use crate::api::route::Route;
use crate::api::routes::routes;

/// The table of the roles as the documentation states it, written down once more on purpose.
fn expected(role: Role, class: Class) -> bool {
    match class {
        Class::Read => true,
        Class::ReadSensitive => role >= Role::ApiConsumer,
        Class::Write | Class::Operate => role >= Role::ApiOperator,
        Class::Admin => role == Role::Admin,
    }
}

/// A request that would do something harmless if it were allowed.
fn request(route: &Route, project: &str, attempt: usize) -> (String, Value) {
    let path = route.path().replace("{project}", project).replace("{name}", "nothing");
    let name = format!("n{attempt}");
    let kind = route.kind().map_or("", |kind| kind.kind);
    let body = match (route.method().as_str(), kind) {
        ("POST", "Project" | "AppIdentity") if !path.contains("tokens:") => json!({"metadata": {"name": name}}),
        ("POST", "Component") => json!({"metadata": {"name": name}, "spec": {"type": "state.diagrid"}}),
        ("PUT", "Component") => json!({"spec": {"type": "state.diagrid"}}),
        ("PUT" | "PATCH", _) => json!({"metadata": {"labels": {"n": name}}}),
        ("POST", "") => json!({"name": name, "role": "viewer", "scope": format!("project:{project}")}),
        _ => Value::Null,
    };
    (path, body)
}

#[tokio::test]
async fn sec_067_every_role_on_every_route_in_own_and_other_project() {
    let h = Harness::new().await;
    let (own, other) = (h.project("own").await, h.project("other").await);
    let mut attempt = 0;
    for role in Role::ALL {
        let name = role.as_str().trim_start_matches("cra.diagrid:");
        let (global, scoped) = (h.key(name, "").await, h.key(name, &own).await);
        for route in routes() {
            let Some(action) = route.action() else { continue };
            let by_role = expected(role, action.class);
            let in_project = route.path().contains("{project}");
            let for_project = in_project || action.name == "apikeys.create";
            for (key, is_global, project, is_own) in [
                (&global, true, &own, true),
                (&global, true, &other, false),
                (&scoped, false, &own, true),
                (&scoped, false, &other, false),
            ] {
                // Deleting a project for real would end the test; its rights are those of the other writes, and tested below.
                if action.name == "projects.delete" && by_role && (is_global || is_own) {
                    continue;
                }
                attempt += 1;
                let (path, body) = request(&route, project, attempt);
                let (status, answer) = h.call(key, route.method().clone(), &path, body).await;
                let seen = format!(
                    "{role} global={is_global} own={is_own} {} {path}: {status} {answer}",
                    route.method()
                );
                let hidden = detail(&answer) == "Project not found";
                // Collections that are not in a project show a scoped caller its own part of them.
                let partial = matches!(action.name, "projects.list" | "apikeys.list" | "organization.whoami");
                let reachable = is_global || (for_project && is_own) || partial;
                if for_project && !is_global && !is_own {
                    assert!(
                        status == 404 && hidden,
                        "what is not the caller's does not exist: {seen}"
                    );
                } else if by_role && (reachable || (action.name == "audit.list" && is_global)) {
                    // No region has joined, so what needs one is unavailable; any other failure would hide the verdict.
                    let answered = status < 500 || status == 503;
                    assert!(
                        answered && !hidden && ![401, 403].contains(&status),
                        "should be allowed: {seen}"
                    );
                } else {
                    assert_eq!(status, 403, "should be refused: {seen}");
                }
            }
        }
    }
}

#[tokio::test]
async fn sec_067_a_scoped_operator_may_delete_its_own_project_and_a_viewer_may_not() {
    let h = Harness::new().await;
    let own = h.project("own").await;
    let (viewer, operator) = (h.key("viewer", &own).await, h.key("apiOperator", &own).await);
    let path = format!("{CRA}/projects/own");
    assert_eq!(h.call(&viewer, Method::DELETE, &path, Value::Null).await.0, 403);
    assert_eq!(h.call(&operator, Method::DELETE, &path, Value::Null).await.0, 202);
}

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
