//! sec_142: what a malicious or broken control plane may push, and what the region makes of it.

use palladium_proto::region::Verdict;
use serde_json::{Value, json};

use super::control::{Control, PROJECT, Wanted, region};
use crate::region::Region;

fn rails(folder: &std::path::Path, region: &Region, text: &str, seconds: u64) {
    let path = folder.join("guard-rails.yaml");
    std::fs::write(&path, text).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    std::fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    region.refresh_rails();
}

#[track_caller]
fn said(region: &Region, uid: &str) -> (Verdict, String, String) {
    let status = region.statuses.latest(uid).expect("said something");
    (status.verdict(), status.reason, status.field)
}

#[test]
fn sec_142_poison_is_refused_object_by_object() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let deep = (0..200).fold(json!(1), |inner, _| json!({ "a": inner }));
    let cases: Vec<(&str, Wanted, &str)> = vec![
        (
            "unknown kind",
            Wanted::new("Gremlin", "g", "u-1", json!({ "spec": {} })),
            "UnknownKind",
        ),
        (
            "unknown field",
            Wanted::app("a").generation(1, json!({ "spec": { "mtlsMode": "off" } })),
            "InvalidObject",
        ),
        (
            "wrong type",
            Wanted::component("c", json!({ "spec": { "type": 7 } })),
            "InvalidObject",
        ),
        ("blank", Wanted::component("d", json!({})), "InvalidObject"),
        (
            "deep",
            Wanted::component("e", json!({ "spec": { "type": "state.redis", "x": deep } })),
            "MalformedPayload",
        ),
        (
            "NaN as text",
            Wanted::app("f").generation(1, json!({ "spec": { "apiTokenRevision": "NaN" } })),
            "InvalidObject",
        ),
        (
            "own project only",
            Wanted {
                project: "default".into(),
                ..Wanted::app("h")
            },
            "ForeignProject",
        ),
        (
            "another tenant's project",
            Wanted {
                project: "prj-qqqqqqqqqqqq".into(),
                ..Wanted::app("k")
            },
            "ForeignProject",
        ),
        (
            "name with a path",
            Wanted {
                name: "../../etc".into(),
                ..Wanted::app("i")
            },
            "InvalidName",
        ),
        (
            "uid with a path",
            Wanted {
                uid: "../x".into(),
                ..Wanted::app("j")
            },
            "InvalidName",
        ),
    ];
    for (what, wanted, reason) in cases {
        region.take_entry(&control.put(&wanted)).unwrap();
        let (verdict, said, _) = said(&region, &wanted.uid);
        assert_eq!((verdict, said.as_str()), (Verdict::Rejected, reason), "{what}");
        region.take_entry(&control.delete(&wanted)).unwrap();
        assert_eq!(self::said(&region, &wanted.uid).0, Verdict::Deleted, "{what}");
    }
    for (what, bytes) in [
        ("blank bytes", ""),
        ("NaN", r#"{"spec": NaN}"#),
        ("null", "null"),
        ("no JSON", "\u{0}\u{1}"),
    ] {
        let wanted = Wanted::app("raw");
        region
            .take_entry(&control.put_bytes(&wanted, bytes.to_owned().into()))
            .unwrap();
        assert_eq!(said(&region, "u-raw").1, "MalformedPayload", "{what}");
    }
    let giant = vec![b' '; palladium_stream::MAX_PAYLOAD + 1];
    let giant = control.put_bytes(&Wanted::app("giant"), giant.into());
    assert!(region.take_entry(&giant).is_err());
    assert!(!folder.path().join("agent/x").exists());
}

#[test]
fn sec_142_what_is_beyond_the_guard_rails_is_held_and_the_old_generation_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let callback = |host: &str| json!({ "spec": { "appEndpoint": { "url": format!("http://{host}:8080") } } });
    let app = Wanted::app("orders").generation(1, callback("127.0.0.1"));
    region.take_entry(&control.put(&app)).unwrap();
    let beyond = app.clone().generation(2, callback("169.254.169.254"));
    region.take_entry(&control.put(&beyond)).unwrap();
    assert_eq!(
        said(&region, "u-orders"),
        (Verdict::Held, "BeyondGuardRails".into(), "spec.appEndpoint.url".into())
    );
    let in_force = |region: &Region| region.desired().app(PROJECT, "orders").map(|app| app.meta.generation);
    assert_eq!(in_force(&region), Some(1));

    // A snapshot holds the newest generation only, and the agent may be restarted: the old one still stays.
    region
        .take_snapshot(&control.snapshot(&[beyond, Wanted::project()]))
        .unwrap();
    drop(region);
    let region = Region::open(super::control::config(folder.path())).unwrap();
    assert_eq!(
        (in_force(&region), said(&region, "u-orders").0),
        (Some(1), Verdict::Held)
    );

    // The owner agrees, then changes their mind: local policy wins both times.
    rails(
        folder.path(),
        &region,
        "allow: {callbackHosts: [loopback, 169.254.169.254]}",
        5,
    );
    assert_eq!(in_force(&region), Some(2));
    rails(folder.path(), &region, "allow: {callbackHosts: []}", 9);
    assert_eq!(in_force(&region), None);
}

