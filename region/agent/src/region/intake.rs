//! What the control plane says, on its way into force: verified, durable, judged, its secrets kept.
//!
//! One idea: one lock around the copy of the log, so that what is taken in comes into force in the order in which it was
//! said. Blocks on local disk. Must never put in force what is not on disk yet, nor lose what was in force to what is
//! refused.

use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palladium_proto::region::{LogEntry, LogHeader, Op, Snapshot};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::Region;
use crate::Error;
use crate::desired::disk::{Disk, Loaded};
use crate::desired::objects::Entry;
use crate::desired::verify::Object;
use crate::desired::{Admitted, Desired, Judgement, LogKey, Position, Refusal};
use crate::joined::Joined;
use crate::tombstones::Tombstone;

/// The log on disk and its end.
pub(super) struct Copy {
    key: LogKey,
    disk: Disk,
    position: Position,
}

impl Region {
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
        // What is in a project that was put back.
        desired.settle(self.rules(&rails));
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
        let mut others = false;
        self.change_desired(|desired| {
            others = desired.apply(header.clone(), entry.payload.clone(), self.rules(&rails));
        });
        if others {
            self.keep_secrets(None);
            self.say_judgements();
        } else {
            self.keep_secrets(Some(&header.uid));
            self.say_judgement(&header.uid);
        }
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
