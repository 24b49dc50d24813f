//! Last-known-good on disk, secrets, read-back, deletion: what survives what. Long because they share how a region's disk is damaged,
//! sealed into and looked at.

use std::fs;
use std::path::{Path, PathBuf};

use palladium_proto::region::{ReadBackRequest, SecretField, Verdict, read_back_request::What};
use palladium_sealing::{ExposeSecret as _, SealedField};
use serde_json::json;

use super::control::{Control, PROJECT, REGION, Wanted, config, region};
use crate::audit::Audit;
use crate::read_back;
use crate::reconcile::take_in_secrets;
use crate::region::Region;

fn logs(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder.join("agent/desired"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

fn apps(region: &Region) -> Vec<String> {
    region
        .desired()
        .apps(PROJECT)
        .map(|app| app.meta.name.clone())
        .collect()
}

#[test]
fn sec_139_a_restarted_agent_goes_on_from_its_own_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let first = region(folder.path(), &control);
    first.take_entry(&control.put(&Wanted::project())).unwrap();
    first.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    let (position, version) = (first.position().0, first.versions.version(1_000));
    drop(first);
    let second = Region::open(config(folder.path())).unwrap();
    assert_eq!(apps(&second), ["orders"]);
    assert_eq!(second.position().0, position);
    assert!(
        second.versions.version(0) > version,
        "versions of tables never come back"
    );
    second.take_entry(&control.put(&Wanted::app("later"))).unwrap();
}

/// The log with a bit of its last record turned, and what is in it now.
fn damaged_log(folder: &Path) -> (PathBuf, Vec<u8>) {
    let log = logs(folder, "log").pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    *bytes.iter_mut().nth_back(2).unwrap() ^= 1;
    fs::write(&log, &bytes).unwrap();
    (log, bytes)
}

#[test]
fn sec_140_a_damaged_end_is_cut_off_and_a_damaged_snapshot_means_the_generation_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let first = region(folder.path(), &control);
    first.take_entry(&control.put(&Wanted::app("one"))).unwrap();
    first.take_entry(&control.put(&Wanted::app("two"))).unwrap();
    drop(first);
    damaged_log(folder.path());
    let second = Region::open(config(folder.path())).unwrap();
    assert_eq!(apps(&second), ["one"]);
    assert_eq!(logs(folder.path(), "damaged").len(), 1);
    let audit = fs::read_to_string(folder.path().join("agent/audit.log")).unwrap();
    assert!(
        audit.contains("is damaged behind seq 1") && audit.contains("rolled back or damaged"),
        "{audit}"
    );

    // The control plane sends what is missing; the log goes on where it is good.
    let snapshot = control.snapshot(&[Wanted::app("one"), Wanted::app("two"), Wanted::app("three")]);
    second.take_snapshot(&snapshot).unwrap();
    drop(second);
    let newest = logs(folder.path(), "snapshot").pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, &bytes).unwrap();
    let third = Region::open(config(folder.path())).unwrap();
    assert_eq!(apps(&third), ["one"]);
}

#[test]
fn sec_140_another_regions_files_are_refused() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (control, mut stranger) = (Control::new(), Control::new());
    drop(region(own.path(), &control));
    let foreign = region(other.path(), &stranger);
    foreign.take_entry(&stranger.put(&Wanted::app("evil"))).unwrap();
    drop(foreign);
    for file in logs(own.path(), "snapshot").into_iter().chain(logs(own.path(), "log")) {
        fs::remove_file(file).unwrap();
    }
    for file in logs(other.path(), "snapshot")
        .into_iter()
        .chain(logs(other.path(), "log"))
    {
        fs::copy(&file, own.path().join("agent/desired").join(file.file_name().unwrap())).unwrap();
    }
    assert!(apps(&Region::open(config(own.path())).unwrap()).is_empty());
}