fn generation(region: &Region, app: &str) -> Option<u64> {
    region.desired().app(PROJECT, app).map(|app| app.meta.generation)
}

#[test]
fn sec_142_an_older_generation_is_refused_and_the_newer_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let with = |generation: u64, body: &str| {
        Wanted::app("orders").generation(generation, json!({ "spec": { "maxBodySize": body } }))
    };
    region.take_entry(&control.put(&with(3, "8Mi"))).unwrap();
    let rejected = (
        Verdict::Rejected,
        "RolledBack".to_owned(),
        "metadata.generation".to_owned(),
    );
    // Signed, in its place in the log, and older all the same; saying it twice does not help.
    for _ in 0..2 {
        region.take_entry(&control.put(&with(2, "1Mi"))).unwrap();
        assert_eq!(
            (said(&region, "u-orders"), generation(&region, "orders")),
            (rejected.clone(), Some(3))
        );
    }
    // Nor does a snapshot, nor a restart of the agent behind it.
    region
        .take_snapshot(&control.snapshot(&[with(1, "1Mi"), Wanted::project()]))
        .unwrap();
    assert_eq!(
        (said(&region, "u-orders"), generation(&region, "orders")),
        (rejected.clone(), Some(3))
    );
    drop(region);
    let region = Region::open(super::control::config(folder.path())).unwrap();
    assert_eq!(
        (said(&region, "u-orders"), generation(&region, "orders")),
        (rejected, Some(3))
    );
    region.take_entry(&control.put(&with(4, "4Mi"))).unwrap();
    assert_eq!(generation(&region, "orders"), Some(4));
}

#[test]
fn sec_142_a_project_that_this_region_does_not_serve_brings_nothing_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let of = |wanted: Wanted| Wanted {
        project: "prj-qqqqqqqqqqqq".into(),
        ..wanted
    };
    let theirs = of(Wanted::app("theirs"));
    // In the log, in a snapshot, and taken over by an object that is here.
    region.take_entry(&control.put(&theirs)).unwrap();
    assert_eq!(said(&region, "u-theirs").1, "ForeignProject");
    region.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    region
        .take_entry(&control.put(&of(Wanted::app("orders")).generation(2, json!({ "spec": {} }))))
        .unwrap();
    assert_eq!(said(&region, "u-orders").1, "ForeignObject");
    assert_eq!(generation(&region, "orders"), Some(1));
    let snapshot = control.snapshot(&[theirs, Wanted::app("orders"), Wanted::project()]);
    region.take_snapshot(&snapshot).unwrap();
    assert!(region.desired().app("prj-qqqqqqqqqqqq", "theirs").is_none());
    assert_eq!(generation(&region, "orders"), Some(1));
    // When the region serves it, what was refused counts.
    let project = Wanted {
        uid: "u-other-project".into(),
        ..of(Wanted::project())
    };
    region.take_entry(&control.put(&project)).unwrap();
    assert!(region.desired().app("prj-qqqqqqqqqqqq", "theirs").is_some());
}

#[test]
fn sec_142_secret_stores_that_need_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let store = |name: &str, needs: &str| {
        Wanted::component(
            name,
            json!({ "auth": { "secretStore": needs }, "spec": { "type": "secretstores.hashicorp.vault" } }),
        )
    };
    for (name, needs) in [("a", "b"), ("b", "c"), ("d", "a")] {
        region.take_entry(&control.put(&store(name, needs))).unwrap();
        assert!(region.statuses.latest(&format!("u-{name}")).is_none(), "{name}");
    }
    for (name, needs) in [("c", "a"), ("self", "self")] {
        region.take_entry(&control.put(&store(name, needs))).unwrap();
        let reason = (
            Verdict::Rejected,
            "CyclicReference".to_owned(),
            "auth.secretStore".to_owned(),
        );
        assert_eq!(said(&region, &format!("u-{name}")), reason);
    }
    let broken = store("c", "palladium").generation(2, json!({ "spec": { "type": "secretstores.hashicorp.vault" } }));
    region.take_entry(&control.put(&broken)).unwrap();
    let in_force = region
        .desired()
        .entry("u-c")
        .and_then(|entry| entry.admitted().cloned());
    assert_eq!(in_force.map(|object| object.meta.generation), Some(2));
    // The circle is closed by a change of one that was good.
    let changed = store("c", "").generation(
        3,
        json!({ "auth": { "secretStore": "d" }, "spec": { "type": "secretstores.hashicorp.vault" } }),
    );
    region.take_entry(&control.put(&changed)).unwrap();
    assert_eq!(said(&region, "u-c").1, "CyclicReference");
    let in_force = region
        .desired()
        .entry("u-c")
        .and_then(|entry| entry.admitted().cloned());
    assert_eq!(in_force.map(|object| object.meta.generation), Some(2));
    // It opens elsewhere: nobody has to say the refused one again.
    region.take_entry(&control.delete(&store("d", "a"))).unwrap();
    let in_force = region
        .desired()
        .entry("u-c")
        .and_then(|entry| entry.admitted().cloned());
    assert_eq!(in_force.map(|object| object.meta.generation), Some(3));
}

