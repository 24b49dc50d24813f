//! The suite of lock stores.
//!
//! A driver's test file names its backend and gets one test per case: `palladium_conformance::lock_suite!(backend);`. One
//! idea: a lock has one owner, whoever else tries and from wherever. Must never import a driver, or ask which one it is
//! testing.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::LockStore;
use palladium_component::lock::Unlocked;
use palladium_component::reply::BoxFuture;

/// One component under test.
pub struct Backend {
    /// Opens the component; a second time on the same store.
    pub open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn LockStore>> + Send + Sync>,
    /// What has to live as long as the test: servers.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

const LONG: Duration = Duration::from_secs(600);

/// A lock that is taken is taken, for its owner too, and free when it was given back.
pub async fn one_owner_at_a_time(backend: &Backend) {
    let locks = (backend.open)().await;
    assert!(locks.try_lock("r", "a", LONG).await.unwrap());
    assert!(!locks.try_lock("r", "b", LONG).await.unwrap());
    assert!(!locks.try_lock("r", "a", LONG).await.unwrap());
    assert!(locks.try_lock("other", "b", LONG).await.unwrap(), "another resource");
    assert_eq!(locks.unlock("r", "a").await.unwrap(), Unlocked::Success);
    assert!(locks.try_lock("r", "b", LONG).await.unwrap());
}

/// Only its owner gives a lock back.
pub async fn what_giving_back_answers(backend: &Backend) {
    let locks = (backend.open)().await;
    assert_eq!(locks.unlock("r", "a").await.unwrap(), Unlocked::DoesNotExist);
    assert!(locks.try_lock("r", "a", LONG).await.unwrap());
    assert_eq!(locks.unlock("r", "b").await.unwrap(), Unlocked::BelongsToOthers);
    assert!(!locks.try_lock("r", "b", LONG).await.unwrap(), "it is still taken");
    assert_eq!(locks.unlock("r", "a").await.unwrap(), Unlocked::Success);
    assert_eq!(locks.unlock("r", "a").await.unwrap(), Unlocked::DoesNotExist);
}

/// A lock ends by itself, and not before its time.
pub async fn a_lock_expires(backend: &Backend) {
    let locks = (backend.open)().await;
    let started = Instant::now();
    assert!(locks.try_lock("r", "a", Duration::from_secs(1)).await.unwrap());
    while !locks.try_lock("r", "b", LONG).await.unwrap() {
        assert!(started.elapsed() < Duration::from_secs(10), "it does not expire");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "too early: {:?}",
        started.elapsed()
    );
    assert_eq!(locks.unlock("r", "a").await.unwrap(), Unlocked::BelongsToOthers);
}

/// Of many who try at the same time, from two components, one gets it.
pub async fn of_many_one_gets_it(backend: &Backend) {
    let components = [(backend.open)().await, (backend.open)().await];
    for round in 0..10 {
        let resource = format!("r{round}");
        let tries: Vec<_> = (0..40)
            .map(|owner| {
                let (locks, resource) = (components[owner % 2].clone(), resource.clone());
                tokio::spawn(async move { locks.try_lock(&resource, &owner.to_string(), LONG).await.unwrap() })
            })
            .collect();
        let mut winners = 0;
        for one in tries {
            winners += u32::from(one.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}

/// Makes one test per case of the suite.
#[macro_export]
macro_rules! lock_suite {
    ($backend:path) => {
        $crate::lock_suite!($backend:
            one_owner_at_a_time, what_giving_back_answers, a_lock_expires, of_many_one_gets_it
        );
    };
    ($backend:path: $($case:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let backend = $backend().await;
            $crate::lock::$case(&backend).await;
        }
    )+};
}