fn sealed_component(region: &Region, value: &[u8]) -> Wanted {
    let field = "spec.metadata.redisPassword";
    let place = SealedField {
        region: REGION,
        project: PROJECT,
        uid: "u-store",
        field,
        version: 1,
    };
    let mut wanted = Wanted::component(
        "store",
        json!({ "spec": { "type": "state.redis", "metadata": [
            { "name": "redisHost", "value": "localhost:6379" },
            { "name": "redisPassword", "secretKeyRef": { "name": "palladium", "key": format!("u-store/{field}") } },
        ] } }),
    );
    wanted.sealed = vec![region.secrets.key().public().seal(&place, value).unwrap()];
    wanted
}

#[test]
fn a_sealed_secret_is_stored_confirmed_and_outlives_its_sealed_form() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let first = region(folder.path(), &control);
    let wanted = sealed_component(&first, b"canary-hunter2");
    first.take_entry(&control.put(&wanted)).unwrap();
    let object = first.desired().entry("u-store").unwrap().admitted().unwrap().clone();
    assert!(take_in_secrets(&first, &object).is_ok());
    let confirmed = first.statuses.take(16).confirmations;
    assert_eq!((confirmed.len(), confirmed[0].version), (1, 1));
    drop(first);

    // The control plane has forgotten the sealed form; nothing on this disk has it in clear.
    let second = Region::open(config(folder.path())).unwrap();
    let forgotten = Wanted {
        sealed: Vec::new(),
        ..wanted
    };
    second
        .take_snapshot(&control.snapshot(&[Wanted::project(), forgotten]))
        .unwrap();
    let object = second.desired().entry("u-store").unwrap().admitted().unwrap().clone();
    assert!(take_in_secrets(&second, &object).is_ok());
    let secret = second.secrets.get("u-store", "spec.metadata.redisPassword").unwrap();
    assert_eq!(secret.expose_secret(), "canary-hunter2");
    for entry in walk(folder.path()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(
            !bytes.windows(14).any(|window| window == b"canary-hunter2"),
            "{}",
            entry.display()
        );
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path))
        } else {
            files.push(path)
        }
    }
    files
}

#[test]
fn a_value_sealed_for_another_place_is_an_error_of_its_object() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let mut wanted = sealed_component(&region, b"x");
    wanted.project = "prj-qqqqqqqqqqqq".into();
    let project = Wanted {
        project: wanted.project.clone(),
        uid: "u-other-project".into(),
        ..Wanted::project()
    };
    region.take_entry(&control.put(&project)).unwrap();
    region.take_entry(&control.put(&wanted)).unwrap();
    let object = region.desired().entry("u-store").unwrap().admitted().unwrap().clone();
    assert!(take_in_secrets(&region, &object).is_err());
}

