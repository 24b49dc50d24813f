//! The suite of state stores, through the real driver, over real mutual TLS, against the real store.

use palladium_conformance::state::Backend;

use super::component;
use super::world::{World, open};

async fn backend() -> Backend {
    let world = World::with(&[component("prj-a", "uid-1", "kvstore", &["orders"])]).await;
    let dial = world.dial("/ns/prj-a/orders");
    let open = move || {
        let dial = dial.clone();
        Box::pin(async move { open(dial, "kvstore").await.unwrap() }) as _
    };
    Backend {
        keep: Box::new(world),
        ..Backend::new(open)
    }
}

palladium_conformance::state_suite!(backend);
