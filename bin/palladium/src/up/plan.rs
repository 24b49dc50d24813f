//! The plan of an installation: which roles there are, in which order, as whom, with which files. What each of them is told
//! is in [`configs`].
//!
//! One idea: plain values in, files out; the same at every start, so that a restart changes nothing. Must never put a secret
//! into one of these files.

mod configs;

use std::path::PathBuf;

use palladium_sealing::KekConfig;
use palladium_spiffe::{SpiffeId, TrustDomain, platform};
use palladium_supervisor::{Attestation, Role};

use super::layout::{Installation, Layout, write_json};
use super::ports::Ports;
use super::{Error, Flags};

/// Everything from which the files follow.
pub struct Plan<'a> {
    layout: &'a Layout,
    ports: &'a Ports,
    installation: &'a Installation,
    leaf_ttl_seconds: u32,
    control: TrustDomain,
    region: TrustDomain,
}

impl<'a> Plan<'a> {
    /// A plan for this installation.
    pub fn new(
        layout: &'a Layout,
        ports: &'a Ports,
        installation: &'a Installation,
        flags: &Flags,
    ) -> Result<Self, Error> {
        let domain = |id: &str| {
            platform::trust_domain(id).map_err(|error| Error::Damaged {
                path: layout.path("up.json"),
                reason: error.to_string(),
            })
        };
        Ok(Self {
            control: domain(&installation.organization_id)?,
            region: domain(&installation.region_id)?,
            leaf_ttl_seconds: flags.leaf_ttl,
            layout,
            ports,
            installation,
        })
    }

    /// Writes all configuration files; answers with the supervisor's and its content.
    pub fn write(&self) -> Result<(PathBuf, palladium_supervisor::Config), Error> {
        write_json(&self.config_file("control-plane", "sentry"), &self.control_sentry()?)?;
        write_json(&self.config_file("control-plane", "server"), &self.control_plane()?)?;
        write_json(&self.config_file("region", "sentry"), &self.region_sentry()?)?;
        write_json(&self.config_file("region", "agent"), &self.agent()?)?;
        write_json(&self.config_file("region", "gateway"), &self.gateway()?)?;
        write_json(&self.config_file("region", "store"), &self.store()?)?;
        let supervisor = self.supervisor()?;
        let file = self.config_file("region", "supervisor");
        write_json(&file, &supervisor)?;
        Ok((file, supervisor))
    }

    /// The supervisor's configuration.
    pub fn supervisor(&self) -> Result<palladium_supervisor::Config, Error> {
        let executable = std::env::current_exe().map_err(|source| Error::File {
            path: "own executable".into(),
            source,
        })?;
        let dapr_server = executable.with_file_name("palladium-dapr-server");
        if !dapr_server.exists() {
            return Err(Error::Usage(format!(
                "{} is missing: it belongs beside this program",
                dapr_server.display()
            )));
        }
        Ok(palladium_supervisor::Config {
            data_folder: self.layout.path("region/supervisor"),
            log_folder: self.layout.path("logs"),
            kek: self.kek("region"),
            attestations: vec![
                Attestation {
                    sentry_id: self.id(&self.control, platform::SENTRY)?,
                    trust_folder: self.layout.path("control-plane/trust"),
                },
                Attestation {
                    sentry_id: self.id(&self.region, platform::SENTRY)?,
                    trust_folder: self.layout.path("region/trust"),
                },
            ],
            executable,
            dapr_server,
            apps_folder: self.layout.path("region/apps"),
            roles: self.roles()?,
            log: Default::default(),
        })
    }

    /// In the order of their start.
    fn roles(&self) -> Result<Vec<Role>, Error> {
        let (control, region) = (&self.control, &self.region);
        Ok(vec![
            self.role("control-plane-sentry", "sentry", "control-plane/sentry", None),
            self.role("region-sentry", "sentry", "region/sentry", None),
            self.role(
                "control-plane",
                "control-plane",
                "control-plane/server",
                Some((self.id(control, platform::CONTROL_PLANE)?, "control-plane-sentry")),
            ),
            self.role(
                "agent",
                "agent",
                "region/agent",
                Some((self.id(region, platform::AGENT)?, "region-sentry")),
            ),
            self.role(
                "store",
                "store",
                "region/store",
                Some((self.id(region, platform::STORE)?, "region-sentry")),
            ),
            self.role(
                "gateway",
                "gateway",
                "region/gateway",
                Some((self.id(region, platform::GATEWAY)?, "region-sentry")),
            ),
        ])
    }

    /// `attested`: as whom, by which Sentry.
    fn role(&self, name: &str, role: &str, folder: &str, attested: Option<(SpiffeId, &str)>) -> Role {
        let (zone, file) = folder.split_once('/').unwrap_or(("region", folder));
        let (spiffe_id, after) = attested.map(|(id, sentry)| (id, sentry.to_owned())).unzip();
        Role {
            name: name.to_owned(),
            role: role.to_owned(),
            config_file: self.config_file(zone, file),
            data_folder: self.layout.path(folder),
            spiffe_id,
            after: after.into_iter().collect(),
            memory_limit_bytes: None,
            open_files_limit: None,
        }
    }

    /// Handed over from the control plane to the agent at the first start.
    fn join_token_file(&self) -> PathBuf {
        self.layout.path("region/join-token")
    }

    fn kek(&self, zone: &str) -> KekConfig {
        KekConfig::KeyFile {
            path: self.layout.path(zone).join("kek.key"),
        }
    }

    fn config_file(&self, zone: &str, name: &str) -> PathBuf {
        self.layout.path(zone).join("config").join(format!("{name}.json"))
    }

    fn id(&self, domain: &TrustDomain, path: &str) -> Result<SpiffeId, Error> {
        SpiffeId::new(domain, path).map_err(|error| Error::Usage(error.to_string()))
    }
}
