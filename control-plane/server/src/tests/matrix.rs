//! Who may do what: every role on every action, with keys of every scope, and the exact answer to each.
//!
//! One idea: what is asked for exists and the request is a good one, so that a permitted call succeeds and nothing but the
//! permission decides. A route or an action without a row fails.

use std::collections::BTreeSet;

use http::Method;
use palladium_kinds::{Class, Role, Scope, registry};
use serde_json::{Value, json};

use super::audit::second_region;
use super::{CRA, Harness, detail, minimal};
use crate::api::route::Route;
use crate::api::routes::routes;

/// The table of the roles as the documentation states it, written down once more on purpose.
fn permitted(role: Role, class: Class) -> bool {
    match class {
        Class::Read => true,
        Class::ReadSensitive => role >= Role::ApiConsumer,
        Class::Write | Class::Operate => role >= Role::ApiOperator,
        Class::Admin => role == Role::Admin,
    }
}

/// What an action is about, for callers who have a role on one project only.
#[derive(Clone, Copy, PartialEq)]
enum About {
    /// A project: another one does not exist for them.
    Project,
    /// A collection of which they see their own part.
    Part,
    /// A key: that of another project does not concern them.
    Key,
    /// The organization: not theirs.
    Organization,
}

/// Action, the answer to whoever may, and what it is about.
const ROWS: &[(&str, u16, About)] = &[
    ("projects.list", 200, About::Part),
    ("projects.get", 200, About::Project),
    ("projects.create", 202, About::Organization),
    ("projects.update", 202, About::Project),
    ("projects.delete", 202, About::Project),
    ("appids.list", 200, About::Project),
    ("appids.get", 200, About::Project),
    ("appids.readToken", 200, About::Project),
    ("appids.create", 202, About::Project),
    ("appids.update", 202, About::Project),
    ("appids.delete", 202, About::Project),
    ("appids.tokensList", 200, About::Project),
    ("appids.tokensRotate", 202, About::Project),
    ("appids.tokensRevoke", 202, About::Project),
    ("components.list", 200, About::Project),
    ("components.get", 200, About::Project),
    ("components.readSecrets", 200, About::Project),
    ("components.create", 202, About::Project),
    ("components.update", 202, About::Project),
    ("components.delete", 202, About::Project),
    ("subscriptions.list", 200, About::Project),
    ("subscriptions.get", 200, About::Project),
    ("subscriptions.create", 202, About::Project),
    ("subscriptions.update", 202, About::Project),
    ("subscriptions.delete", 202, About::Project),
    ("configurations.list", 200, About::Project),
    ("configurations.get", 200, About::Project),
    ("configurations.readSecrets", 200, About::Project),
    ("configurations.create", 202, About::Project),
    ("configurations.update", 202, About::Project),
    ("configurations.delete", 202, About::Project),
    ("resiliencies.list", 200, About::Project),
    ("resiliencies.get", 200, About::Project),
    ("resiliencies.create", 202, About::Project),
    ("resiliencies.update", 202, About::Project),
    ("resiliencies.delete", 202, About::Project),
    ("httpendpoints.list", 200, About::Project),
    ("httpendpoints.get", 200, About::Project),
    ("httpendpoints.readSecrets", 200, About::Project),
    ("httpendpoints.create", 202, About::Project),
    ("httpendpoints.update", 202, About::Project),
    ("httpendpoints.delete", 202, About::Project),
    ("regions.list", 200, About::Organization),
    ("regions.get", 200, About::Organization),
    ("regions.joinTokenCreate", 201, About::Organization),
    ("apikeys.list", 200, About::Part),
    ("apikeys.create", 201, About::Project),
    ("apikeys.delete", 200, About::Key),
    ("audit.list", 200, About::Organization),
    ("organization.whoami", 200, About::Part),
];

/// Whose key asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Global,
    /// Of the project that is asked about.
    Own,
    /// Of another one.
    Other,
}

fn expected(role: Role, class: Class, (_, success, about): (&str, u16, About), key: Key) -> u16 {
    match (about, key) {
        (About::Project, Key::Other) => 404,
        (About::Key, Key::Other) | (About::Organization, Key::Own | Key::Other) => 403,
        _ if permitted(role, class) => success,
        _ => 403,
    }
}

