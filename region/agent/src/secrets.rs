//! The region's secret store: values that the control plane sealed to this region, re-encrypted under its own key.
//!
//! The one idea: a value is stored durably before the control plane is told to forget it. One wrapped file per object; in
//! memory as `SecretString`. Must never be asked for a secret by anything but (uid, field) of the object that owns it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use palladium_kinds::secret_ref::MASK;
use palladium_proto::region::SealedConfirmation;
use palladium_sealing::{ExposeSecret as _, HpkeKeyPair, SealedField, SealedValue, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::Error;
use crate::desired::Admitted;
use crate::pointing::Pointing;
use crate::vault::Vault;

/// In bytes.
const SHORTEST_MASKED: usize = 4;

struct Secret {
    version: u64,
    value: SecretString,
    /// Where it may go.
    bound: Option<Pointing>,
}

/// On disk, inside a wrapped file.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
struct Stored {
    field: String,
    version: u64,
    value: String,
    #[serde(default)]
    #[zeroize(skip)]
    bound: Option<Pointing>,
}

/// The store.
pub(crate) struct Secrets {
    vault: Vault,
    key: HpkeKeyPair,
    region: String,
    objects: RwLock<HashMap<String, BTreeMap<String, Secret>>>,
}

impl Secrets {
    /// Reads all. Blocks on local disk.
    pub(crate) fn open(vault: Vault, key: HpkeKeyPair, region: &str) -> Result<Self, Error> {
        let mut objects = HashMap::new();
        for (uid, stored) in vault.read_all::<Vec<Stored>>()? {
            let fields = stored.iter().map(|one| {
                (
                    one.field.clone(),
                    Secret {
                        version: one.version,
                        value: SecretString::from(one.value.clone()),
                        bound: one.bound.clone(),
                    },
                )
            });
            objects.insert(uid, fields.collect());
        }
        Ok(Self {
            vault,
            key,
            region: region.to_owned(),
            objects: RwLock::new(objects),
        })
    }

    /// The key that values are sealed to.
    pub(crate) fn key(&self) -> &HpkeKeyPair {
        &self.key
    }

    /// Stores what came sealed with an object and is newer than what is here. Returns what the control plane may forget.
    /// Blocks on local disk.
    ///
    /// # Errors
    /// When a value does not open at this place, or the disk is full.
    pub(crate) fn take_in(&self, object: &Admitted) -> Result<Vec<SealedConfirmation>, TakeIn> {
        let uid = &object.meta.uid;
        let mut opened = Vec::new();
        let mut confirmed = Vec::new();
        for sealed in &object.sealed {
            let confirmation = SealedConfirmation {
                uid: uid.clone(),
                field: sealed.field.clone(),
                version: sealed.version,
            };
            if self
                .version(uid, &sealed.field)
                .is_none_or(|have| have < sealed.version)
            {
                let place = SealedField {
                    region: &self.region,
                    project: &object.meta.project_id,
                    uid,
                    field: &sealed.field,
                    version: sealed.version,
                };
                let refused = || TakeIn::Refused {
                    field: sealed.field.clone(),
                };
                let bytes = self.key.open(&place, sealed).map_err(|_| refused())?;
                let text = std::str::from_utf8(bytes.expose_secret()).map_err(|_| refused())?;
                opened.push((
                    sealed.field.clone(),
                    sealed.version,
                    SecretString::from(text.to_owned()),
                ));
            }
            confirmed.push(confirmation);
        }
        let moved = self.moved(object);
        if !opened.is_empty() || !moved.is_empty() {
            self.store(uid, opened, moved)?;
        }
        Ok(confirmed)
    }

    fn store(
        &self,
        uid: &str,
        opened: Vec<(String, u64, SecretString)>,
        moved: Vec<(String, Pointing)>,
    ) -> Result<(), Error> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let fields = objects.entry(uid.to_owned()).or_default();
        let mut stored: BTreeMap<&str, Stored> = fields
            .iter()
            .map(|(field, secret)| (field.as_str(), on_disk(field, secret)))
            .collect();
        let opened: Vec<(String, Secret)> = opened
            .into_iter()
            .map(|(field, version, value)| {
                let bound = None;
                (field, Secret { version, value, bound })
            })
            .collect();
        for (field, secret) in &opened {
            stored.insert(field, on_disk(field, secret));
        }
        for (field, pointing) in &moved {
            if let Some(stored) = stored.get_mut(field.as_str()) {
                stored.bound = Some(pointing.clone());
            }
        }
        // Disk first: what is only in memory must never be confirmed.
        self.vault.write(uid, &stored.into_values().collect::<Vec<_>>())?;
        fields.extend(opened);
        for (field, pointing) in moved {
            if let Some(secret) = fields.get_mut(&field) {
                secret.bound = Some(pointing);
            }
        }
        Ok(())
    }

    /// The secrets that `object` sends elsewhere than they are bound to, or that came with it, and where to.
    fn moved(&self, object: &Admitted) -> Vec<(String, Pointing)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let held = objects.get(&object.meta.uid);
        let mut moved = Vec::new();
        for (_, field) in object.managed_references() {
            let secret = held.and_then(|held| held.get(&field));
            let sealed = newest_sealed(object, &field);
            if secret.is_none() && sealed.is_none() {
                continue;
            }
            let version = |field: &str| {
                let held = held.and_then(|held| held.get(field)).map_or(0, |secret| secret.version);
                held.max(newest_sealed(object, field).unwrap_or_default())
            };
            let pointing = Pointing::of(object, &field, version);
            let stays = secret.filter(|secret| sealed.is_none_or(|sealed| sealed <= secret.version));
            let bound = stays.and_then(|secret| secret.bound.as_ref());
            if bound.is_none_or(|bound| !bound.is_same_place(&pointing)) {
                moved.push((field, pointing));
            }
        }
        moved
    }

    /// A secret of `object` that is here already and would now go elsewhere than where it was entered for.
    pub(crate) fn redirected(&self, object: &Admitted) -> Option<String> {
        let moved = self.moved(object);
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let held = objects.get(&object.meta.uid)?;
        let redirected = |field: &String| {
            held.get(field).is_some_and(|secret| {
                secret.bound.is_some() && newest_sealed(object, field).is_none_or(|sealed| sealed <= secret.version)
            })
        };
        moved.into_iter().map(|(field, _)| field).find(redirected)
    }

    /// The confirmation of a sealed value, if it is stored here.
    pub(crate) fn holds(&self, uid: &str, sealed: &SealedValue) -> Option<SealedConfirmation> {
        self.version(uid, &sealed.field)
            .filter(|have| *have >= sealed.version)
            .map(|_| SealedConfirmation {
                uid: uid.to_owned(),
                field: sealed.field.clone(),
                version: sealed.version,
            })
    }

    fn version(&self, uid: &str, field: &str) -> Option<u64> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(uid)?.get(field).map(|secret| secret.version)
    }

    /// One secret.
    pub(crate) fn get(&self, uid: &str, field: &str) -> Option<SecretString> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(uid)?.get(field).map(|secret| secret.value.clone())
    }

    /// `text` without the object's secrets: what a driver says of its settings goes into logs and up to the control plane,
    /// and drivers are many.
    pub(crate) fn masked(&self, uid: &str, text: &str) -> String {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for secret in objects.get(uid).into_iter().flat_map(BTreeMap::values) {
            let value = secret.value.expose_secret();
            // Shorter ones would make every word a riddle, and are no secret.
            if value.len() >= SHORTEST_MASKED {
                text = text.replace(value, MASK);
            }
        }
        text
    }

    /// Forgets an object's secrets. Blocks on local disk.
    pub(crate) fn forget(&self, uid: &str) -> Result<(), Error> {
        self.vault.remove(uid)?;
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(uid);
        Ok(())
    }
}

/// Why sealed values were not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeIn {
    /// Sealed to another key or for another place.
    #[error("the sealed value of {field} does not open here")]
    Refused {
        /// Path of the field.
        field: String,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] Error),
}

/// The version in which a secret comes with the object.
fn newest_sealed(object: &Admitted, field: &str) -> Option<u64> {
    let sealed = object.sealed.iter().filter(|sealed| sealed.field == field);
    sealed.map(|sealed| sealed.version).max()
}

fn on_disk(field: &str, secret: &Secret) -> Stored {
    Stored {
        field: field.to_owned(),
        version: secret.version,
        value: secret.value.expose_secret().to_owned(),
        bound: secret.bound.clone(),
    }
}
