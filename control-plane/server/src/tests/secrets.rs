//! Secrets through the API: nothing in clear at rest, masks, references.

use std::path::Path;

use http::Method;
use palladium_regions::RegionStore as _;
use palladium_sealing::{ExposeSecret as _, SealedField};
use serde_json::{Value, json};

use super::{CRA, Harness, detail};

/// Files of the control plane's folder that hold the text, in clear or in a common encoding.
pub(super) fn files_with(h: &Harness, text: &str) -> Vec<String> {
    use std::fmt::Write as _;
    let hex = text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    });
    let escaped = serde_json::to_string(text).unwrap();
    let needles = [text.to_owned(), hex, escaped.trim_matches('"').to_owned()];
    let mut found = Vec::new();
    sweep(&h.folder.path().join("server"), &mut |path, bytes| {
        for needle in &needles {
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    });
    found
}

fn sweep(folder: &Path, each: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sweep(&path, each)
        } else {
            each(&path, &std::fs::read(&path).unwrap())
        }
    }
}

fn redis(host: &str, password: Value) -> Value {
    let mut item = json!({"name": "redisPassword"});
    item.as_object_mut()
        .unwrap()
        .extend(password.as_object().unwrap().clone());
    json!({"metadata": {"name": "redis"}, "spec": {"type": "state.redis", "metadata": [{"name": "redisHost", "value": host}, item]}})
}

#[tokio::test]
async fn sec_101_a_canary_in_every_sensitive_field_is_in_no_file_and_no_answer() {
    let h = Harness::new().await;
    let mut canaries = Vec::new();
    let mut canary = |what: &str| {
        let text = format!("CANARY{}{what}", palladium_kinds::ids::random_base32(16));
        canaries.push(text.clone());
        text
    };
    let fields = ["redisUsername", "redisPassword", "clientKey", "sentinelPassword"];
    let items: Vec<Value> = fields
        .iter()
        .map(|name| json!({"name": name, "value": canary(name)}))
        .collect();
    let components = format!("{CRA}/projects/default/components");
    h.post(
        &components,
        json!({"metadata": {"name": "c"}, "spec": {"type": "state.redis", "metadata": items}}),
    )
    .await;
    let url = format!("redis://user:{}@h:1", canary("url"));
    h.post(&components, json!({"metadata": {"name": "d"}, "spec": {"type": "state.redis", "metadata": [{"name": "redisHost", "value": url}]}})).await;
    let app =
        json!({"metadata": {"name": "a"}, "spec": {"appEndpoint": {"url": "http://a:1", "token": canary("token")}}});
    h.post(&format!("{CRA}/projects/default/appids"), app).await;
    // Changed, sent in places where no secret belongs, and refused.
    let change = json!({"spec": {"metadata": [{"name": "redisPassword", "value": canary("changed")}]}});
    assert_eq!(
        h.call(&h.admin, Method::PATCH, &format!("{components}/c"), change)
            .await
            .0,
        202
    );
    for body in [
        json!({"metadata": {"name": "e"}, "spec": {"type": "state.redis", "password": canary("unknown")}}),
        json!({"metadata": {"name": "e"}, "spec": {"type": "state.redis", "metadata": [{"name": "x", "value": {"y": canary("object")}}]}}),
        json!({"metadata": {"name": "e"}, "spec": {"type": "state.redis", "metadata": canary("list")}}),
        json!({"metadata": {"name": "e"}, "spec": {"type": "state.redis", "metadata": [{"name": "redisPasswrod", "value": canary("misspelt")}]}}),
        json!({"metadata": {"name": "e"}, "spec": {"type": "nothing", "metadata": [{"name": "redisPassword", "value": canary("type")}]}}),
    ] {
        let (status, answer) = h.call(&h.admin, Method::POST, &components, body).await;
        assert_eq!(status, 400);
        assert!(!answer.to_string().contains("CANARY"), "{answer}");
    }
    for path in ["components", "appids", "components/c", "components/d", "appids/a"] {
        let shown = h.get(&format!("{CRA}/projects/default/{path}")).await;
        assert!(!shown.to_string().contains("CANARY"), "{shown}");
    }
    assert!(!json!(h.events("").await).to_string().contains("CANARY"));
    for canary in &canaries {
        assert_eq!(files_with(&h, canary), Vec::<String>::new(), "{canary}");
    }
    assert!(
        !files_with(&h, "redisPassword").is_empty(),
        "the sweep does look into the database"
    );
}

