//! Where everything of one installation lies, and who it is: ids and names that never change after the first start.
//!
//! One idea: one folder, mode 0700, holds all; its `up.json` tells the command line where to connect. Must never hold a
//! secret in `up.json`.

use std::path::{Path, PathBuf};

use palladium_os::files::{private_folder, write_private};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::Error;
use super::ports::Ports;

/// The data folder.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// Creates the folders that are missing.
    pub fn create(folder: PathBuf) -> Result<Self, Error> {
        private_folder(&folder)?;
        // Children get absolute paths only, whatever folder `up` was called in.
        let folder = folder
            .canonicalize()
            .map_err(|source| Error::File { path: folder, source })?;
        let layout = Self(folder);
        for name in [
            "control-plane/config",
            "region/config",
            "region/trust",
            "control-plane/trust",
            "logs",
        ] {
            private_folder(&layout.path(name))?;
        }
        for zone in ["control-plane", "region"] {
            private_folder(&layout.path(zone))?;
        }
        for role in [
            "control-plane/server",
            "control-plane/sentry",
            "region/sentry",
            "region/agent",
            "region/gateway",
        ] {
            private_folder(&layout.path(role))?;
        }
        for role in ["region/store", "region/supervisor", "region/apps"] {
            private_folder(&layout.path(role))?;
        }
        Ok(layout)
    }

    /// A path below the data folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The data folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The file that users trust: edge roots of both zones.
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Copies the zones' edge roots into [`Self::ca_file`]; whether both sentries have made theirs by now.
    pub fn write_ca_file(&self) -> Result<bool, Error> {
        let mut roots = String::new();
        for zone in ["control-plane", "region"] {
            let path = self.path(zone).join("sentry/edge-ca.crt");
            match std::fs::read_to_string(&path) {
                Ok(pem) => roots += &pem,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(source) => return Err(Error::File { path, source }),
            }
        }
        write_private(&self.ca_file(), roots.as_bytes())?;
        Ok(true)
    }
}

/// `up.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The one organization, `org-…`; its control plane's trust domain is named after it.
    pub organization_id: String,
    /// The one region, `reg-…`; its trust domain is named after it.
    pub region_id: String,
    /// Wildcard domain of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// REST API.
    pub api_url: String,
    /// What applications dial.
    pub gateway_url: String,
    /// PEM file with the roots of both.
    pub ca_file: PathBuf,
    /// Holds the first API key.
    pub admin_key_file: PathBuf,
}

impl Installation {
    /// The installation in `layout`, made at the first start. `domain` can be chosen only then: it is part of the edge roots.
    pub fn open(layout: &Layout, ports: &Ports, domain: Option<String>) -> Result<Self, Error> {
        let path = layout.path("up.json");
        let known: Option<Self> = read_json(&path)?;
        if let (Some(known), Some(wanted)) = (&known, &domain)
            && known.domain.as_ref() != Some(wanted)
        {
            return Err(Error::Usage(format!(
                "--domain {wanted}: the domain is fixed at the first start ({}); use another --data-dir",
                known.domain.as_deref().unwrap_or("none")
            )));
        }
        let host = "localhost";
        let (organization_id, region_id, domain) = match known {
            Some(known) => (known.organization_id, known.region_id, known.domain),
            None => (new_id("org"), new_id("reg"), domain),
        };
        let installation = Self {
            organization_id,
            region_id,
            domain,
            api_url: format!("https://{host}:{}", ports.control_plane),
            gateway_url: format!("https://{host}:{}", ports.gateway),
            ca_file: layout.ca_file(),
            admin_key_file: layout.path("admin.key"),
        };
        write_json(&path, &installation)?;
        Ok(installation)
    }
}

/// Reads a JSON file of ours; `None` when there is none.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| Error::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces a JSON file of ours.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(write_private(path, &text)?)
}

/// An immutable id: the kind and twelve random characters of lower-case base32.
fn new_id(kind: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = rand::rng();
    let letters = (0..12).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    format!("{kind}-{}", letters.collect::<String>())
}
