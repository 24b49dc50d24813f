//! The suite over every lock driver of the registry.
//!
//! One idea: a line of [`suites!`] both runs a driver and says so; what is registered and has no line fails a test. Must
//! never pass by the absence of a server.

use std::sync::Arc;
use std::time::Duration;

use palladium_component::lock::Unlocked;
use palladium_component::{LockStore, OpenContext, Properties};
use palladium_conformance::lock::Backend;
use palladium_peers::redis_server::RedisServer;

/// `module: type => backend;` runs the suite over what `backend(type)` makes.
macro_rules! suites {
    ($($module:ident: $type_name:literal => $backend:path;)+) => {
        $(mod $module {
            use super::*;

            async fn backend() -> Backend {
                $backend($type_name).await
            }

            palladium_conformance::lock_suite!(backend);
        })+

        /// Types that are run here.
        const RUN: &[&str] = &[$($type_name),+];
    };
}

suites! {
    redis: "lock.redis" => redis_server;
}

#[test]
fn every_registered_driver_is_run_through_the_suite() {
    for driver in palladium_components_lock::DRIVERS.drivers {
        assert!(
            RUN.contains(&driver.type_name) && driver.versions == ["v1"],
            "{} is registered and not run through the suite: add a line to suites!",
            driver.type_name
        );
    }
}

async fn open(type_name: &str, properties: Properties) -> Arc<dyn LockStore> {
    let context = OpenContext::new("lock", "myapp", properties);
    let opened = palladium_components_lock::DRIVERS.open(type_name, "", context).await;
    opened.expect("the store opens")
}

async fn redis_server(type_name: &'static str) -> Backend {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    Backend {
        open: Box::new(move || Box::pin(open(type_name, metadata.clone().into_iter().collect()))),
        keep: Box::new(server),
    }
}

/// What Dapr's own driver has written is ours to read, and the other way round: an owner under a key, with its time.
#[tokio::test]
async fn redis_locks_lie_as_daprs_do() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    let locks = open("lock.redis", server.metadata().into_iter().collect()).await;
    let mut theirs = ::redis::cmd("SET");
    theirs.arg("lock||app||r").arg("them").arg("NX").arg("EX").arg(600);
    let _: () = theirs.query_async(&mut connection).await.expect("it sets");
    let long = Duration::from_secs(600);
    assert!(!locks.try_lock("lock||app||r", "us", long).await.expect("it tries"));
    let freed = locks.unlock("lock||app||r", "them").await.expect("it answers");
    assert_eq!(freed, Unlocked::Success);
    assert!(locks.try_lock("lock||app||r", "us", long).await.expect("it tries"));
    let mut pipe = ::redis::pipe();
    pipe.cmd("GET").arg("lock||app||r").cmd("TTL").arg("lock||app||r");
    let (owner, ttl): (String, i64) = pipe.query_async(&mut connection).await.expect("it reads");
    assert!(owner == "us" && (590..=600).contains(&ttl), "{owner} {ttl}");
}
