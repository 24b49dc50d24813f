//! Who sees what: App IDs of one project, projects, scopes; and what is left after a deletion.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use palladium_tests::{app::App, system::System, until};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn isolation_and_deletion() -> Result<()> {
    let system = System::start().await?;
    let shop = system.project("shop").await?;
    system.project("other").await?;
    let orders = App::create(&system, "shop", "orders").await?;
    let intruder = App::create(&system, "shop", "intruder").await?;
    let namesake = App::create(&system, "other", "orders").await?;
    orders.save("kvstore", "kept", &json!("mine")).await?.good()?;
    sec_049_other_app_ids_and_projects_do_not_see_a_key(&orders, &intruder, &namesake).await?;
    a_component_out_of_scope_is_refused(&system, &intruder).await?;
    sec_111_secret_references_across_projects_are_refused(&system).await?;
    let orders = a_deleted_app_id_leaves_nothing_to_its_namesake(&system, orders, &intruder).await?;
    a_deleted_component_takes_its_rows_along(&system, &orders).await?;
    a_deleted_project_takes_everything_along(&system, &shop, &orders, &namesake).await?;
    system.finish().await
}

async fn sec_049_other_app_ids_and_projects_do_not_see_a_key(own: &App, intruder: &App, namesake: &App) -> Result<()> {
    for other in [intruder, namesake] {
        ensure!(
            other.load("kvstore", "kept").await?.status == 204,
            "{} sees the key",
            other.id
        );
        // Nor by the name under which it is stored, nor in bulk.
        let whole = other.load("kvstore", "orders%7C%7Ckept").await?;
        ensure!(
            whole.status != 200 && !whole.body.to_string().contains("mine"),
            "{whole:?}"
        );
        let body = json!({"keys": ["kept", "orders||kept"]});
        let bulk = other.gateway.post("/v1.0/state/kvstore/bulk", &body).await?;
        ensure!(!bulk.body.to_string().contains("mine"), "{bulk:?}");
        other.gateway.delete("/v1.0/state/kvstore/kept").await?;
        other.save("kvstore", "kept", &json!("theirs")).await?.good()?;
    }
    let kept = own.load("kvstore", "kept").await?.good()?;
    ensure!(kept == json!("mine"), "it reads {kept}");
    Ok(())
}

async fn a_component_out_of_scope_is_refused(system: &System, intruder: &App) -> Result<()> {
    let create = [
        "component",
        "create",
        "private",
        "-p",
        "shop",
        "--type",
        "state.in-memory",
        "--scopes",
        "orders",
    ];
    system.cli(&[&create[..], &["--wait"]].concat()).await?;
    let orders = App::of(system, "shop", "orders").await?;
    orders.save("private", "x", &json!(1)).await?.good()?;
    let refused = intruder.load("private", "x").await?;
    ensure!(
        (refused.status, refused.body["errorCode"].as_str()) == (400, Some("ERR_STATE_STORE_NOT_FOUND")),
        "{refused:?}"
    );
    let known = intruder.gateway.get("/v1.0/metadata").await?.good()?;
    ensure!(
        !known.to_string().contains("private"),
        "it is told of the component: {known}"
    );
    // A scope that is widened and narrowed again takes effect without a restart.
    let scope = async |apps: &str| {
        system
            .cli(&[
                "component",
                "update",
                "private",
                "-p",
                "shop",
                "--scopes",
                apps,
                "--wait",
            ])
            .await
    };
    scope("orders,intruder").await?;
    intruder.load("private", "x").await?.good()?;
    scope("orders").await?;
    until(SOON, "the scope is narrow again", async || {
        ensure!(intruder.load("private", "x").await?.status == 400);
        Ok(())
    })
    .await
}