/// Makes what the route is about, in `project`, and answers the request.
async fn request(h: &Harness, route: &Route, project: &str, name: &str) -> (String, Value) {
    let kind = route.kind().map_or("", |kind| kind.kind);
    let (one, method) = (route.path().contains("{name}"), route.method().as_str());
    let spec = minimal(kind);
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let key = json!({"name": name, "role": "viewer", "scope": format!("project:{project}")});
    match route.kind() {
        Some(kind) if one && kind.scope == Scope::Project => {
            h.post(&format!("{CRA}/projects/{project}/{}", kind.plural), object.clone())
                .await;
        }
        None if one => {
            h.post(&format!("{CRA}/apikeys"), key.clone()).await;
        }
        _ => {}
    }
    let name = if kind == "Region" { "second" } else { name };
    let path = route.path().replace("{project}", project).replace("{name}", name);
    let body = match method {
        "POST" if one => Value::Null,
        "POST" if kind.is_empty() => key,
        "POST" => object,
        "PUT" => json!({"metadata": {"labels": {"n": name}}, "spec": spec}),
        "PATCH" => json!({"metadata": {"labels": {"n": name}}}),
        _ => Value::Null,
    };
    (path, body)
}

#[tokio::test]
async fn sec_067_every_role_on_every_action_in_own_and_other_project() {
    let h = Harness::new().await;
    second_region(&h).await;
    let (own, other) = (h.project("own").await, h.project("other").await);
    let (mut attempt, mut covered) = (0, BTreeSet::new());
    for role in Role::ALL {
        let role_name = role.as_str().trim_start_matches("cra.diagrid:");
        let global = h.key(role_name, "").await;
        let keys = [
            (Key::Global, global),
            (Key::Own, h.key(role_name, &own).await),
            (Key::Other, h.key(role_name, &other).await),
        ];
        for route in routes() {
            let Some(plain) = route.action() else { continue };
            // Reads with and without secrets are one route and two actions.
            let sensitive = route.kind().and_then(|kind| kind.crud.read_sensitive);
            let is_get = route.kind().is_some_and(|kind| kind.crud.get == plain);
            let sensitive = sensitive
                .filter(|_| is_get)
                .map(|action| (action, "?showsensitive=true"));
            for (action, query) in [Some((plain, "")), sensitive].into_iter().flatten() {
                let row = *ROWS
                    .iter()
                    .find(|(name, ..)| *name == action.name)
                    .unwrap_or_else(|| panic!("{} has no row: who may do it?", action.name));
                covered.insert(action.name);
                for (scope, key) in &keys {
                    attempt += 1;
                    let name = format!("n{attempt}");
                    let (mut project, mut key) = (own.clone(), key.clone());
                    if action.name == "projects.delete" {
                        // One of its own, so that the others stay; and whose own key it is asked with.
                        project = h.project(&name).await;
                        if *scope == Key::Own {
                            key = h.key(role_name, &project).await;
                        }
                    }
                    let (path, body) = request(&h, &route, &project, &name).await;
                    let (method, path) = (route.method().clone(), format!("{path}{query}"));
                    let (status, answer) = h.call(&key, method, &path, body).await;
                    let wanted = expected(role, action.class, row, *scope);
                    let seen = format!("{role} {scope:?} {} {path}: {status} {answer}", route.method());
                    assert_eq!(status, wanted, "{seen}");
                    if wanted == 404 {
                        assert_eq!(detail(&answer), "Project not found", "{seen}");
                    }
                }
            }
        }
    }
    let known: BTreeSet<&str> = registry::actions().iter().map(|action| action.name).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        (&covered, &rows),
        (&known, &known),
        "actions, rows and routes are the same ones"
    );
}

#[tokio::test]
async fn sec_067_a_deleted_project_is_gone_for_its_own_key_too() {
    let h = Harness::new().await;
    let own = h.project("own").await;
    let operator = h.key("apiOperator", &own).await;
    let path = format!("{CRA}/projects/own");
    assert_eq!(h.call(&operator, Method::DELETE, &path, Value::Null).await.0, 202);
    let apps = format!("{path}/appids");
    let made = h
        .call(&operator, Method::POST, &apps, json!({"metadata": {"name": "a"}}))
        .await;
    assert_eq!(made.0, 409, "{made:?}");
}
