//! Which policy a call gets.

use serde_json::json;

use super::*;

fn with(spec: Value) -> Resiliency {
    let mut resiliency = Resiliency::default();
    resiliency.add("r", "ns", spec).unwrap();
    resiliency
}

#[test]
fn without_a_resource_there_are_only_the_built_in_ones() {
    let resiliency = Resiliency::default();
    assert!(resiliency.app("a", "a:m").is_empty());
    assert!(
        resiliency
            .component("s", ComponentKind::Statestore, Direction::Outbound)
            .is_empty()
    );
    assert!(resiliency.built_in(BuiltIn::Service).retries());
}

#[test]
fn a_named_target_has_its_own_and_no_default() {
    let resiliency = with(json!({
        "policies": {
            "timeouts": { "short": "1s", "DefaultAppTimeoutPolicy": 250 },
            "retries": { "DefaultRetryPolicy": { "policy": "constant", "duration": "10ms", "maxRetries": 3 } },
        },
        "targets": { "apps": { "named": { "timeout": "short" } } },
    }));
    let named = resiliency.app("named", "e");
    assert_eq!((named.timeout, named.retries()), (Some(Duration::from_secs(1)), false));
    let other = resiliency.app("other", "e");
    assert_eq!(
        (other.timeout, other.retries()),
        (Some(Duration::from_millis(250)), true)
    );
}

#[test]
fn the_most_special_default_is_taken() {
    let retry = |times: u64| json!({ "maxRetries": times });
    let resiliency = with(json!({ "policies": { "retries": {
        "DefaultRetryPolicy": retry(1), "DefaultComponentRetryPolicy": retry(2),
        "DefaultComponentInboundRetryPolicy": retry(3), "DefaultPubsubComponentInboundRetryPolicy": retry(4),
    } } }));
    for (kind, direction, expected) in [
        (ComponentKind::Pubsub, Direction::Inbound, 4),
        (ComponentKind::Binding, Direction::Inbound, 3),
        (ComponentKind::Pubsub, Direction::Outbound, 2),
    ] {
        let most = resiliency
            .component("c", kind, direction)
            .retry
            .and_then(|retry| retry.most);
        assert_eq!(most, Some(expected), "{kind:?} {direction:?}");
    }
    assert_eq!(resiliency.app("a", "e").retry.and_then(|retry| retry.most), Some(1));
}

#[test]
fn built_in_ones_keep_a_minimum() {
    let resiliency = with(json!({ "policies": { "retries": {
        "DaprBuiltInServiceRetries": { "maxRetries": 1 }, "DaprBuiltInActorNotFoundRetries": { "maxRetries": 9 },
    } } }));
    let most = |which| resiliency.built_in(which).retry.and_then(|retry| retry.most);
    assert_eq!(most(BuiltIn::Service), Some(3));
    assert_eq!(most(BuiltIn::ActorNotFound), Some(5));
}

#[test]
fn a_resource_is_taken_whole_or_not_at_all() {
    let mut resiliency = Resiliency::default();
    let spec = json!({ "policies": {
        "timeouts": { "DefaultTimeoutPolicy": "1s" },
        "retries": { "DefaultAppRetryPolicy": { "matching": { "gRPCStatusCodes": 400, "httpStatusCodes": 11 } } },
    } });
    assert!(resiliency.add("r", "", spec).is_err());
    assert!(resiliency.app("a", "e").is_empty());
    for wrong in [
        json!({ "policies": { "retries": { "x": { "policy": "sometimes" } } } }),
        json!({ "policies": { "circuitBreakers": { "x": { "trip": "1 +" } } } }),
        json!({ "policies": { "timeouts": { "x": "soon" } } }),
        json!({ "targets": { "actors": { "a": { "circuitBreaker": "x" } } } }),
    ] {
        assert!(resiliency.add("r", "", wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn each_endpoint_has_its_breaker_and_there_are_only_so_many() {
    let resiliency = with(json!({
        "policies": { "circuitBreakers": { "cb": { "trip": "consecutiveFailures >= 1" } } },
        "targets": { "apps": { "a": { "circuitBreaker": "cb", "circuitBreakerCacheSize": 2 } } },
    }));
    let breaker = |endpoint: &str| resiliency.app("a", endpoint).breaker.unwrap();
    let (one, two) = (breaker("one"), breaker("two"));
    assert!(!Arc::ptr_eq(&one, &two) && Arc::ptr_eq(&one, &breaker("one")));
    breaker("three");
    assert!(Arc::ptr_eq(&one, &breaker("one")), "used last");
    assert!(!Arc::ptr_eq(&two, &breaker("two")), "made room");
}