/// A reference to another project's secret is refused where it is written, whatever it looks like.
async fn sec_111_secret_references_across_projects_are_refused(system: &System) -> Result<()> {
    let create = [
        "component",
        "create",
        "theirs",
        "-p",
        "other",
        "--type",
        "state.redis",
        "-o",
        "json",
    ];
    let settings = ["--metadata", "redisHost=127.0.0.1:1", "--metadata", "redisPassword=-"];
    let made = system
        .cli_with(&[&create[..], &settings].concat(), "another project's password")
        .await?;
    ensure!(made.code == 0, "{made:?}");
    let made: Value = serde_json::from_str(&made.out)?;
    let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
    let keys = [
        format!("{uid}/spec.metadata.redisPassword"),
        format!("../{uid}/spec.metadata.redisPassword"),
        "../../../kek.key".to_owned(),
    ];
    for key in keys {
        let body = json!({
            "apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "thief"},
            "spec": {"type": "state.redis", "version": "v1", "metadata": [
                {"name": "redisHost", "value": "127.0.0.1:1"},
                {"name": "redisPassword", "secretKeyRef": {"name": "palladium", "key": key}},
            ]},
        });
        let answer = system
            .api()?
            .post("/apis/cra.diagrid.io/v1beta1/projects/shop/components", &body)
            .await?;
        ensure!(answer.status == 400, "{key}: {answer:?}");
    }
    Ok(())
}

async fn a_deleted_app_id_leaves_nothing_to_its_namesake(system: &System, old: App, other: &App) -> Result<App> {
    system
        .cli(&["appid", "delete", "orders", "-p", "shop", "--yes", "--wait"])
        .await?;
    let refused = old.load("kvstore", "kept").await?;
    ensure!(refused.status == 401, "the token of a deleted App ID: {refused:?}");
    ensure!(system.pid(&old.server()).is_err(), "its Dapr Server still runs");
    let new = App::create(system, "shop", "orders").await?;
    ensure!(new.token != old.token, "the old token is back");
    let refused = old.load("kvstore", "kept").await?;
    ensure!(refused.status == 401, "the token of its predecessor: {refused:?}");
    let found = new.load("kvstore", "kept").await?;
    ensure!(found.status == 204, "it inherits {found:?}");
    let theirs = other.load("kvstore", "kept").await?.good()?;
    ensure!(theirs == json!("theirs"), "a neighbour lost its keys");
    new.save("kvstore", "kept", &json!("new")).await?.good()?;
    Ok(new)
}

async fn a_deleted_component_takes_its_rows_along(system: &System, app: &App) -> Result<()> {
    system
        .cli(&["component", "delete", "kvstore", "-p", "shop", "--yes", "--wait"])
        .await?;
    until(SOON, "the component is gone", async || {
        let answer = app.load("kvstore", "kept").await?;
        ensure!(answer.status == 400, "{answer:?}");
        Ok(())
    })
    .await?;
    system
        .cli(&[
            "component",
            "create",
            "kvstore",
            "-p",
            "shop",
            "--type",
            "state.diagrid",
            "--wait",
        ])
        .await?;
    let found = app.load("kvstore", "kept").await?;
    ensure!(found.status == 204, "a component of the same name finds {found:?}");
    app.save("kvstore", "kept", &json!("again")).await?.good()?;
    Ok(())
}

async fn a_deleted_project_takes_everything_along(
    system: &System,
    project: &str,
    app: &App,
    other: &App,
) -> Result<()> {
    ensure!(!files_of(system, project)?.is_empty(), "there was nothing to delete");
    let unsure = system.cli_with(&["project", "delete", "shop"], "").await?;
    ensure!(unsure.code != 0 && unsure.err.contains("--yes"), "{unsure:?}");
    system.cli(&["project", "delete", "shop", "--yes", "--wait"]).await?;
    ensure!(app.load("kvstore", "kept").await?.status == 401);
    let left = files_of(system, project)?;
    ensure!(left.is_empty(), "of a deleted project is left: {left:?}");
    let theirs = other.load("kvstore", "kept").await?.good()?;
    ensure!(theirs == json!("theirs"), "another project lost its keys");
    let again = system.project("shop").await?;
    ensure!(again != project, "an id was used twice");
    let answer = other.gateway.call(Method::GET, "/v1.0/state/private/x", None).await?;
    ensure!(answer.status == 400, "{answer:?}");
    Ok(())
}

/// Files and folders named after a project, in what the region keeps.
fn files_of(system: &System, project: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["region/apps", "region/store/projects"] {
        for entry in fs::read_dir(system.data().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.extend(name.contains(project).then(|| format!("{folder}/{name}")));
        }
    }
    Ok(found)
}
