//! The managed key-value store comes and goes with its project's flag.

use http::Method;
use palladium_kinds::status::{Report, Verdict};
use serde_json::{Value, json};

use super::{CRA, Harness, detail};

fn project(flag: Value) -> Value {
    json!({"metadata": {"name": "shop"}, "spec": {"managedKvEnabled": flag}})
}

async fn change(h: &Harness, body: Value) -> (u16, Value) {
    h.call(&h.admin, Method::PATCH, &format!("{CRA}/projects/shop"), body)
        .await
}

/// The region says that the component is gone.
async fn gone(h: &Harness, component: &Value) {
    let report = Report {
        generation: component["metadata"]["generation"].as_u64().unwrap(),
        verdict: Verdict::Deleted,
        reason: "Gone".into(),
        message: String::new(),
        field: String::new(),
        details: Default::default(),
    };
    let uid = component["metadata"]["uid"].as_str().unwrap();
    h.store.status_report(h.region.as_str(), uid, report).await.unwrap();
}

#[tokio::test]
async fn the_store_is_made_with_the_project_and_goes_when_it_is_switched_off() {
    let h = Harness::new().await;
    let made = h.post(&format!("{CRA}/projects"), project(true.into())).await;
    assert_eq!(
        (&made["kind"], &made["metadata"]["name"]),
        (&json!("Project"), &json!("shop")),
        "the answer is about the project"
    );
    let event = &h.events("action=projects.create").await[0];
    assert!(
        event["changes"].to_string().contains("components.kvstore"),
        "the record tells it: {event}"
    );
    let one = format!("{CRA}/projects/shop/components/kvstore");
    let store = h.get(&one).await;
    assert_eq!(
        (&store["spec"]["type"], &store["status"]["status"]),
        (&json!("state.diagrid"), &json!("pending"))
    );
    // The region is told of both, the project first.
    let (_, objects) = palladium_regions::RegionStore::objects(&h.store, h.region.as_str())
        .await
        .unwrap();
    let told: Vec<&str> = objects
        .iter()
        .filter(|o| o.project_name == "shop")
        .map(|o| o.kind.as_str())
        .collect();
    assert_eq!(told, ["Project", "Component"]);
    // What does not speak of it changes nothing about it.
    for body in [
        json!({"spec": {"displayName": "Shop"}}),
        json!({"spec": {"managedKvEnabled": null}}),
    ] {
        let (status, answer) = change(&h, body).await;
        assert_eq!((status, &answer["spec"]["managedKvEnabled"]), (202, &json!(true)));
    }
    let (status, answer) = h
        .call(
            &h.admin,
            Method::PUT,
            &format!("{CRA}/projects/shop"),
            json!({"spec": {}}),
        )
        .await;
    assert_eq!((status, &answer["spec"]["managedKvEnabled"]), (202, &json!(true)));
    assert_eq!(h.get(&one).await["metadata"]["generation"], 1);
    // Switched off: through the region, which destroys the rows before it lets go.
    let (status, answer) = change(&h, json!({"spec": {"managedKvEnabled": false}})).await;
    assert_eq!(
        (status, &answer["kind"], &answer["spec"]["managedKvEnabled"]),
        (202, &json!("Project"), &json!(false))
    );
    let leaving = h.get(&one).await;
    assert_eq!(leaving["status"]["status"], "deleting");
    let (status, answer) = change(&h, json!({"spec": {"managedKvEnabled": true}})).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("being deleted"), "{answer}");
    gone(&h, &leaving).await;
    assert_eq!(h.call(&h.admin, Method::GET, &one, Value::Null).await.0, 404);
    assert_eq!(change(&h, json!({"spec": {"managedKvEnabled": true}})).await.0, 202);
    assert_ne!(
        h.get(&one).await["metadata"]["uid"],
        store["metadata"]["uid"],
        "another store, without the old rows"
    );
}

#[tokio::test]
async fn it_is_opt_in_and_while_it_is_on_the_component_is_the_projects() {
    let h = Harness::new().await;
    let made = h.post(&format!("{CRA}/projects"), project(Value::Null)).await;
    assert_eq!(made["spec"]["managedKvEnabled"], json!(false));
    let components = format!("{CRA}/projects/shop/components");
    assert_eq!(h.get(&components).await["items"], json!([]));
    assert_eq!(change(&h, json!({"spec": {"managedKvEnabled": true}})).await.0, 202);
    let one = format!("{components}/kvstore");
    let (status, answer) = h.call(&h.admin, Method::DELETE, &one, Value::Null).await;
    assert_eq!(status, 400);
    assert!(
        detail(&answer).contains("palladium project update shop --deploy-managed-kv=false"),
        "{answer}"
    );
    let body = json!({"metadata": {"name": "kvstore"}, "spec": {"type": "state.in-memory"}});
    let (status, answer) = h.call(&h.admin, Method::POST, &components, body).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("choose another name"), "{answer}");
    // Scopes are the user's, the type is not.
    let scoped = json!({"scopes": ["orders"]});
    assert_eq!(h.call(&h.admin, Method::PATCH, &one, scoped).await.0, 202);
    let typed = json!({"spec": {"type": "state.redis"}});
    assert_eq!(h.call(&h.admin, Method::PATCH, &one, typed).await.0, 400);
    // With the project everything goes.
    let path = format!("{CRA}/projects/shop");
    assert_eq!(h.call(&h.admin, Method::DELETE, &path, Value::Null).await.0, 202);
    assert_eq!(h.get(&one).await["status"]["status"], "deleting");
}

#[tokio::test]
async fn a_component_of_that_name_becomes_the_managed_one_or_stands_in_the_way() {
    let h = Harness::new().await;
    h.project("shop").await;
    let components = format!("{CRA}/projects/shop/components");
    let own = |kind: &str| json!({"metadata": {"name": "kvstore"}, "spec": {"type": kind}, "scopes": ["orders"]});
    let made = h.post(&components, own("state.diagrid")).await;
    assert_eq!(change(&h, json!({"spec": {"managedKvEnabled": true}})).await.0, 202);
    let one = format!("{components}/kvstore");
    let kept = h.get(&one).await;
    assert_eq!(
        (&kept["metadata"]["uid"], &kept["scopes"]),
        (&made["metadata"]["uid"], &json!(["orders"]))
    );
    assert_eq!(h.call(&h.admin, Method::DELETE, &one, Value::Null).await.0, 400);

    assert_eq!(change(&h, json!({"spec": {"managedKvEnabled": false}})).await.0, 202);
    gone(&h, &h.get(&one).await).await;
    h.post(&components, own("state.redis")).await;
    let before = h.get(&format!("{CRA}/projects/shop")).await;
    let (status, answer) = change(&h, json!({"spec": {"managedKvEnabled": true}})).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("delete it first"), "{answer}");
    assert_eq!(h.get(&format!("{CRA}/projects/shop")).await, before, "all or nothing");
    assert_eq!(h.call(&h.admin, Method::DELETE, &one, Value::Null).await.0, 202);
}
