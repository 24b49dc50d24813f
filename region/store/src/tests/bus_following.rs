//! Messages and subscriptions follow a table that changes: permissions, deleted components, deleted App IDs.

use std::sync::Arc;

use palladium_component::PubSub;
use palladium_component::pubsub::Outcome;
use palladium_conformance::pubsub::{message as to, nothing};
use palladium_proto::region::{DeletedApp, ManagedTable};

use super::bus;
use super::bus::{next, subscribe, text};
use super::following::Region;
use super::world::open_bus;

fn table(version: u64, apps: &[&str]) -> ManagedTable {
    ManagedTable {
        version,
        components: vec![bus("prj-a", "uid-1", "pubsub", apps)],
        ..ManagedTable::default()
    }
}

async fn open(region: &Region, app: &str) -> Arc<dyn PubSub> {
    let dial = region.world.dial(&format!("/ns/prj-a/{app}"));
    open_bus(dial, "pubsub", &[]).await.unwrap()
}

#[tokio::test]
async fn a_scope_that_goes_ends_the_subscription_that_is_open() {
    let region = Region::start(table(1, &["orders", "stock"])).await;
    let (orders, stock) = (open(&region, "orders").await, open(&region, "stock").await);
    let mut at_orders = subscribe(&orders, "t").await.unwrap();
    region.send(table(2, &["stock"])).await;
    let error = orders.publish(&to("t", "x", &[])).await.unwrap_err();
    assert!(error.to_string().contains("PermissionDenied"), "{error}");
    assert!(subscribe(&orders, "t").await.is_err());
    stock.publish(&to("t", "secret", &[])).await.unwrap();
    nothing(&mut at_orders).await;
    // Back in scope: the group is what it was, and the driver finds its way by itself.
    region.send(table(3, &["orders", "stock"])).await;
    assert_eq!(text(&next(&mut at_orders).await), "secret");
}

#[tokio::test]
async fn a_deleted_component_takes_its_messages_and_at_last_the_key_along() {
    let region = Region::start(table(1, &["orders"])).await;
    let component = open(&region, "orders").await;
    component.publish(&to("t", "of the first", &[])).await.unwrap();
    let mut gone = table(2, &["orders"]);
    gone.components[0].deleted = true;
    gone.components.push(bus("prj-a", "uid-2", "pubsub", &["orders"]));
    let report = region.send(gone.clone()).await;
    assert_eq!(report.destroyed_component_uids, ["uid-1"]);
    // A new component of the same name is another one.
    let mut subscription = subscribe(&component, "t").await.unwrap();
    nothing(&mut subscription).await;
    component.publish(&to("t", "of the second", &[])).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(text(&delivery), "of the second");
    assert!(region.project_folder().join("data.key").exists());
    gone.version = 3;
    gone.components
        .iter_mut()
        .for_each(|component| component.deleted = true);
    let report = region.send(gone).await;
    assert_eq!(report.destroyed_component_uids, ["uid-1", "uid-2"]);
    assert!(!region.project_folder().exists(), "nothing is left of the project");
    delivery.settle(Outcome::Done);
}

#[tokio::test]
async fn a_deleted_app_id_leaves_nothing_to_the_next_one_of_its_name() {
    let region = Region::start(table(1, &["orders", "stock"])).await;
    let (orders, stock) = (open(&region, "orders").await, open(&region, "stock").await);
    let at_orders = subscribe(&orders, "t").await.unwrap();
    let mut at_stock = subscribe(&stock, "t").await.unwrap();
    drop(at_orders);
    orders.close().await.unwrap();
    stock.publish(&to("t", "not for the next one", &[])).await.unwrap();
    let mut after = table(2, &["stock"]);
    after.deleted_apps = vec![DeletedApp {
        project_id: "prj-a".into(),
        app_id: "orders".into(),
        uid: "app-uid-1".into(),
    }];
    let report = region.send(after.clone()).await;
    assert_eq!(report.destroyed_app_uids, ["app-uid-1"]);
    // The others have lost nothing.
    next(&mut at_stock).await.settle(Outcome::Done);
    nothing(&mut at_stock).await;
    after.version = 3;
    after.components[0].app_ids.push("orders".into());
    region.send(after.clone()).await;
    let orders = open(&region, "orders").await;
    let mut at_orders = subscribe(&orders, "t").await.unwrap();
    nothing(&mut at_orders).await;
    // Listed for long, it is deleted once.
    stock.publish(&to("t", "for both", &[])).await.unwrap();
    assert_eq!(text(&next(&mut at_orders).await), "for both");
    after.version = 4;
    region.send(after).await;
    next(&mut at_stock).await.settle(Outcome::Done);
}
