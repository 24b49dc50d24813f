//! App ID tokens, from the command line to the gateway and the Dapr Server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    api::{Answer, Api},
    app::App,
    system::System,
    until,
};
use reqwest::Method;
use serde_json::json;

const DOMAIN: &str = "palladium.test";
const HEADER: &str = "dapr-api-token";
const KEY: &str = "/v1.0/state/kvstore/kept";

#[tokio::test]
async fn sec_047_to_051_tokens() -> Result<()> {
    let system = System::start_with(&["--domain", DOMAIN]).await?;
    let shop = system.project("shop").await?;
    system.project("other").await?;
    let app = App::create(&system, "shop", "orders").await?;
    let stranger = App::create(&system, "other", "orders").await?;
    app.save("kvstore", "kept", &json!(1)).await?.good()?;
    sec_047_missing_empty_doubled_and_misplaced_tokens_are_401(&system, &app).await?;
    sec_048_a_wrong_checksum_is_401(&app).await?;
    sec_049_a_token_at_another_projects_host_is_403(&system, &shop, &app, &stranger).await?;
    let app = sec_050_both_tokens_work_after_a_rotation(&system, app).await?;
    sec_051_a_revoked_token_is_refused_within_two_seconds(&system, app).await?;
    system.finish().await
}

async fn sec_047_missing_empty_doubled_and_misplaced_tokens_are_401(system: &System, app: &App) -> Result<()> {
    let get = |path: &str| app.gateway.bare(Method::GET, path);
    let in_query = format!("{KEY}?{HEADER}={}", app.token);
    let requests = [
        ("none", get(KEY)),
        ("empty", get(KEY).header(HEADER, "")),
        (
            "doubled",
            get(KEY).header(HEADER, &app.token).header(HEADER, &app.token),
        ),
        ("in the query", get(&in_query)),
        ("as bearer", get(KEY).bearer_auth(&app.token)),
        (
            "as cookie",
            get(KEY).header("cookie", format!("{HEADER}={}", app.token)),
        ),
    ];
    for (what, request) in requests {
        let answer = Api::answer(request).await?;
        ensure!(answer.status == 401, "{what}: {answer:?}");
        ensure!(
            !answer.body.to_string().contains(&app.token),
            "{what}: the answer repeats it"
        );
    }
    let logs = std::fs::read_dir(system.data().join("logs"))?.collect::<Result<Vec<_>, _>>()?;
    for log in logs {
        let text = std::fs::read_to_string(log.path())?;
        ensure!(!text.contains(&app.token), "it is in {}", log.path().display());
    }
    Ok(())
}

async fn sec_048_a_wrong_checksum_is_401(app: &App) -> Result<()> {
    let (rest, last) = app.token.split_at(app.token.len() - 1);
    let wrong = format!("{rest}{}", if last == "a" { "b" } else { "a" });
    let answer = Api::answer(app.gateway.bare(Method::GET, KEY).header(HEADER, wrong)).await?;
    ensure!(answer.status == 401, "{answer:?}");
    Ok(())
}

async fn sec_049_a_token_at_another_projects_host_is_403(
    system: &System,
    project: &str,
    app: &App,
    stranger: &App,
) -> Result<()> {
    let url = format!("https://http-{project}.{DOMAIN}:{}", system.ports.gateway());
    let at = |token: &str| Api::gateway(&url, &system.ca_file(), token.to_owned());
    let own = at(&app.token)?.get(KEY).await?;
    ensure!(own.status == 200, "{own:?}");
    let theirs = at(&stranger.token)?.get(KEY).await?;
    ensure!(theirs.status == 403, "{theirs:?}");
    let nowhere = Api::gateway(&url.replace("prj-", "prj-x"), &system.ca_file(), app.token.clone())?
        .get(KEY)
        .await?;
    ensure!(nowhere.status == 404, "{nowhere:?}");
    let nobodys = at("pldt_aaaaaaaa_nothing")?.get(KEY).await?;
    ensure!(nobodys.status == 401, "{nobodys:?}");
    until(
        Duration::from_secs(5),
        "the refusal is in the gateway's log",
        async || {
            let log = std::fs::read_to_string(system.data().join("logs/gateway.log"))?;
            let refused = |line: &str| line.contains("\"status\":403") || line.contains("status=403");
            ensure!(log.lines().any(refused), "{log}");
            Ok(())
        },
    )
    .await
}

async fn sec_050_both_tokens_work_after_a_rotation(system: &System, old: App) -> Result<App> {
    system
        .cli(&["appid", "token", "rotate", "orders", "-p", "shop", "--wait"])
        .await?;
    let new = App::of(system, "shop", "orders").await?;
    ensure!(new.token != old.token, "the token is the same");
    for app in [&new, &old] {
        let answer = app.load("kvstore", "kept").await?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    let tokens = system
        .cli(&["appid", "token", "list", "orders", "-p", "shop", "-o", "json"])
        .await?;
    let tokens = tokens["items"].as_array().or(tokens.as_array()).context("no list")?;
    let ending = tokens.iter().filter(|token| token["notAfter"].is_string()).count();
    ensure!((tokens.len(), ending) == (2, 1), "{tokens:?}");
    Ok(new)
}

async fn sec_051_a_revoked_token_is_refused_within_two_seconds(system: &System, app: App) -> Result<()> {
    let watched = app.clone();
    let refused = tokio::spawn(async move {
        let mut cut_off = false;
        loop {
            let answer: Result<Answer> = watched.load("kvstore", "kept").await;
            match answer {
                Ok(answer) if answer.status == 200 => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(answer) if answer.status == 401 => return anyhow::Ok(Instant::now()),
                // The call that is under way at that moment ends too, in the middle of its answer; there is only one.
                Err(_) if !cut_off => cut_off = true,
                answer => anyhow::bail!("{answer:?}"),
            }
        }
    });
    let asked = Instant::now();
    system
        .cli(&["appid", "token", "revoke", "orders", "-p", "shop", "--wait"])
        .await?;
    let confirmed = app.load("kvstore", "kept").await?;
    ensure!(confirmed.status == 401, "confirmed as revoked, yet {confirmed:?}");
    let took = refused.await??.duration_since(asked);
    ensure!(took < Duration::from_secs(2), "refused only after {took:?}");
    let new = App::of(system, "shop", "orders").await?;
    let answer = new.load("kvstore", "kept").await?;
    ensure!(answer.status == 200, "the new token: {answer:?}");
    Ok(())
}