#[test]
fn read_back_is_bounded_by_the_guard_rails_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    region.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    region.tokens.ensure("u-orders", 0, 0, 1_000).unwrap();
    let wanted = sealed_component(&region, b"hunter2");
    region.take_entry(&control.put(&wanted)).unwrap();
    let object = region.desired().entry("u-store").unwrap().admitted().unwrap().clone();
    assert!(take_in_secrets(&region, &object).is_ok());
    let ask = |what| {
        let request = ReadBackRequest {
            request_id: "r".into(),
            actor: "ann@example.com\n{}".into(),
            what: Some(what),
        };
        read_back::answer(&region, request)
    };
    let token = ask(What::AppTokenUid("u-orders".into()));
    assert!(token.value.starts_with(b"pldt_") && token.error.is_empty());
    assert_eq!(ask(What::AppTokenUid("u-store".into())).error, "not-found");
    let field = SecretField {
        uid: "u-store".into(),
        field: "spec.metadata.redisPassword".into(),
    };
    let secret = ask(What::SecretField(field));
    assert_eq!(
        (secret.error.as_str(), secret.value.is_empty()),
        ("denied-by-guard-rails", true)
    );
    let audit = fs::read_to_string(folder.path().join("agent/audit-access.log")).unwrap();
    assert!(
        audit.contains(r#""actor":"ann@example.com{}","action":"appToken.read""#),
        "{audit}"
    );
    assert!(audit.contains(r#""action":"secret.read","object":"u-store/spec.metadata.redisPassword""#));
    assert!(!audit.contains("pldt_") && !audit.contains("hunter2"));
}

#[test]
fn a_deletion_survives_a_crash_and_a_deletion_of_nothing_is_done_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let first = region(folder.path(), &control);
    let app = Wanted::app("orders");
    first.take_entry(&control.put(&app)).unwrap();
    first.take_entry(&control.delete(&app)).unwrap();
    first.take_entry(&control.delete(&Wanted::app("never"))).unwrap();
    assert_eq!(first.statuses.latest("u-never").unwrap().verdict(), Verdict::Deleted);
    assert!(first.statuses.latest("u-orders").is_none(), "not done yet");
    drop(first);
    let second = Region::open(config(folder.path())).unwrap();
    assert!(second.tombstones.has("AppIdentity", PROJECT, "orders"));
}

#[test]
fn sec_140_what_was_not_acknowledged_is_not_in_the_log_either() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let first = region(folder.path(), &control);
    first.take_entry(&control.put(&Wanted::app("one"))).unwrap();
    let log = logs(folder.path(), "log").pop().unwrap();
    let good = fs::read(&log).unwrap();
    // The mark cannot be written, as on a full disk: the entry is refused as a whole and comes again later.
    let (marks, aside) = (folder.path().join("agent/marks"), folder.path().join("aside"));
    fs::rename(&marks, &aside).unwrap();
    fs::write(&marks, "").unwrap();
    let two = control.put(&Wanted::app("two"));
    assert!(first.take_entry(&two).is_err());
    assert_eq!(fs::read(&log).unwrap(), good);
    fs::remove_file(&marks).unwrap();
    fs::rename(&aside, &marks).unwrap();
    first.take_entry(&two).unwrap();
    drop(first);
    let second = Region::open(config(folder.path())).unwrap();
    assert_eq!(apps(&second), ["one", "two"]);
    assert!(logs(folder.path(), "damaged").is_empty());
}

#[test]
fn sec_140_a_damaged_log_of_which_no_copy_can_be_kept_costs_nothing_that_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let first = region(folder.path(), &control);
    first.take_entry(&control.put(&Wanted::app("one"))).unwrap();
    let one = first.position().0;
    first.take_entry(&control.put(&Wanted::app("two"))).unwrap();
    drop(first);
    let (log, bytes) = damaged_log(folder.path());
    // As on a full disk, the copy fails.
    fs::create_dir(log.with_extension("damaged")).unwrap();
    let second = Region::open(config(folder.path())).unwrap();
    assert_eq!(
        (apps(&second), second.position()),
        (vec!["one".to_owned()], (one, true))
    );
    assert_eq!(fs::read(&log).unwrap(), bytes, "nothing is lost");
    let snapshot = control.snapshot(&[Wanted::app("one"), Wanted::app("two"), Wanted::project()]);
    second.take_snapshot(&snapshot).unwrap();
    second.take_entry(&control.put(&Wanted::app("three"))).unwrap();
    drop(second);
    let third = Region::open(config(folder.path())).unwrap();
    assert_eq!(apps(&third), ["one", "three", "two"]);
}

#[test]
fn a_region_that_ran_before_never_gets_the_default_guard_rails_again() {
    let folder = tempfile::tempdir().unwrap();
    // Not even joined yet.
    drop(Region::open(config(folder.path())).unwrap());
    let rails = folder.path().join("guard-rails.yaml");
    fs::remove_file(&rails).unwrap();
    let error = Region::open(config(folder.path())).err().expect("refused").to_string();
    assert!(
        error.contains("guard-rails.yaml") && error.contains("Bring it back"),
        "{error}"
    );
    assert!(!rails.exists());
}

