//! What any database behind this interface must do. Only the public interface is used, but for making the disk "full".

use std::collections::BTreeMap;

use palladium_kinds::audit_event::{AuditActor, AuditEvent, AuditResource, AuditSource};
use palladium_kinds::status::{Report, Verdict, word};
use palladium_kinds::{OrganizationId, ProjectId, RegionId, Timestamp, ids};
use palladium_proto::region::SealedConfirmation;
use palladium_regions::{JoinTokenRecord, LogRow, Position, RegionRecord, RegionStore as _};
use palladium_sealing::SealedValue;
use serde_json::{Map, json};

use crate::*;

mod disk;

struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
    org: OrganizationId,
    region: RegionId,
    project: ProjectId,
}

fn event() -> AuditEvent {
    AuditEvent {
        id: ids::new_uid(),
        sequence: 0,
        occurred_at: Timestamp::now(),
        actor: AuditActor::default(),
        action: "test".into(),
        outcome: "success".into(),
        status: 202,
        reason: String::new(),
        resource: AuditResource::default(),
        changes: vec![],
        before_hash: String::new(),
        after_hash: String::new(),
        source: AuditSource::default(),
        count: 1,
    }
}

fn create(kind: &str, project: Option<&ProjectId>, id: &str, region: Option<&RegionId>, name: &str) -> Create {
    Create {
        kind: kind.into(),
        project: project.cloned(),
        id: id.into(),
        region: region.cloned(),
        name: name.into(),
        uid: ids::new_uid(),
        content: json!({"spec": {}}).as_object().cloned().unwrap(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        finalizers: vec!["cra.diagrid.io/region".into()],
        sealed: vec![],
    }
}

fn secret(field: &str, version: u64) -> SealedSecret {
    let value = SealedValue {
        field: field.into(),
        version,
        key_id: "k".into(),
        ciphertext: format!("cipher-{field}-{version}"),
    };
    SealedSecret {
        value,
        fingerprint: [1; 32],
    }
}

fn update(old: &Resource) -> Update {
    Update {
        uid: old.uid.clone(),
        generation: old.generation,
        content: json!({"spec": {"protocol": "grpc"}}).as_object().cloned().unwrap(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        sealed: vec![],
        forgotten: vec![],
    }
}

fn report(generation: u64, verdict: Verdict) -> Report {
    let details = json!({"spiffeId": "spiffe://x", "apiToken": "must not be kept"})
        .as_object()
        .cloned()
        .unwrap();
    Report {
        generation,
        verdict,
        reason: "R".into(),
        message: String::new(),
        field: String::new(),
        details,
    }
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let org = store
            .organization_ensure(&OrganizationId::generate(), "o")
            .await
            .unwrap()
            .id;
        let (region, project) = (RegionId::generate(), ProjectId::generate());
        let mut local = create("Region", None, region.as_str(), None, "local");
        local.finalizers.clear();
        let shop = create("Project", None, project.as_str(), Some(&region), "shop");
        store
            .commit(&org, vec![Mutation::Create(local), Mutation::Create(shop)], event())
            .await
            .unwrap();
        Self {
            folder,
            store,
            org,
            region,
            project,
        }
    }

    async fn add(&self, mutations: Vec<Mutation>) -> Result<Resource, Error> {
        self.store
            .commit(&self.org, mutations, event())
            .await
            .map(|mut committed| committed.resources.pop().unwrap())
    }

    async fn app(&self, name: &str) -> Resource {
        let new = create("AppIdentity", Some(&self.project), "", None, name);
        self.add(vec![Mutation::Create(new)]).await.unwrap()
    }

    async fn find(&self, kind: &str, name: &str) -> Option<Resource> {
        let project = (kind != "Project").then_some(&self.project);
        self.store.resource_find(&self.org, kind, project, name).await.unwrap()
    }

    async fn events(&self) -> usize {
        let filter = AuditFilter {
            limit: 500,
            ..AuditFilter::default()
        };
        self.store.audit_list(&self.org, &filter).await.unwrap().events.len()
    }
}

#[tokio::test]
async fn a_change_and_its_record_are_one_or_none() {
    let f = Fixture::new().await;
    f.app("orders").await;
    let before = f.events().await;
    let twice = create("AppIdentity", Some(&f.project), "", None, "orders");
    let other = create("AppIdentity", Some(&f.project), "", None, "other");
    let result = f.add(vec![Mutation::Create(other), Mutation::Create(twice)]).await;
    assert!(matches!(result, Err(Error::Exists { deleting: false, .. })));
    assert_eq!(f.events().await, before);
    assert!(
        f.find("AppIdentity", "other").await.is_none(),
        "nothing of a failed commit stays"
    );
}

#[tokio::test]
async fn versions_grow_with_every_change_and_a_stale_change_is_refused() {
    let f = Fixture::new().await;
    let (a, b) = (f.app("a").await, f.app("b").await);
    assert!(b.resource_version > a.resource_version && a.region_id == f.region.as_str() && a.project_name == "shop");
    let changed = f.add(vec![Mutation::Update(update(&a))]).await.unwrap();
    assert_eq!((changed.generation, changed.status.status.as_str()), (2, word::PENDING));
    assert!(changed.resource_version > b.resource_version);
    assert!(matches!(
        f.add(vec![Mutation::Update(update(&a))]).await,
        Err(Error::Changed)
    ));
    assert!(matches!(
        f.add(vec![Mutation::Delete {
            uid: a.uid,
            generation: 1
        }])
        .await,
        Err(Error::Changed)
    ));
}

#[tokio::test]
async fn reports_move_status_only_and_only_those_of_the_own_region() {
    let f = Fixture::new().await;
    let app = f.app("a").await;
    f.store
        .status_report("reg-someoneelse2", &app.uid, report(1, Verdict::Ready))
        .await
        .unwrap();
    assert_eq!(f.find("AppIdentity", "a").await.unwrap().status.status, word::PENDING);
    f.store
        .status_report(f.region.as_str(), &app.uid, report(1, Verdict::Ready))
        .await
        .unwrap();
    let ready = f.find("AppIdentity", "a").await.unwrap();
    assert_eq!(ready.status.status, word::READY);
    assert!(ready.status.details.contains_key("spiffeId") && !ready.status.details.contains_key("apiToken"));
    assert_eq!((ready.generation, ready.desired_version), (1, app.desired_version));
    // The same again is no change.
    f.store
        .status_report(f.region.as_str(), &app.uid, report(1, Verdict::Ready))
        .await
        .unwrap();
    assert_eq!(
        f.find("AppIdentity", "a").await.unwrap().resource_version,
        ready.resource_version
    );
    // Something that is wanted cannot be reported away.
    f.store
        .status_report(f.region.as_str(), &app.uid, report(1, Verdict::Deleted))
        .await
        .unwrap();
    assert!(f.find("AppIdentity", "a").await.is_some());
}

#[tokio::test]
async fn a_project_goes_when_everything_in_it_is_gone_and_its_name_is_held_until_then() {
    let f = Fixture::new().await;
    let app = f.app("a").await;
    let project = f.find("Project", "shop").await.unwrap();
    f.add(vec![Mutation::Delete {
        uid: project.uid.clone(),
        generation: 1,
    }])
    .await
    .unwrap();
    assert_eq!(f.find("AppIdentity", "a").await.unwrap().status.status, word::DELETING);
    let again = create("Project", None, ProjectId::generate().as_str(), Some(&f.region), "shop");
    assert!(matches!(
        f.add(vec![Mutation::Create(again.clone())]).await,
        Err(Error::Exists { deleting: true, .. })
    ));
    let inside = create("AppIdentity", Some(&f.project), "", None, "late");
    assert!(matches!(
        f.add(vec![Mutation::Create(inside)]).await,
        Err(Error::Deleting)
    ));
    f.store
        .status_report(f.region.as_str(), &project.uid, report(1, Verdict::Deleted))
        .await
        .unwrap();
    assert!(f.find("Project", "shop").await.is_some(), "the App ID is still there");
    f.store
        .status_report(f.region.as_str(), &app.uid, report(1, Verdict::Deleted))
        .await
        .unwrap();
    assert!(f.find("AppIdentity", "a").await.is_none() && f.find("Project", "shop").await.is_none());
    f.add(vec![Mutation::Create(again)]).await.unwrap();
}

#[tokio::test]
async fn regions_follow_changes_of_their_objects_with_what_is_sealed() {
    let f = Fixture::new().await;
    let region = f.region.as_str();
    let mut new = create("Component", Some(&f.project), "", None, "redis");
    new.sealed = vec![secret("spec.metadata.redisPassword", 1)];
    let component = f.add(vec![Mutation::Create(new)]).await.unwrap();
    let changes = f.store.changes_after(region, 0, 100).await.unwrap();
    let names: Vec<String> = changes
        .iter()
        .map(|change| change.object.clone().unwrap().name)
        .collect();
    assert_eq!(names, ["shop", "redis"], "the region itself is not told about itself");
    let object = changes[1].object.clone().unwrap();
    assert_eq!(
        (object.sealed.len(), object.project_name.as_str(), object.deleting),
        (1, "shop", false)
    );
    assert!(
        f.store
            .changes_after(region, changes[1].cursor, 100)
            .await
            .unwrap()
            .is_empty()
    );
    // A wrong version confirms nothing, the right one removes the ciphertext for good.
    for (version, left) in [(9, 1), (1, 0)] {
        let confirmation = SealedConfirmation {
            uid: component.uid.clone(),
            field: "spec.metadata.redisPassword".into(),
            version,
        };
        f.store.confirm_sealed(region, confirmation).await.unwrap();
        assert_eq!(f.store.objects(region).await.unwrap().1[1].sealed.len(), left);
    }
    assert_eq!(
        f.store.secret_states(&f.org, &component.uid).await.unwrap().len(),
        1,
        "that there is a secret stays known"
    );
}

#[tokio::test]
async fn a_confirmed_value_leaves_the_kept_log_too() {
    let f = Fixture::new().await;
    let mut new = create("Component", Some(&f.project), "", None, "redis");
    new.sealed = vec![secret("f", 1)];
    let component = f.add(vec![Mutation::Create(new)]).await.unwrap();
    let (from, region) = (Position::default(), f.region.as_str());
    let to = Position {
        seq: 2,
        cursor: 9,
        ..Position::default()
    };
    let row = |seq, payload: &'static str| LogRow {
        epoch: 1,
        seq,
        header: Default::default(),
        signature: Default::default(),
        payload: payload.into(),
    };
    let rows = vec![row(1, "{\"sealed\":\"cipher-f-1\"}"), row(2, "{}")];
    f.store.append(region, &from, rows.clone(), &to).await.unwrap();
    assert!(
        f.store.append(region, &from, rows, &to).await.is_err(),
        "the end has moved"
    );
    assert_eq!(f.store.rows_after(region, 1, 0, 10).await.unwrap().len(), 2);
    let confirmation = SealedConfirmation {
        uid: component.uid,
        field: "f".into(),
        version: 1,
    };
    f.store.confirm_sealed(region, confirmation).await.unwrap();
    let left = f.store.rows_after(region, 1, 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|row| row.seq).collect::<Vec<_>>(), [2]);
    f.store.trim(region, 1, 2).await.unwrap();
    assert!(f.store.rows_after(region, 1, 0, 10).await.unwrap().is_empty());
    assert_eq!(f.store.position(region).await.unwrap(), to);
}

