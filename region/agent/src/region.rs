//! Everything this agent knows, in one value that all its parts share.
//!
//! The one idea: one writer for each part of it, and one signal ([`Versions`]) that says "look again". There is no queue
//! between the parts, so nothing can be lost or come in the wrong order. What comes from the control plane is taken in by
//! [`intake`]. Must never put in force what is not on disk yet.

mod intake;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use palladium_identity::Attestor;
use palladium_launch::DaprServerConfig;
use palladium_proto::region::{ObjectStatus, Verdict};
use palladium_sealing::Kek;
use palladium_spiffe::{SpiffeId, TrustDomain, platform};

use crate::audit::{Audit, Event};
use crate::desired::{Desired, Judgement, Rules};
use crate::guard_rails::{GuardRails, GuardRailsFile};
use crate::joined::{self, Joined, RegionKey};
use crate::observed::Observed;
use crate::ports::{AppPorts, Ports};
use crate::revocations::Revocations;
use crate::secrets::Secrets;
use crate::statuses::Statuses;
use crate::tokens::Tokens;
use crate::tombstones::Tombstones;
use crate::vault::Vault;
use crate::versions::Versions;
use crate::{Config, Error};

pub(crate) use intake::TakeError;

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
    /// What readers and callers cause as often as they like, in files of its own: it pushes out nothing else.
    pub(crate) access: Audit,
    marks: Vault,
    /// Generations in force whose object has a newer, refused one: they are not in a snapshot.
    pinned: Vault,
    rails: RwLock<GuardRails>,
    rails_file: Mutex<GuardRailsFile>,
    desired: RwLock<Arc<Desired>>,
    /// The log on disk and its end; `None` before joining.
    copy: Mutex<Option<intake::Copy>>,
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
            tokens: Tokens::open(
                vault("tokens")?,
                folder.join("token-uses.json"),
                config.token_overlap_seconds,
            )?,
            ports: Ports::open(folder.join("ports.json"), config.app_ports)?,
            revocations: Revocations::open(folder.join("revocations.json"), now_ms() / 1000)?,
            tombstones: Tombstones::open(folder.join("tombstones.json"))?,
            statuses: Statuses::default(),
            observed: Observed::new(now_ms()),
            versions: Versions::open(&folder)?,
            audit: Audit::open(folder.join("audit.log"), AUDIT_BYTES)?,
            access: Audit::open(folder.join("audit-access.log"), AUDIT_BYTES)?,
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
            count: 1,
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

/// Of one file; one older file is kept beside it.
const AUDIT_BYTES: u64 = 8 << 20;