#[tokio::test]
async fn what_is_sealed_opens_in_the_region_alone_and_only_in_its_place() {
    let h = Harness::new().await;
    let made = h
        .post(
            &format!("{CRA}/projects/default/components"),
            redis("h:1", json!({"value": "hunter2"})),
        )
        .await;
    let (_, objects) = h.store.objects(h.region.as_str()).await.unwrap();
    let object = objects.iter().find(|object| object.name == "redis").unwrap();
    let (project, uid) = (object.project_id.as_str(), made["metadata"]["uid"].as_str().unwrap());
    let at = SealedField {
        region: h.region.as_str(),
        project,
        uid,
        field: "spec.metadata.redisPassword",
        version: 1,
    };
    assert_eq!(
        h.region_key.open(&at, &object.sealed[0]).unwrap().expose_secret(),
        b"hunter2"
    );
    for elsewhere in [
        SealedField {
            project: "prj-other",
            ..at
        },
        SealedField { version: 2, ..at },
        SealedField { uid: "x", ..at },
    ] {
        assert!(h.region_key.open(&elsewhere, &object.sealed[0]).is_err());
    }
}

#[tokio::test]
async fn sec_103_what_was_read_can_be_sent_back() {
    let h = Harness::new().await;
    let components = format!("{CRA}/projects/default/components");
    h.post(&components, redis("h:1", json!({"value": "hunter2"}))).await;
    let one = format!("{components}/redis");
    let read = h.get(&one).await;
    let sealed = |objects: Vec<palladium_regions::DesiredObject>| {
        objects.into_iter().find(|o| o.name == "redis").unwrap().sealed
    };
    let before = sealed(h.store.objects(h.region.as_str()).await.unwrap().1);
    for body in [
        read.clone(),
        redis("h:1", json!({"value": "**********"})),
        redis("h:1", json!({"value": "***"})),
    ] {
        let (status, answer) = h.call(&h.admin, Method::PUT, &one, body).await;
        assert_eq!(
            (status, &answer["metadata"]["generation"]),
            (202, &json!(1)),
            "{answer}"
        );
    }
    assert_eq!(sealed(h.store.objects(h.region.as_str()).await.unwrap().1), before);
    // A mask where there is nothing to keep is an error, not a password of asterisks.
    let mut fresh = redis("h:1", json!({"value": "***"}));
    fresh["metadata"]["name"] = "other".into();
    let (status, answer) = h.call(&h.admin, Method::POST, &components, fresh).await;
    assert_eq!(status, 400);
    assert!(detail(&answer).contains("no secret to keep"), "{answer}");
    // An application's token, read as a mask and sent back.
    let apps = format!("{CRA}/projects/default/appids");
    h.post(
        &apps,
        json!({"metadata": {"name": "a"}, "spec": {"appEndpoint": {"url": "http://a:1", "token": "hunter3"}}}),
    )
    .await;
    let masked = h.get(&format!("{apps}/a")).await;
    assert_eq!(masked["spec"]["appEndpoint"]["token"], "**********");
    let (status, answer) = h.call(&h.admin, Method::PUT, &format!("{apps}/a"), masked).await;
    assert_eq!(
        (status, &answer["metadata"]["generation"]),
        (202, &json!(1)),
        "{answer}"
    );
}

