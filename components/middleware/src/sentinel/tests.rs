//! Requests against rules, and rules that cannot be kept.
//!
//! Must never depend on how fast this machine is.

use palladium_component::MetadataError;

use super::*;

async fn opened(fields: &[(&str, &str)]) -> Result<Arc<dyn Middleware>, OpenError> {
    open(OpenContext::new("guard", "app", fields.iter().copied().collect())).await
}

/// The verdict on a GET.
async fn asked(guard: &Arc<dyn Middleware>, path: &str) -> Verdict {
    let (mut head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
    guard.judge(&mut head).await.unwrap()
}

fn status(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Answer(answer) => answer.status().as_u16(),
        Verdict::Pass(_) | Verdict::Watch(_) | Verdict::Revise(..) => 200,
    }
}

#[tokio::test]
async fn a_hundred_requests_of_which_ten_pass_however_they_are_spelled() {
    let rule = r#"[{"resource":"GET:/v1.0/nodeapp/healthz","threshold":10,"statIntervalInMs":600000}]"#;
    let guard = opened(&[("flowRules", rule)]).await.unwrap();
    let spellings = [
        "/v1.0/nodeapp/healthz",
        "/v1.0//nodeapp/healthz?a=b",
        "/v1.0/nodeapp/%68ealthz",
        "/v1.0/nodeapp/healthz/",
    ];
    let mut passed = 0;
    for index in 0..100 {
        let verdict = asked(&guard, spellings[index % spellings.len()]).await;
        passed += usize::from(status(&verdict) == 200);
        assert!([200, 429].contains(&status(&verdict)));
    }
    assert_eq!(passed, 10);
    assert!(
        matches!(asked(&guard, "/other").await, Verdict::Pass(_)),
        "no rule, nothing to watch"
    );
    // Whoever calls an application by it may mean another method than it says without its dots.
    for dotted in [
        "/x/../v1.0/nodeapp/healthz",
        "/v1.0/nodeapp/%2e%2e/healthz",
        "/other/./x",
    ] {
        assert_eq!(status(&asked(&guard, dotted).await), 400, "{dotted}");
    }
}

#[tokio::test]
async fn so_many_at_a_time_also_when_they_are_given_up() {
    let rule = r#"[{"resource":"GET:/a","threshold":2}]"#;
    let guard = opened(&[("isolationRules", rule)]).await.unwrap();
    let (first, second) = (asked(&guard, "/a").await, asked(&guard, "/a").await);
    assert_eq!(status(&asked(&guard, "/a").await), 429);
    drop(first);
    let third = asked(&guard, "/a").await;
    assert_eq!(status(&third), 200, "one was given up");
    let Verdict::Watch(watch) = second else {
        panic!("it is not watched")
    };
    watch.ended(StatusCode::OK);
    assert_eq!(status(&asked(&guard, "/a").await), 200, "one has ended");
}

#[tokio::test]
async fn failed_answers_open_the_circuit() {
    let rule = r#"[{"resource":"GET:/a","strategy":2,"threshold":2,"retryTimeoutMs":600000,"statIntervalMs":600000}]"#;
    let guard = opened(&[("circuitBreakerRules", rule)]).await.unwrap();
    for (answer, next) in [(500, 200), (404, 200), (503, 429)] {
        let Verdict::Watch(watch) = asked(&guard, "/a").await else {
            panic!("it does not pass")
        };
        watch.ended(StatusCode::from_u16(answer).unwrap());
        assert_eq!(status(&asked(&guard, "/a").await), next, "after {answer}");
    }
}

#[tokio::test]
async fn another_resource_may_be_what_counts_and_a_line_is_waited_in() {
    let rule = r#"[{"resource":"GET:/a","threshold":1,"statIntervalInMs":600000,"relationStrategy":1,"refResource":"GET:/b"}]"#;
    let guard = opened(&[("flowRules", rule)]).await.unwrap();
    assert_eq!(status(&asked(&guard, "/a").await), 200);
    assert_eq!(status(&asked(&guard, "/a").await), 200);
    assert_eq!(status(&asked(&guard, "/b").await), 200);
    assert_eq!(status(&asked(&guard, "/a").await), 429);
    let rule = r#"[{"resource":"GET:/a","threshold":100,"controlBehavior":1,"maxQueueingTimeMs":60000}]"#;
    let guard = opened(&[("flowRules", rule)]).await.unwrap();
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(status(&asked(&guard, "/a").await), 200);
    }
    assert!(start.elapsed() >= Duration::from_millis(20), "it did not wait");
}

#[tokio::test]
async fn all_requests_together() {
    let guard = opened(&[("systemRules", r#"[{"metricType":2,"triggerCount":1}]"#)])
        .await
        .unwrap();
    let first = asked(&guard, "/a").await;
    assert_eq!((status(&first), status(&asked(&guard, "/b").await)), (200, 429));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_name() {
    for (field, rule, named) in [
        (
            "flowRules",
            r#"[{"resource":"GET:/a","tokenCalculateStrategy":2}]"#,
            "flowRules[0].tokenCalculateStrategy",
        ),
        (
            "flowRules",
            r#"[{"resource":"GET:/a","statIntervalInMs":-1}]"#,
            "flowRules",
        ),
        ("flowRules", r#"[{"resource":"GET:/a","regex":true}]"#, "flowRules"),
        ("flowRules", r#"[{"resource":"abc"}]"#, "flowRules[0].resource"),
        (
            "flowRules",
            r#"[{"resource":"GET:/a","relationStrategy":1}]"#,
            "flowRules[0].refResource",
        ),
        ("flowRules", "nonsense", "flowRules"),
        (
            "isolationRules",
            r#"[{"resource":"GET:/a"}]"#,
            "isolationRules[0].threshold",
        ),
        (
            "circuitBreakerRules",
            r#"[{"resource":"GET:/a","statIntervalMs":1}]"#,
            "circuitBreakerRules[0].retryTimeoutMs",
        ),
        (
            "circuitBreakerRules",
            r#"[{"resource":"GET:/a","statIntervalMs":1,"maxSlowRequestRatio":0.5}]"#,
            "circuitBreakerRules",
        ),
        (
            "hotSpotParamRules",
            r#"[{"resource":"abc","metricType":1}]"#,
            "hotSpotParamRules",
        ),
        (
            "systemRules",
            r#"[{"metricType":4,"triggerCount":0.9}]"#,
            "systemRules[0].metricType",
        ),
        ("systemRules", "[{}]", "systemRules[0].metricType"),
    ] {
        let error = opened(&[(field, rule)]).await.err().expect(rule);
        assert!(
            matches!(&error, OpenError::Metadata(MetadataError { field, .. }) if field == named),
            "{rule}: {error}"
        );
    }
    let empty = [
        ("hotSpotParamRules", "[]"),
        ("flowRules", ""),
        ("logDir", "/var/tmp"),
        ("appName", "a"),
    ];
    assert!(opened(&empty).await.is_ok());
}
