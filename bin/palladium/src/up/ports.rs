//! Which ports an installation uses: chosen at the first start, recorded, the same ever after.
//!
//! One idea: a taken port is said before anything is started or recorded, with the flag that changes it. Internal ports are a
//! block in which nobody listens at the first start, so that two installations keep apart. Must never listen anywhere but
//! on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use palladium_agent::PortRange;
use serde::{Deserialize, Serialize};

use super::layout::{Layout, read_json, write_json};
use super::{Error, Flags};

/// Ports of Dapr Servers: two each.
const APP_PORTS: u16 = 2000;
/// Ports of the platform's own processes, with some to spare.
const OWN_PORTS: u16 = 10;
/// What a flag says so that metrics are no longer served.
const NO_METRICS: u16 = 0;
/// Whoever gave it once may not remember that it is asked for ever after.
const METRICS_FLAG: &str = "--port-metrics (0 = metrics are not served)";
/// Beginning of the internal ports unless a flag says otherwise.
const INTERNAL_FROM: u16 = 17_500;

/// `ports.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// REST API.
    pub control_plane: u16,
    /// Region stream.
    pub stream: u16,
    /// Gateway.
    pub gateway: u16,
    /// First of the internal ports.
    pub internal_from: u16,
    /// Sentry of the control plane.
    pub control_sentry: u16,
    /// Its edge authority.
    pub control_edge: u16,
    /// Sentry of the region.
    pub region_sentry: u16,
    /// Its edge authority.
    pub region_edge: u16,
    /// Agent.
    pub agent: u16,
    /// Store.
    pub store: u16,
    /// Dapr Servers.
    pub apps: PortRange,
    /// Metrics of App IDs, which the agent serves; nowhere unless a flag asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<u16>,
}

impl Ports {
    /// Recorded ports with what the flags change. Written back once all of them are free.
    pub fn open(layout: &Layout, flags: &Flags) -> Result<Self, Error> {
        let path = layout.path("ports.json");
        let recorded: Option<Self> = read_json(&path)?;
        let mut ports = match recorded.clone() {
            Some(recorded)
                if flags
                    .internal_ports_from
                    .is_none_or(|from| from == recorded.internal_from) =>
            {
                recorded
            }
            recorded => {
                let public = recorded.map_or((7443, 7444, 8443), |r| (r.control_plane, r.stream, r.gateway));
                Self::choose(public, flags.internal_ports_from.unwrap_or_else(free_block))?
            }
        };
        // It outlives the choice of other internal ports.
        ports.metrics = recorded.as_ref().and_then(|recorded| recorded.metrics);
        ports.follow(flags);
        ports.check_free()?;
        if recorded.as_ref() != Some(&ports) {
            write_json(&path, &ports)?;
        }
        Ok(ports)
    }

    /// Recorded ports, for an installation that runs; flags that would change them are refused.
    pub fn recorded(layout: &Layout, flags: &Flags) -> Result<Self, Error> {
        let path = layout.path("ports.json");
        let missing = || Error::Damaged {
            path: path.clone(),
            reason: "it is missing".to_owned(),
        };
        let ports: Self = read_json(&path)?.ok_or_else(missing)?;
        let wanted = [
            (flags.port_control_plane, ports.control_plane),
            (flags.port_stream, ports.stream),
            (flags.port_gateway, ports.gateway),
            (flags.internal_ports_from, ports.internal_from),
            (flags.port_metrics, ports.metrics.unwrap_or(NO_METRICS)),
        ];
        if wanted.iter().any(|(flag, port)| flag.is_some_and(|flag| flag != *port)) {
            return Err(Error::Usage(
                "it is running with other ports; stop it first, then change them".to_owned(),
            ));
        }
        Ok(ports)
    }

    /// What flags say in place of the record.
    fn follow(&mut self, flags: &Flags) {
        self.control_plane = flags.port_control_plane.unwrap_or(self.control_plane);
        self.stream = flags.port_stream.unwrap_or(self.stream);
        self.gateway = flags.port_gateway.unwrap_or(self.gateway);
        if let Some(port) = flags.port_metrics {
            self.metrics = (port != NO_METRICS).then_some(port);
        }
    }

