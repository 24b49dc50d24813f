//! Everything this agent knows, in one value that all its parts share.
//!
//! The one idea: one writer for each part of it, and one signal ([`Versions`]) that says "look again". There is no queue
//! between the parts, so nothing can be lost or come in the wrong order. Must never put in force what is not on disk yet.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palladium_identity::Attestor;
use palladium_launch::DaprServerConfig;
use palladium_proto::region::{LogEntry, LogHeader, ObjectStatus, Op, Snapshot, Verdict};
use palladium_sealing::Kek;
use palladium_spiffe::{SpiffeId, TrustDomain, platform};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::audit::{Audit, Event};
use crate::desired::disk::{Disk, Loaded};
use crate::desired::objects::Entry;
use crate::desired::verify::Object;
use crate::desired::{Admitted, Desired, Judgement, LogKey, Position, Refusal, Rules};
use crate::guard_rails::{GuardRails, GuardRailsFile};
use crate::joined::{self, Joined, RegionKey};
use crate::observed::Observed;
use crate::ports::{AppPorts, Ports};
use crate::revocations::Revocations;
use crate::secrets::Secrets;
use crate::statuses::Statuses;
use crate::tokens::Tokens;
use crate::tombstones::{Tombstone, Tombstones};
use crate::vault::Vault;
use crate::versions::Versions;
use crate::{Config, Error};

/// SPIFFE IDs of this region.
pub(crate) struct Names {
    pub(crate) domain: TrustDomain,
}

impl Names {
    /// The ID of an App ID's Dapr Server, as text.
    pub(crate) fn app(&self, project_id: &str, app_id: &str) -> String {
        format!("spiffe://{}/ns/{project_id}/{app_id}", self.domain)
    }

    /// The ID of the store, as text.
    pub(crate) fn store(&self) -> String {
        format!("spiffe://{}{}", self.domain, platform::STORE)
    }

    /// Whether `id` is that role of this region's platform.
    pub(crate) fn is_role(&self, id: &SpiffeId, path: &str) -> bool {
        *id.trust_domain() == self.domain && id.path() == path
    }
}

/// The region.
pub(crate) struct Region {
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) key: RegionKey,
    pub(crate) attestor: Attestor,
    pub(crate) secrets: Secrets,
    pub(crate) tokens: Tokens,
    pub(crate) ports: Ports,
    pub(crate) revocations: Revocations,
    pub(crate) tombstones: Tombstones,
    pub(crate) statuses: Statuses,
    pub(crate) observed: Observed,
    pub(crate) versions: Versions,
    pub(crate) audit: Audit,
    marks: Vault,
    /// Generations in force whose object has a newer, refused one: they are not in a snapshot.
    pinned: Vault,
    rails: RwLock<GuardRails>,
    rails_file: Mutex<GuardRailsFile>,
    desired: RwLock<Arc<Desired>>,
    /// The log on disk and its end; `None` before joining.
    copy: Mutex<Option<Copy>>,
}

struct Copy {
    key: LogKey,
    disk: Disk,
    position: Position,
}

impl Region {
    /// Opens everything on disk. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read; a damaged desired state is no error, see [`Disk::open`].
    pub(crate) fn open(config: Config) -> Result<Self, Error> {
        let folder = config.data_folder.clone();
        palladium_os::files::private_folder(&folder)?;
        palladium_os::files::private_folder(&config.apps_folder)?;
        let domain =
            platform::trust_domain(&config.region_id).map_err(|error| Error::Config(format!("region_id: {error}")))?;
        let kek = Arc::new(Kek::open(&config.kek)?);
        if !kek.status().protects_a_copied_disk {
            tracing::warn!("secrets at rest are wrapped by a bare key file: fit for a laptop, not for production");
        }
        let attestor = crate::run::open_attestor(&config, &kek)?;
        // The region's key is made behind the guard rails: where it is, they were.
        let new = matches!(RegionKey::file(&folder).try_exists(), Ok(false)) && !folder.join("desired").exists();
        let (rails_file, rails) = GuardRailsFile::open(&config.guard_rails_file, new)?;
        let vault = |name: &'static str| Vault::open(kek.clone(), &folder.join(name), name);
        let region = Self {
            names: Names { domain },
            key: RegionKey::open(&kek, &folder)?,
            attestor,
            secrets: Secrets::open(vault("secrets")?, joined::hpke_key(&kek, &folder)?, &config.region_id)?,
            tokens: Tokens::open(vault("tokens")?, config.token_overlap_seconds)?,
            ports: Ports::open(folder.join("ports.json"), config.app_ports)?,
            revocations: Revocations::open(folder.join("revocations.json"))?,
            tombstones: Tombstones::open(folder.join("tombstones.json"))?,
            statuses: Statuses::default(),
            observed: Observed::new(now_ms()),
            versions: Versions::open(&folder)?,
            audit: Audit::open(folder.join("audit.log"), AUDIT_BYTES)?,
            marks: vault("marks")?,
            pinned: vault("pinned")?,
            rails: RwLock::new(rails),
            rails_file: Mutex::new(rails_file),
            desired: RwLock::default(),
            copy: Mutex::new(None),
            config,
        };
        if let Some(joined) = Joined::read(&folder)? {
            region.open_copy(&joined)?;
        }
        Ok(region)
    }