#[test]
fn sec_142_a_secret_that_nobody_has_looked_at_yet_is_bound_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let first = sealed_component(&region, b"hunter2");
    region.take_entry(&control.put(&first)).unwrap();
    // At once, with the sealed form that is not confirmed yet: no reconciler ran in between.
    let moved = |generation, change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = first.body.clone();
        change(&mut body["spec"]);
        first.clone().generation(generation, body)
    };
    let changes: [&dyn Fn(&mut serde_json::Value); 4] = [
        &|spec| spec["metadata"][0]["value"] = "evil.example:6379".into(),
        &|spec| spec["type"] = "state.postgresql".into(),
        &|spec| spec["version"] = "v2".into(),
        // A second address, added later.
        &|spec| {
            let more = json!({ "name": "failoverHosts", "value": "evil.example:6379" });
            spec["metadata"].as_array_mut().unwrap().push(more);
        },
    ];
    for (generation, change) in (2..).zip(changes) {
        region.take_entry(&control.put(&moved(generation, change))).unwrap();
        let said = region.statuses.latest("u-store").unwrap();
        assert_eq!(
            (said.verdict(), said.generation),
            (Verdict::Held, generation),
            "{}",
            said.message
        );
    }
    // A further secret that is no address moves nothing.
    let further = moved(9, &|spec| {
        let reference = json!({ "name": "palladium", "key": "u-store/spec.metadata.redisUsername" });
        let more = json!({ "name": "redisUsername", "secretKeyRef": reference });
        spec["metadata"].as_array_mut().unwrap().push(more);
    });
    region.take_entry(&control.put(&further)).unwrap();
    let object = region.desired().entry("u-store").unwrap().admitted().unwrap().clone();
    assert_eq!(object.meta.generation, 9);
}

#[test]
fn sec_142_an_applications_token_stays_with_its_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let region = region(folder.path(), &control);
    let field = "spec.appEndpoint.token";
    let place = SealedField {
        region: REGION,
        project: PROJECT,
        uid: "u-orders",
        field,
        version: 1,
    };
    let app = |generation, url: &str| {
        let token = json!({ "secretKeyRef": { "name": "palladium", "key": format!("u-orders/{field}") } });
        let body = json!({ "spec": { "appEndpoint": { "url": url, "token": token } } });
        Wanted::app("orders").generation(generation, body)
    };
    let mut first = app(1, "http://127.0.0.1:8080");
    first.sealed = vec![region.secrets.key().public().seal(&place, b"hunter2").unwrap()];
    region.take_entry(&control.put(&first)).unwrap();
    let in_force = || region.desired().app(PROJECT, "orders").map(|app| app.meta.generation);
    assert_eq!(in_force(), Some(1));
    region
        .take_entry(&control.put(&app(2, "http://127.0.0.1:9090")))
        .unwrap();
    let said = region.statuses.latest("u-orders").unwrap();
    assert_eq!(
        (said.verdict(), said.field.as_str(), in_force()),
        (Verdict::Held, field, Some(1))
    );
}

#[test]
fn a_secret_that_cannot_be_recorded_is_not_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let mut region = region(folder.path(), &control);
    // A log that is full after each line.
    region.access = Audit::open(folder.path().join("agent/audit-access.log"), 1).unwrap();
    region.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    region.tokens.ensure("u-orders", 0, 0, 1_000).unwrap();
    let ask = || {
        let request = ReadBackRequest {
            request_id: "r".into(),
            actor: "ann".into(),
            what: Some(What::AppTokenUid("u-orders".into())),
        };
        read_back::answer(&region, request)
    };
    assert!(ask().error.is_empty());
    // The log is full and cannot go on.
    let older = folder.path().join("agent/audit-access.1.log");
    let _ = fs::remove_file(&older);
    fs::create_dir(&older).unwrap();
    let refused = ask();
    assert_eq!(
        (refused.error.as_str(), refused.value.is_empty()),
        ("the region's audit log cannot be written", true)
    );
    fs::remove_dir(&older).unwrap();
    assert!(ask().error.is_empty());
}