#[test]
fn sec_142_a_project_whose_newest_generation_is_refused_keeps_what_is_in_it_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    region.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    let off = Wanted::project().generation(2, json!({ "spec": { "mtls": { "enabled": false } } }));
    region.take_entry(&control.put(&off)).unwrap();
    assert_eq!(said(&region, &off.uid).0, Verdict::Held);
    assert_eq!(generation(&region, "orders"), Some(1));
    region
        .take_snapshot(&control.snapshot(&[Wanted::app("orders"), off.clone()]))
        .unwrap();
    assert_eq!(generation(&region, "orders"), Some(1));
    drop(region);
    let region = Region::open(super::control::config(folder.path())).unwrap();
    assert_eq!(said(&region, &off.uid).0, Verdict::Held);
    assert_eq!(generation(&region, "orders"), Some(1));
}

#[test]
fn sec_142_mutual_tls_cannot_be_switched_off_from_above() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    for (n, body) in [
        json!({ "spec": { "mtls": { "enabled": false } } }),
        json!({ "spec": { "deep": [{ "MTLS": { "enabled": false } }] } }),
        json!({ "spec": { "mtls": false } }),
    ]
    .into_iter()
    .enumerate()
    {
        let app = Wanted::app(&format!("a{n}")).generation(1, body);
        region.take_entry(&control.put(&app)).unwrap();
        assert_eq!(said(&region, &app.uid).0, Verdict::Held);
    }
}

#[test]
fn sec_111_a_reference_to_another_objects_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let component = |key: &str| {
        json!({ "spec": { "type": "state.redis", "metadata": [
            { "name": "redisHost", "value": "localhost:6379" },
            { "name": "redisPassword", "secretKeyRef": { "name": "palladium", "key": key } },
        ] } })
    };
    for (n, key) in [
        "u-other/spec.metadata.redisPassword",
        "u-store/spec.metadata.other",
        "../u-other/spec.metadata.redisPassword",
        "u-store0/../u-other/spec.metadata.redisPassword",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let wanted = Wanted::component(&format!("store{n}"), component(key));
        region.take_entry(&control.put(&wanted)).unwrap();
        assert_eq!(said(&region, &wanted.uid).0, Verdict::Rejected, "{key}");
    }
}

#[test]
fn components_are_held_by_the_hosts_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    rails(folder.path(), &region, "allow: {componentHosts: ['*.corp.example']}", 5);
    let redis = |host: &str| -> Value {
        json!({ "spec": { "type": "state.redis", "metadata": [{ "name": "redisHost", "value": host }] } })
    };
    let good = Wanted::component("good", redis("redis.corp.example:6379"));
    let bad = Wanted::component("bad", redis("evil.example:6379"));
    region.take_entry(&control.put(&good)).unwrap();
    region.take_entry(&control.put(&bad)).unwrap();
    assert!(region.statuses.latest("u-good").is_none());
    assert_eq!(
        said(&region, "u-bad"),
        (
            Verdict::Held,
            "BeyondGuardRails".into(),
            "spec.metadata.redisHost".into()
        )
    );
}

#[test]
fn a_default_that_is_an_address_is_held_like_one_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    rails(folder.path(), &region, "allow: {componentHosts: ['*.corp.example']}", 5);
    let model = |endpoint: Value| -> Value {
        json!({ "spec": { "type": "conversation.openai", "metadata": [{ "name": "Endpoint", "value": endpoint }] } })
    };
    for (name, endpoint, held) in [
        ("own", json!("https://models.corp.example/v1"), false),
        ("none", Value::Null, true),
        ("empty", json!(""), true),
    ] {
        let wanted = Wanted::component(name, model(endpoint));
        region.take_entry(&control.put(&wanted)).unwrap();
        let told = region.statuses.latest(&wanted.uid).map(|status| status.field);
        let expected = held.then(|| "spec.metadata.endpoint".to_owned());
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn sec_125_a_blank_secret_is_judged_as_the_default_that_the_driver_takes_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    rails(folder.path(), &region, "allow: {componentHosts: ['*.corp.example']}", 5);
    let reference = json!({ "name": "palladium", "key": "u-model/spec.metadata.endpoint" });
    let model = json!({ "spec": { "type": "conversation.openai", "metadata": [
        { "name": "endpoint", "secretKeyRef": reference },
    ] } });
    region
        .take_entry(&control.put(&Wanted::component("model", model)))
        .unwrap();
    let object = region.desired().entry("u-model").unwrap().admitted().unwrap().clone();
    for (value, allowed) in [
        ("https://models.corp.example/v1", true),
        ("https://models.evil.example/v1", false),
        ("", false),
        (" \n", false),
    ] {
        let judged = object.check_component_hosts(&region.rails(), "Endpoint", value, false);
        assert_eq!(judged.is_ok(), allowed, "{value:?}");
    }
    // A setting without a default that is an address may be blank.
    let key = object.check_component_hosts(&region.rails(), "key", "", false);
    assert!(key.is_ok());
}