    /// Opens the copy of the log, once the key that signs it is known. Blocks.
    pub(crate) fn open_copy(&self, joined: &Joined) -> Result<(), Error> {
        let folder = self.config.data_folder.join("desired");
        let key = joined.log_key().ok_or_else(|| Error::Damaged {
            path: folder.clone(),
            reason: "no log key in joined.json".to_owned(),
        })?;
        let (disk, loaded) = Disk::open(&folder, self.marks.clone(), &key, &self.config.region_id)?;
        let Loaded {
            position,
            objects,
            entries,
            damage,
        } = loaded;
        for damage in &damage {
            tracing::error!(damage, "desired state on disk");
            self.audit_event("region", "desiredState.load", damage, "damaged");
        }
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let rails = self.rails();
        let mut desired = Desired::default();
        desired.replace(objects, self.rules(&rails));
        for (header, payload) in entries {
            desired.apply(header, payload, self.rules(&rails));
        }
        for (_, pinned) in self.pinned.read_all::<Pinned>()? {
            if let Some(object) = pinned.object() {
                desired.restore(object, self.rules(&rails));
            }
        }
        let count = desired.entries().count();
        tracing::info!(
            epoch = position.epoch,
            seq = position.seq,
            objects = count,
            "desired state loaded"
        );
        self.change_desired(|now| *now = desired);
        *copy = Some(Copy { key, disk, position });
        self.say_judgements();
        self.versions.bump();
        Ok(())
    }

    /// Where the copy of the log ends, and whether a fresh snapshot would be welcome.
    pub(crate) fn position(&self) -> (Position, bool) {
        let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        copy.as_ref()
            .map(|copy| (copy.position.clone(), copy.disk.wants_snapshot()))
            .unwrap_or_default()
    }