#[tokio::test]
async fn a_region_joins_once() {
    let f = Fixture::new().await;
    let token = |id: &str| JoinTokenRecord {
        id: id.into(),
        region_id: f.region.to_string(),
        secret_sha256: [3; 32],
        expires_at_unix_ms: i64::MAX,
    };
    for id in ["one", "two", "three"] {
        f.store.put_join_token(token(id)).await.unwrap();
    }
    let record = RegionRecord {
        region_id: f.region.to_string(),
        hpke_key_id: "k".into(),
        ..RegionRecord::default()
    };
    assert_eq!(f.store.join_token("one").await.unwrap(), Some(token("one")));
    let (first, second) = tokio::join!(
        f.store.redeem("one", record.clone()),
        f.store.redeem("two", record.clone())
    );
    assert_eq!(
        usize::from(first.unwrap()) + usize::from(second.unwrap()),
        1,
        "of two at once one joins"
    );
    assert!(!f.store.redeem("three", record).await.unwrap());
    assert_eq!(f.store.join_token("three").await.unwrap(), None);
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_followers_start_from_the_end() {
    let f = Fixture::new().await;
    let app = f.app("a").await;
    f.store.close().await;
    let again = Store::open(f.folder.path()).await.unwrap();
    assert_eq!(
        again
            .resource_find(&f.org, "AppIdentity", Some(&f.project), "a")
            .await
            .unwrap(),
        Some(app.clone())
    );
    assert_eq!(*again.changed().borrow(), app.resource_version);
    assert_eq!(
        again
            .organization_ensure(&OrganizationId::generate(), "x")
            .await
            .unwrap()
            .id,
        f.org
    );
}

#[tokio::test]
async fn the_audit_log_is_read_in_pages_newest_first() {
    let f = Fixture::new().await;
    for _ in 0..5 {
        f.store.audit_record(&f.org, &event()).await.unwrap();
    }
    let mut filter = AuditFilter {
        limit: 2,
        action: "test".into(),
        ..AuditFilter::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = f.store.audit_list(&f.org, &filter).await.unwrap();
        seen.extend(page.events.iter().map(|event| event.sequence));
        match page.next {
            Some(next) => filter.before = next,
            None => break,
        }
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
    assert!(
        f.store
            .audit_list(&OrganizationId::generate(), &filter)
            .await
            .unwrap()
            .events
            .is_empty()
    );
}