#[test]
fn readers_push_no_change_out_of_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let mut region = region(folder.path(), &control);
    region.audit = Audit::open(folder.path().join("agent/audit.log"), 2_000).unwrap();
    region.access = Audit::open(folder.path().join("agent/audit-access.log"), 2_000).unwrap();
    region.audit_event("region", "appToken.revoke", "prj-p/orders", "done");
    region.take_entry(&control.put(&Wanted::app("orders"))).unwrap();
    for n in 0..100 {
        let request = ReadBackRequest {
            request_id: "r".into(),
            actor: format!("ann-{n}"),
            what: Some(What::AppTokenUid("u-orders".into())),
        };
        read_back::answer(&region, request);
    }
    let text = |name: &str| fs::read_to_string(folder.path().join("agent").join(name)).unwrap_or_default();
    assert!(text("audit.log").contains("appToken.revoke"));
    let reads = text("audit-access.1.log") + &text("audit-access.log");
    assert!(reads.contains("ann-99") && reads.len() < 5_000, "{reads}");
}

#[test]
fn sec_142_a_kept_secret_goes_nowhere_else_than_where_it_was_entered_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::new();
    let mut region = region(folder.path(), &control);
    let first = sealed_component(&region, b"hunter2");
    let take_in = |region: &Region| {
        let object = region.desired().entry("u-store").unwrap().admitted().unwrap().clone();
        assert!(take_in_secrets(region, &object).is_ok());
    };
    let in_force = |region: &Region| {
        let object = region.desired().entry("u-store").unwrap().admitted().unwrap().clone();
        object.meta.generation
    };
    region.take_entry(&control.put(&first)).unwrap();
    take_in(&region);
    let with = |generation, host: &str, prefix: &str| {
        let mut body = first.body.clone();
        body["spec"]["metadata"][0]["value"] = host.into();
        let settings = body["spec"]["metadata"].as_array_mut().unwrap();
        settings.push(json!({ "name": "keyPrefix", "value": prefix }));
        let mut wanted = first.clone().generation(generation, body);
        wanted.sealed.clear();
        wanted
    };
    assert_eq!(
        region.secrets.masked("u-store", "no hunter2 there"),
        "no ********** there"
    );
    // What stays in the Dapr Server may change.
    region
        .take_entry(&control.put(&with(2, "localhost:6379", "name")))
        .unwrap();
    assert_eq!(in_force(&region), 2);
    take_in(&region);
    // Elsewhere: without the secret, with the old sealed form of it, and once more after a restart.
    let elsewhere = with(3, "evil.example:6379", "name");
    region.take_entry(&control.put(&elsewhere)).unwrap();
    let mut replayed = with(4, "evil.example:6379", "name");
    replayed.sealed = first.sealed.clone();
    region.take_entry(&control.put(&replayed)).unwrap();
    let held = |region: &Region| {
        let said = region.statuses.latest("u-store").unwrap();
        assert_eq!(
            (said.verdict(), said.field.as_str()),
            (Verdict::Held, "spec.metadata.redisPassword")
        );
    };
    held(&region);
    drop(region);
    region = Region::open(config(folder.path())).unwrap();
    held(&region);
    assert_eq!(in_force(&region), 2);
    // Entered again: it may go there, and is not held after a restart.
    let again = |region: &Region, version| {
        let place = SealedField {
            region: REGION,
            project: PROJECT,
            uid: "u-store",
            field: "spec.metadata.redisPassword",
            version,
        };
        region.secrets.key().public().seal(&place, b"hunter2").unwrap()
    };
    let mut entered = with(5, "evil.example:6379", "name");
    entered.sealed = vec![again(&region, 5)];
    region.take_entry(&control.put(&entered)).unwrap();
    assert_eq!(in_force(&region), 5);
    take_in(&region);
    drop(region);
    region = Region::open(config(folder.path())).unwrap();
    assert_eq!(in_force(&region), 5);
    // And not back to the first place.
    region
        .take_entry(&control.put(&with(6, "localhost:6379", "name")))
        .unwrap();
    assert_eq!(in_force(&region), 5);
}