    /// Takes in one entry: verified, durable, in force. Blocks on local disk.
    pub(crate) fn take_entry(&self, entry: &LogEntry) -> Result<Position, TakeError> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = copy.as_mut().ok_or(TakeError::Refused(Refusal::Signature))?;
        let (header, position) = copy.key.entry(&self.config.region_id, &copy.position, entry)?;
        if header.op() == Op::Delete {
            // What was never in force left nothing behind.
            let known = self.desired().entry(&header.uid).and_then(tombstone);
            match known {
                Some(tombstone) => self.tombstones.add([tombstone])?,
                None => self.say_deleted_unless_pending(&header.uid, &header.kind, header.generation),
            }
        }
        copy.disk.append(entry, &position)?;
        copy.position = position.clone();
        let rails = self.rails();
        self.change_desired(|desired| {
            desired.apply(header.clone(), entry.payload.clone(), self.rules(&rails));
        });
        self.keep_secrets(Some(&header.uid));
        self.say_judgement(&header.uid);
        self.versions.bump();
        Ok(position)
    }

    /// Takes in a snapshot: verified, durable, in force. Blocks on local disk.
    pub(crate) fn take_snapshot(&self, snapshot: &Snapshot) -> Result<Position, TakeError> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = copy.as_mut().ok_or(TakeError::Refused(Refusal::Signature))?;
        let rails = self.rails();
        let region = &self.config.region_id;
        let (objects, position) = copy
            .key
            .snapshot(region, &copy.position, rails.confirmed_epoch, snapshot)?;
        let mut next = Desired::clone(&self.desired());
        let gone = next.replace(objects, self.rules(&rails));
        for gone in gone.iter().filter(|gone| gone.in_force.is_none()) {
            self.say_deleted(&gone.header.uid, gone.header.generation);
        }
        self.tombstones.add(gone.iter().filter_map(tombstone))?;
        // Before the older generations leave the disk with the old snapshot.
        self.pin(&next)?;
        if position.epoch > copy.position.epoch && copy.position.epoch > 0 {
            self.audit_event("region", "desiredState.epoch", &position.epoch.to_string(), "accepted");
        }
        copy.disk.install(snapshot, &position)?;
        copy.position = position.clone();
        self.change_desired(|now| *now = next);
        self.keep_secrets(None);
        self.say_judgements();
        self.versions.bump();
        Ok(position)
    }

    /// Stores the sealed values of one admitted object, or of all, before anything that comes later is judged: from then on
    /// they are bound to where they go. The reconcilers confirm them, and say what could not be stored.
    fn keep_secrets(&self, uid: Option<&str>) {
        let desired = self.desired();
        let wanted = |object: &&Arc<Admitted>| !object.sealed.is_empty();
        let objects: Vec<Arc<Admitted>> = match uid {
            Some(uid) => desired
                .entry(uid)
                .and_then(Entry::admitted)
                .into_iter()
                .filter(wanted)
                .cloned()
                .collect(),
            None => desired.admitted().filter(wanted).cloned().collect(),
        };
        drop(desired);
        for object in objects {
            if let Err(error) = self.secrets.take_in(&object) {
                tracing::error!(%error, uid = object.meta.uid, "sealed values were not stored");
            }
        }
    }

    /// Keeps the generations in force that the next snapshot does not hold, and forgets the others.
    fn pin(&self, next: &Desired) -> Result<(), Error> {
        let refused = |entry: &&Entry| entry.judgement != Judgement::Admitted;
        for (uid, _) in self.pinned.read_all::<Pinned>()? {
            if next
                .entry(&uid)
                .filter(refused)
                .is_none_or(|entry| entry.in_force.is_none())
            {
                self.pinned.remove(&uid)?;
            }
        }
        for (uid, entry) in next.entries().filter(|(_, entry)| refused(entry)) {
            if let Some(in_force) = &entry.in_force {
                self.pinned.write(uid, &Pinned::of(&in_force.object))?;
            }
        }
        Ok(())
    }

    /// Reads the guard rails again if their file changed, and judges everything by them. Blocks on local disk.
    pub(crate) fn refresh_rails(&self) {
        // What is being taken in was judged by the old ones; it comes into force before everything is judged again.
        let _taking_in_waits = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.rails_file.lock().unwrap_or_else(PoisonError::into_inner).changed();
        match changed {
            Ok(None) => {}
            Ok(Some(rails)) => {
                tracing::info!("guard rails changed");
                self.audit_event("region", "guardRails.change", "", "done");
                *self.rails.write().unwrap_or_else(PoisonError::into_inner) = rails.clone();
                self.change_desired(|desired| desired.judge_again(self.rules(&rails)));
                self.say_judgements();
                self.versions.bump();
            }
            Err(error) => tracing::error!(%error, "guard rails stay as they were"),
        }
    }

    fn rules<'a>(&'a self, rails: &'a GuardRails) -> Rules<'a> {
        let secrets = &self.secrets;
        Rules { rails, secrets }
    }

    /// The guard rails in force.
    pub(crate) fn rails(&self) -> GuardRails {
        self.rails.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The desired state as it is now. No lock is held: who reads twice must not wait for a writer that waits for them.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        self.desired.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the desired state; those who read it meanwhile keep what they have.
    fn change_desired(&self, change: impl FnOnce(&mut Desired)) {
        change(Arc::make_mut(
            &mut self.desired.write().unwrap_or_else(PoisonError::into_inner),
        ));
    }

    /// Says what cannot be made true at all; the reconcilers say the rest.
    fn say_judgement(&self, uid: &str) {
        let refused = {
            let desired = self.desired();
            let Some(entry) = desired.entry(uid) else { return };
            match &entry.judgement {
                Judgement::Admitted => return,
                Judgement::Refused(refused) => (entry.header.generation, refused.clone()),
            }
        };
        let (generation, refused) = refused;
        let verdict = if refused.held { Verdict::Held } else { Verdict::Rejected };
        let news = self.statuses.set(ObjectStatus {
            uid: uid.to_owned(),
            generation,
            verdict: verdict.into(),
            reason: refused.reason.to_owned(),
            message: refused.message,
            field: refused.field,
            status_json: bytes::Bytes::new(),
        });
        // Said anew at every snapshot; recorded once, or whoever repeats it could push older records out of the log.
        if news {
            let outcome = if refused.held { "held" } else { "rejected" };
            self.audit_event("region", "object.admit", uid, outcome);
        }
    }

    /// Says where an object stands, if its newest generation is admitted. Nothing changes in between: a judgement that comes
    /// behind this has the last word.
    pub(crate) fn say_if_admitted(&self, status: ObjectStatus) {
        let desired = self.desired.read().unwrap_or_else(PoisonError::into_inner);
        let judged = desired.entry(&status.uid).map(|entry| &entry.judgement);
        if judged == Some(&Judgement::Admitted) {
            self.statuses.set(status);
        }
    }

    fn say_judgements(&self) {
        let uids: Vec<String> = self.desired().entries().map(|(uid, _)| uid.to_owned()).collect();
        for uid in uids {
            self.say_judgement(&uid);
        }
    }

    /// A deletion of something this region does not have is already done.
    fn say_deleted_unless_pending(&self, uid: &str, kind: &str, generation: u64) {
        if !self.tombstones.of_kind(kind).iter().any(|pending| pending.uid == uid) {
            self.say_deleted(uid, generation);
        }
    }

    /// Nothing of the object is left in this region.
    pub(crate) fn say_deleted(&self, uid: &str, generation: u64) {
        self.statuses.set(ObjectStatus {
            uid: uid.to_owned(),
            generation,
            verdict: Verdict::Deleted.into(),
            ..ObjectStatus::default()
        });
    }

    /// Records an event in the region's audit log. Blocks on local disk.
    pub(crate) fn audit_event(&self, actor: &str, action: &str, object: &str, outcome: &str) {
        self.audit.record(&Event {
            actor,
            action,
            object,
            outcome,
        });
    }

    /// The configuration file of an App ID's Dapr Server.
    pub(crate) fn dapr_server_config(&self, project_id: &str, app_id: &str, ports: AppPorts) -> DaprServerConfig {
        let mut identity = self.config.identity.clone();
        identity.spiffe_id = self.names.app(project_id, app_id);
        identity.edge_address = None;
        DaprServerConfig {
            app_id: app_id.to_owned(),
            project_id: project_id.to_owned(),
            identity,
            agent_address: self.config.listen,
            agent_id: format!("spiffe://{}{}", self.names.domain, platform::AGENT),
            gateway_id: format!("spiffe://{}{}", self.names.domain, platform::GATEWAY),
            gateway_listen: ports.gateway_address(),
            internal_listen: ports.internal_address(),
            metrics_listen: None,
            data_folder: self.app_folder(project_id, app_id),
            log: self.config.log.clone(),
        }
    }

    /// An App ID's own folder. Both names are checked at admission and are single path segments.
    pub(crate) fn app_folder(&self, project_id: &str, app_id: &str) -> std::path::PathBuf {
        self.config.apps_folder.join(project_id).join(app_id)
    }

    /// The configuration file of an App ID's Dapr Server: beside its folder, out of its own reach. An App ID has no dot in
    /// it, so the two can never be the same.
    pub(crate) fn app_config_file(&self, project_id: &str, app_id: &str) -> std::path::PathBuf {
        self.config.apps_folder.join(project_id).join(format!("{app_id}.json"))
    }
}