#[tokio::test]
async fn sec_103_nobody_moves_a_secret_to_another_address_without_entering_it_again() {
    let h = Harness::new().await;
    let components = format!("{CRA}/projects/default/components");
    let (component, app) = (
        format!("{components}/redis"),
        format!("{CRA}/projects/default/appids/a"),
    );
    h.post(&components, redis("good:1", json!({"value": "hunter2"}))).await;
    let endpoint = |url: &str, token: Value| json!({"metadata": {"name": "a"}, "spec": {"appEndpoint": {"url": url, "token": token}}});
    h.post(
        &format!("{CRA}/projects/default/appids"),
        endpoint("http://good:1", json!("hunter3")),
    )
    .await;
    let reference = h.get(&component).await["spec"]["metadata"][1]["secretKeyRef"].clone();
    for key in [
        h.admin.clone(),
        h.key("apiOperator", "").await,
        h.key("apiOperator", "default").await,
        h.key("admin", "default").await,
    ] {
        for secret in [json!({"value": "**********"}), json!({ "secretKeyRef": reference })] {
            for host in ["evil:1", "redis://x:y@evil:1"] {
                let (status, answer) = h.call(&key, Method::PUT, &component, redis(host, secret.clone())).await;
                assert_eq!(status, 400, "{answer}");
                assert!(
                    detail(&answer).contains("spec.metadata.redisPassword: must be entered again"),
                    "{answer}"
                );
                let patch = json!({"spec": redis(host, secret.clone())["spec"]});
                assert_eq!(h.call(&key, Method::PATCH, &component, patch).await.0, 400);
            }
        }
        let moved = json!({"spec": {"appEndpoint": {"url": "http://evil:1"}}});
        for (method, body) in [
            (Method::PATCH, moved),
            (Method::PUT, endpoint("http://evil:1", json!("**********"))),
        ] {
            let (status, answer) = h.call(&key, method, &app, body).await;
            assert_eq!(status, 400, "{answer}");
            assert!(
                detail(&answer).contains("spec.appEndpoint.token: must be entered again"),
                "{answer}"
            );
        }
    }
    assert_eq!(h.get(&component).await["metadata"]["generation"], 1);
    assert_eq!(h.get(&app).await["metadata"]["generation"], 1);
    // With the secret it is allowed.
    let (status, _) = h
        .call(
            &h.admin,
            Method::PUT,
            &component,
            redis("other:1", json!({"value": "hunter2"})),
        )
        .await;
    assert_eq!(status, 202);
    let (status, _) = h
        .call(
            &h.admin,
            Method::PUT,
            &app,
            endpoint("http://other:1", json!("hunter3")),
        )
        .await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn sec_101_misspelt_settings_and_copies_of_a_secret_are_refused() {
    let h = Harness::new().await;
    let components = format!("{CRA}/projects/default/components");
    let with = |name: &str, metadata: Value| {
        json!({"metadata": metadata, "spec": {"type": "state.redis", "metadata": [
        {"name": "redisHost", "value": "h:1"}, {"name": name, "value": "correct-horse"}]}})
    };
    let (status, answer) = h
        .call(
            &h.admin,
            Method::POST,
            &components,
            with("redisPasswrod", json!({"name": "r"})),
        )
        .await;
    assert_eq!(status, 400);
    let said = detail(&answer);
    assert!(
        said.contains("spec.metadata[1].name") && said.contains("did you mean redisPassword?"),
        "{said}"
    );
    let annotated = |key: &str| {
        with(
            "redisPassword",
            json!({"name": "r", "annotations": {key: "password is correct-horse"}}),
        )
    };
    let (status, answer) = h.call(&h.admin, Method::POST, &components, annotated("note")).await;
    assert!(
        status == 400 && detail(&answer).contains("metadata.annotations.note"),
        "{answer}"
    );
    // What kubectl adds to every object is left out.
    let made = h
        .post(
            &components,
            annotated("kubectl.kubernetes.io/last-applied-configuration"),
        )
        .await;
    assert_eq!(made["metadata"]["annotations"], json!({}));
    assert_eq!(files_with(&h, "correct-horse"), Vec::<String>::new());
}

#[tokio::test]
async fn sec_111_a_secret_of_another_object_or_project_cannot_be_referred_to() {
    let h = Harness::new().await;
    h.project("other").await;
    let made = h
        .post(
            &format!("{CRA}/projects/other/components"),
            redis("h:1", json!({"value": "hunter2"})),
        )
        .await;
    let theirs = made["metadata"]["uid"].as_str().unwrap();
    let components = format!("{CRA}/projects/default/components");
    let mut attempts = Vec::new();
    for key in [
        format!("{theirs}/spec.metadata.redisPassword"),
        format!("x/../{theirs}/spec.metadata.redisPassword"),
        format!("%2e%2e/{theirs}"),
        "/etc/passwd".into(),
        "..".into(),
    ] {
        attempts.push((json!({"secretKeyRef": {"name": "palladium", "key": key}}), Value::Null));
        attempts.push((
            json!({"secretKeyRef": {"name": key, "key": "k"}}),
            json!({"secretStore": "vault"}),
        ));
    }
    attempts.retain(|(reference, auth)| {
        auth.is_null()
            || reference["secretKeyRef"]["name"]
                .as_str()
                .unwrap()
                .contains(['.', '%', '/'])
    });
    attempts.push((
        json!({"secretKeyRef": {"name": "s", "key": "k"}}),
        json!({"secretStore": "other/vault"}),
    ));
    attempts.push((
        json!({"secretKeyRef": {"name": "s", "key": "k"}}),
        json!({"secretStore": "../other/vault"}),
    ));
    attempts.push((json!({"secretKeyRef": {"name": "s", "key": "k"}}), Value::Null));
    for (reference, auth) in attempts {
        // A plain path in the user's own store is that store's business.
        if !auth.is_null()
            && reference["secretKeyRef"]["name"]
                .as_str()
                .is_some_and(|n| n.starts_with(theirs))
        {
            continue;
        }
        let mut body = redis("h:1", reference);
        if !auth.is_null() {
            body["auth"] = auth;
        }
        let (status, answer) = h.call(&h.admin, Method::POST, &components, body.clone()).await;
        assert_eq!(status, 400, "{body} {answer}");
    }
}

#[tokio::test]
async fn sec_051_who_revokes_while_the_region_is_away_is_told_that_it_takes_no_hold_yet() {
    use std::sync::atomic::Ordering::Relaxed;
    let h = Harness::new().await;
    let app = format!("{CRA}/projects/default/appids/orders");
    h.post(
        &format!("{CRA}/projects/default/appids"),
        json!({"metadata": {"name": "orders"}}),
    )
    .await;
    let said = |answer: &Value| answer["status"]["messages"].to_string();
    for (verb, away) in [("revoke", false), ("rotate", false), ("revoke", true), ("rotate", true)] {
        h.fake.is_away.store(away, Relaxed);
        let answer = h.post(&format!("{app}/tokens:{verb}"), Value::Null).await;
        let text = said(&answer);
        assert_eq!(text.contains("region local is not connected"), away, "{verb}: {text}");
    }
    // It is said in the answer and kept nowhere.
    assert!(!said(&h.get(&app).await).contains("take hold"));
}

#[tokio::test]
async fn permitted_readers_see_secrets_from_the_region_and_a_note_when_it_is_away() {
    let h = Harness::new().await;
    let made = h
        .post(
            &format!("{CRA}/projects/default/components"),
            redis("h:1", json!({"value": "hunter2"})),
        )
        .await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let path = format!("{CRA}/projects/default/components/redis?showsensitive=true");
    let away = h.get(&path).await;
    assert!(
        away["status"]["messages"][0]["message"]
            .as_str()
            .unwrap()
            .contains("not connected"),
        "{away}"
    );
    assert!(away["spec"]["metadata"][1]["secretKeyRef"].is_object());
    h.fake
        .secrets
        .lock()
        .unwrap()
        .insert(format!("{uid}/spec.metadata.redisPassword"), "hunter2".into());
    assert_eq!(h.get(&path).await["spec"]["metadata"][1]["value"], "hunter2");
    let read = h.events("action=components.readSecrets").await;
    let outcomes: Vec<&str> = read.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["success", "failed"], "each sensitive read is recorded");
}
