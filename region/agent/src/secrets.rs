//! The region's secret store: values that the control plane sealed to this region, re-encrypted under its own key.
//!
//! The one idea: a value is stored durably before the control plane is told to forget it. One wrapped file per object; in
//! memory as `SecretString`. Must never be asked for a secret by anything but (uid, field) of the object that owns it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use palladium_proto::region::SealedConfirmation;
use palladium_sealing::{ExposeSecret as _, HpkeKeyPair, SealedField, SealedValue, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::Error;
use crate::desired::Admitted;
use crate::vault::Vault;

struct Secret {
    version: u64,
    value: SecretString,
}

/// On disk, inside a wrapped file.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
struct Stored {
    field: String,
    version: u64,
    value: String,
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
        if !opened.is_empty() {
            self.store(uid, opened)?;
        }
        Ok(confirmed)
    }

    fn store(&self, uid: &str, opened: Vec<(String, u64, SecretString)>) -> Result<(), Error> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let fields = objects.entry(uid.to_owned()).or_default();
        let mut stored: BTreeMap<&str, Stored> = fields
            .iter()
            .map(|(field, secret)| (field.as_str(), on_disk(field, secret.version, &secret.value)))
            .collect();
        for (field, version, value) in &opened {
            stored.insert(field, on_disk(field, *version, value));
        }
        // Disk first: what is only in memory must never be confirmed.
        self.vault.write(uid, &stored.into_values().collect::<Vec<_>>())?;
        fields.extend(
            opened
                .into_iter()
                .map(|(field, version, value)| (field, Secret { version, value })),
        );
        Ok(())
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

fn on_disk(field: &str, version: u64, value: &SecretString) -> Stored {
    Stored {
        field: field.to_owned(),
        version,
        value: value.expose_secret().to_owned(),
    }
}
