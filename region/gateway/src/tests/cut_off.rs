//! What a gateway tells its agent of tokens, and what it does while the agent is away.

use std::time::Duration;

use http::StatusCode;
use palladium_proto::region::TokenUse;

use super::client::{Client, get, request};
use super::world::{A, B, World};
use crate::config::Config;
use crate::freshness::now;

type None = http_body_util::Empty<bytes::Bytes>;

/// What the agent was told of tokens, once it was told `enough`.
async fn told(world: &World, enough: impl Fn(&[TokenUse]) -> bool) -> Vec<TokenUse> {
    for _ in 0..400 {
        let reports = world.agent.agent.reports.lock().unwrap().clone();
        let uses: Vec<TokenUse> = reports.into_iter().flat_map(|report| report.token_uses).collect();
        if enough(&uses) {
            return uses;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never told");
}

#[tokio::test]
async fn sec_050_the_agent_is_told_by_the_minute_which_tokens_are_used() {
    let mut world = World::new().await;
    let (used, unused) = (world.app(A, "orders").await, world.app(A, "stock").await);
    let began = now() / 60 * 60;
    for _ in 0..20 {
        assert_eq!(get(&world, "/", &used.token).await.status, StatusCode::OK);
    }
    // Still the same token in the next table.
    world.publish().await;
    let uses = told(&world, |uses| !uses.is_empty()).await;
    let digest = |index: usize| world.table.routes[index].tokens[0].sha256.clone();
    assert!(uses.iter().all(|one| one.sha256 == digest(0)), "{uses:?}");
    let minute = uses[0].last_used_unix_s;
    assert!(minute % 60 == 0 && (began..=now()).contains(&minute), "{uses:?}");
    assert!(uses.len() <= 2, "once for each minute: {uses:?}");
    assert_eq!((uses[0].foreign_host_calls, unused.dapr.count()), (0, 0));
}

#[tokio::test]
async fn sec_049_calls_at_another_projects_host_are_counted_for_the_audit_log() {
    let mut world = World::new().await;
    let (a, _b) = (world.app(A, "orders").await, world.app(B, "orders").await);
    world.hosts(&[(A, "http-a.test"), (B, "http-b.test")]).await;
    let mut client = Client::<None>::http2_to(&world, "http-b.test").await;
    for _ in 0..7 {
        let (mut head, body) = request(true, "GET", "/", &a.token, None::new()).into_parts();
        head.uri = "https://http-b.test/".parse().unwrap();
        assert_eq!(client.send(http::Request::from_parts(head, body)).await.status, 403);
    }
    let count = |uses: &[TokenUse]| uses.iter().map(|one| one.foreign_host_calls).sum::<u32>();
    let mut lines = told(&world, |uses| count(uses) > 0).await;
    lines.retain(|one| one.foreign_host_calls > 0);
    let digest = &world.table.routes[0].tokens[0].sha256;
    assert!(lines.len() == 1 && lines[0].sha256 == digest, "{lines:?}");
}

#[tokio::test]
async fn sec_051_a_cut_off_gateway_serves_says_how_old_its_table_is_and_obeys_when_it_is_back() {
    let mut world = World::new().await;
    let (kept, revoked) = (world.app(A, "orders").await, world.app(A, "stock").await);
    let metric = |name: &'static str, value: fn(u64) -> bool| {
        move |line: &str| {
            let number = line.strip_prefix(name).and_then(|rest| rest.trim().parse().ok());
            number.is_some_and(value)
        }
    };
    const AGE: &str = "palladium_gateway_route_table_age_seconds";
    const CONNECTED: &str = "palladium_gateway_agent_connected";
    world.until_metric(metric(AGE, |age| age == 0)).await;
    world.agent.kill();
    world.until_metric(metric(CONNECTED, |connected| connected == 0)).await;
    world.until_metric(metric(AGE, |age| age >= 2)).await;
    // Revoked where nobody hears it.
    world.table.routes[1].tokens.clear();
    world.table.version += 1;
    for app in [&kept, &revoked] {
        assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
    }
    world.agent_again().await;
    assert_eq!(get(&world, "/", &revoked.token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&world, "/", &kept.token).await.status, StatusCode::OK);
    world.until_metric(metric(AGE, |age| age == 0)).await;
}

#[tokio::test]
async fn sec_051_the_age_of_the_table_can_be_bounded() {
    let bound = |config: &mut Config| config.limits.table_age_s = 1;
    let mut world = World::with(bound).await;
    let app = world.app(A, "orders").await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
    world.until_reported(world.table.version).await;
    world.agent.kill();
    for _ in 0..400 {
        if get(&world, "/", &app.token).await.status == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(
        get(&world, "/", &app.token).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    // A restart makes the table no younger.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut world = world.restart().await;
    assert_eq!(
        get(&world, "/", &app.token).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    world.agent_again().await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
}
