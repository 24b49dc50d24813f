//! What each role of an installation is told: where it listens, what it may know, its limits.
//!
//! One idea: one function per role, which fills in every field, so that a new one is thought of here. Must never put a
//! secret into a configuration, nor an address that is not of this machine.

use palladium_agent::MetricsConfig;
use palladium_launch::IdentityConfig;
use palladium_sentry::{AgentConfig, EdgeConfig, Zone};
use palladium_spiffe::platform;

use super::super::ports::local;
use super::super::{Error, metrics_token};
use super::Plan;

impl Plan<'_> {
    pub(super) fn control_sentry(&self) -> Result<palladium_sentry::Config, Error> {
        Ok(self.sentry(Zone::Control, self.ports.control_sentry, self.ports.control_edge, None))
    }

    pub(super) fn region_sentry(&self) -> Result<palladium_sentry::Config, Error> {
        let agent = AgentConfig {
            address: local(self.ports.agent),
            spiffe_id: self.id(&self.region, platform::AGENT)?,
        };
        Ok(self.sentry(
            Zone::Region,
            self.ports.region_sentry,
            self.ports.region_edge,
            Some(agent),
        ))
    }

    fn sentry(&self, zone: Zone, port: u16, edge: u16, agent: Option<AgentConfig>) -> palladium_sentry::Config {
        let (folder, trust_domain) = match zone {
            Zone::Control => ("control-plane", &self.control),
            Zone::Region => ("region", &self.region),
        };
        palladium_sentry::Config {
            trust_domain: trust_domain.clone(),
            zone,
            listen: local(port),
            data_folder: self.layout.path(folder).join("sentry"),
            attestors_folder: self.layout.path(folder).join("trust"),
            kek: self.kek(folder),
            agent,
            edge: Some(EdgeConfig {
                listen: local(edge),
                domains: self.installation.domain.iter().cloned().collect(),
                ttl_seconds: EDGE_TTL_SECONDS,
            }),
            leaf_ttl_seconds: self.leaf_ttl_seconds,
            issuer_ttl_seconds: ISSUER_TTL_SECONDS,
            root_ttl_seconds: ROOT_TTL_SECONDS,
            log: Default::default(),
        }
    }

    pub(super) fn control_plane(&self) -> Result<palladium_control_server::Config, Error> {
        let sentry = local(self.ports.control_sentry);
        Ok(palladium_control_server::Config {
            identity: IdentityConfig {
                spiffe_id: self.id(&self.control, platform::CONTROL_PLANE)?.to_string(),
                sentry_address: sentry,
                sentry_id: self.id(&self.control, platform::SENTRY)?.to_string(),
                roots_file: self.layout.path("control-plane/sentry/ca.crt"),
                edge_address: Some(local(self.ports.control_edge)),
            },
            listen: local(self.ports.control_plane),
            public_url: self.installation.api_url.clone(),
            names: LOCAL_NAMES.map(str::to_owned).to_vec(),
            certificate: None,
            data_folder: self.layout.path("control-plane/server"),
            key_encryption_key: self.kek("control-plane"),
            regions: palladium_regions::Config {
                listen: local(self.ports.stream),
                public_url: format!("https://localhost:{}", self.ports.stream),
                organization_id: self.installation.organization_id.clone(),
                key_folder: self.layout.path("control-plane/keys"),
                sentry_address: sentry,
                trust_folder: self.layout.path("control-plane/trust"),
                join_token_seconds: JOIN_TOKEN_SECONDS,
                log_entries_kept: LOG_ENTRIES_KEPT,
            },
            bootstrap: palladium_control_server::BootstrapConfig {
                organization_name: "default".to_owned(),
                region_id: self.installation.region_id.clone(),
                region_name: "local".to_owned(),
                region_ingress: match &self.installation.domain {
                    Some(domain) => format!("https://*.{domain}:{}", self.ports.gateway),
                    None => String::new(),
                },
                join_token_file: self.join_token_file(),
                admin_key_file: self.installation.admin_key_file.clone(),
            },
            limits: Default::default(),
            log: Default::default(),
        })
    }

    pub(super) fn agent(&self) -> Result<palladium_agent::Config, Error> {
        Ok(palladium_agent::Config {
            region_id: self.installation.region_id.clone(),
            identity: self.region_identity(platform::AGENT, None)?,
            listen: local(self.ports.agent),
            metrics: self.metrics()?,
            data_folder: self.layout.path("region/agent"),
            kek: self.kek("region"),
            guard_rails_file: self.layout.path("region/guard-rails.yaml"),
            join_token_file: Some(self.join_token_file()),
            control_plane_address: Some(format!("127.0.0.1:{}", self.ports.stream)),
            trust_folder: self.layout.path("region/trust"),
            apps_folder: self.layout.path("region/apps"),
            app_ports: self.ports.apps,
            supervisor_socket: self.layout.path("region/supervisor/supervisor.sock"),
            store_address: Some(local(self.ports.store)),
            gateway_url: self.installation.gateway_url.clone(),
            ingress_domain: self.installation.domain.clone(),
            token_overlap_seconds: TOKEN_OVERLAP_SECONDS,
            app_memory_limit_bytes: 0,
            app_open_files_limit: 0,
            log: Default::default(),
        })
    }

    /// The agent is told no more of the token than it needs to know it again.
    fn metrics(&self) -> Result<Option<MetricsConfig>, Error> {
        let Some(port) = self.ports.metrics else {
            return Ok(None);
        };
        Ok(Some(MetricsConfig {
            listen: local(port),
            token_sha256: metrics_token::digest(self.layout)?,
        }))
    }

    pub(super) fn gateway(&self) -> Result<palladium_gateway::Config, Error> {
        Ok(palladium_gateway::Config {
            identity: self.region_identity(platform::GATEWAY, Some(self.ports.region_edge))?,
            agent_address: local(self.ports.agent),
            agent_id: self.id(&self.region, platform::AGENT)?.to_string(),
            listen: local(self.ports.gateway),
            names: self.names(),
            certificate: None,
            data_folder: self.layout.path("region/gateway"),
            workers: None,
            limits: Default::default(),
            access_log: Default::default(),
            metrics_listen: None,
            log: Default::default(),
        })
    }

    pub(super) fn store(&self) -> Result<palladium_store::Config, Error> {
        Ok(palladium_store::Config {
            identity: self.region_identity(platform::STORE, None)?,
            agent_address: local(self.ports.agent),
            agent_id: self.id(&self.region, platform::AGENT)?.to_string(),
            listen: local(self.ports.store),
            data_folder: self.layout.path("region/store"),
            kek: self.kek("region"),
            connections: STORE_CONNECTIONS,
            bus: Default::default(),
            log: Default::default(),
        })
    }

    /// What edge certificates are for.
    fn names(&self) -> Vec<String> {
        let local = LOCAL_NAMES.map(str::to_owned);
        let domain = self
            .installation
            .domain
            .iter()
            .flat_map(|domain| [domain.clone(), format!("*.{domain}")]);
        local.into_iter().chain(domain).collect()
    }

    fn region_identity(&self, path: &str, edge: Option<u16>) -> Result<IdentityConfig, Error> {
        Ok(IdentityConfig {
            spiffe_id: self.id(&self.region, path)?.to_string(),
            sentry_address: local(self.ports.region_sentry),
            sentry_id: self.id(&self.region, platform::SENTRY)?.to_string(),
            roots_file: self.layout.path("region/sentry/ca.crt"),
            edge_address: edge.map(local),
        })
    }
}

// No addresses: BoringSSL (every gRPC SDK but Go's and Java's) refuses an address in a certificate below a root whose name
// constraints speak of addresses.
const LOCAL_NAMES: [&str; 1] = ["localhost"];
const JOIN_TOKEN_SECONDS: u32 = 24 * 3600;
const LOG_ENTRIES_KEPT: u32 = 10_000;
const STORE_CONNECTIONS: usize = 10_000;
const EDGE_TTL_SECONDS: u32 = 24 * 3600;
const ISSUER_TTL_SECONDS: u32 = 7 * 24 * 3600;
const ROOT_TTL_SECONDS: u32 = 10 * 365 * 24 * 3600;
const TOKEN_OVERLAP_SECONDS: u32 = 3600;