/// Why an entry or a snapshot is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// It is not what our control plane would say now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be made durable.
    #[error(transparent)]
    Disk(#[from] Error),
}

fn tombstone(entry: &Entry) -> Option<Tombstone> {
    // By what is in force: a refused newest generation may claim another name.
    let in_force = entry.in_force.as_ref()?;
    let header = &in_force.object.0;
    let component = in_force.admitted.component();
    Some(Tombstone {
        uid: header.uid.clone(),
        kind: header.kind.clone(),
        project_id: header.project_id.clone(),
        name: header.name.clone(),
        generation: entry.header.generation,
        component_type: component.map(|content| content.spec.kind.clone()).unwrap_or_default(),
    })
}

/// An object's bytes in a wrapped file.
#[derive(Serialize, Deserialize)]
struct Pinned {
    header: String,
    payload: String,
}

impl Pinned {
    fn of((header, payload): &Object) -> Self {
        Self {
            header: STANDARD.encode(header.encode_to_vec()),
            payload: STANDARD.encode(payload),
        }
    }

    fn object(&self) -> Option<Object> {
        let header = LogHeader::decode(STANDARD.decode(&self.header).ok()?.as_slice()).ok()?;
        Some((header, STANDARD.decode(&self.payload).ok()?.into()))
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Removes a folder and everything in it; a missing one is fine. Blocks on local disk.
pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(crate::error::at(path)(error)),
        _ => Ok(()),
    }
}

const AUDIT_BYTES: u64 = 8 << 20;