    /// The ports of the platform's own processes, each with the flag that changes it.
    fn named(&self) -> Vec<(u16, &'static str)> {
        let mut named = vec![
            (self.control_plane, "--port-control-plane"),
            (self.stream, "--port-stream"),
            (self.gateway, "--port-gateway"),
            (self.control_sentry, "--internal-ports-from"),
            (self.control_edge, "--internal-ports-from"),
            (self.region_sentry, "--internal-ports-from"),
            (self.region_edge, "--internal-ports-from"),
            (self.agent, "--internal-ports-from"),
            (self.store, "--internal-ports-from"),
        ];
        named.extend(self.metrics.map(|port| (port, METRICS_FLAG)));
        named
    }

    /// Refuses ports on which somebody already listens.
    fn check_free(&self) -> Result<(), Error> {
        let named = self.named();
        for (index, (port, flag)) in named.iter().enumerate() {
            if named[..index].iter().any(|(other, _)| other == port) {
                return Err(Error::Usage(format!(
                    "port {port} is asked for twice; choose another with {flag}"
                )));
            }
            check(*port, flag)?;
        }
        Ok(())
    }

    fn choose((control_plane, stream, gateway): (u16, u16, u16), from: u16) -> Result<Self, Error> {
        let mut candidates = from..=u16::MAX;
        let mut next = || {
            let usable = |port: &u16| ![control_plane, stream, gateway].contains(port) && free(*port);
            let exhausted = || {
                Error::Usage(format!(
                    "no free port from {from} up; choose another --internal-ports-from"
                ))
            };
            candidates.by_ref().find(usable).ok_or_else(exhausted)
        };
        let (control_sentry, control_edge, region_sentry) = (next()?, next()?, next()?);
        let (region_edge, agent, store) = (next()?, next()?, next()?);
        let first = store.max(from.saturating_add(OWN_PORTS - 1)).saturating_add(1);
        let apps = PortRange {
            from: first,
            to: first.saturating_add(APP_PORTS - 1),
        };
        Ok(Self {
            control_plane,
            stream,
            gateway,
            internal_from: from,
            control_sentry,
            control_edge,
            region_sentry,
            region_edge,
            agent,
            store,
            apps,
            metrics: None,
        })
    }
}

/// Refuses a port that cannot be had, in words that name the flag which changes it.
fn check(port: u16, flag: &'static str) -> Result<(), Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    bound.map(drop).map_err(|source| Error::Port { port, flag, source })
}

/// Beginning of the first block of internal ports that no other installation uses, as far as it runs now.
fn free_block() -> u16 {
    (INTERNAL_FROM..u16::MAX - OWN_PORTS - APP_PORTS)
        .step_by(usize::from(OWN_PORTS + APP_PORTS))
        .find(|from| (*from..from + OWN_PORTS).all(free))
        .unwrap_or(INTERNAL_FROM)
}

fn free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// 127.0.0.1 and a port.
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_from_the_flag_that_asks_to_the_one_that_does_not() {
        let first = Ports {
            control_plane: 1,
            stream: 2,
            gateway: 3,
            internal_from: INTERNAL_FROM,
            control_sentry: INTERNAL_FROM,
            control_edge: INTERNAL_FROM + 1,
            region_sentry: INTERNAL_FROM + 2,
            region_edge: INTERNAL_FROM + 3,
            agent: INTERNAL_FROM + 4,
            store: INTERNAL_FROM + 5,
            apps: PortRange {
                from: INTERNAL_FROM + OWN_PORTS,
                to: INTERNAL_FROM + OWN_PORTS + 1,
            },
            metrics: None,
        };
        // From start to start by the record alone.
        let start = |before: &Ports, metrics: Option<u16>| {
            let mut ports: Ports = serde_json::from_value(serde_json::to_value(before).unwrap()).unwrap();
            ports.follow(&Flags {
                port_metrics: metrics,
                ..Flags::default()
            });
            ports
        };
        assert_eq!(start(&first, None), first);
        let asked = start(&first, Some(9464));
        assert_eq!(asked.metrics, Some(9464));
        assert!(asked.named().contains(&(9464, METRICS_FLAG)), "it must be free");
        assert_eq!(start(&asked, None), asked);
        assert_eq!(start(&asked, Some(9465)).metrics, Some(9465));
        assert_eq!(start(&asked, Some(NO_METRICS)), first);
        assert!(serde_json::to_value(&first).unwrap().get("metrics").is_none());
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_the_reason_and_the_remedy() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check(port, METRICS_FLAG).unwrap_err();
        let (words, named) = (error.to_string(), format!("port {port} on 127.0.0.1"));
        for part in [named.as_str(), "in use", "free it", "--port-metrics (0 ="] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(error.exit_code(), palladium_launch::exit::UNAVAILABLE);
    }
}
