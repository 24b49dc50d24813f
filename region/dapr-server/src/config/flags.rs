//! The command line of `daprd` and the environment variables it reads.
//!
//! One idea: a table says which flags exist and whether they take a value; everything it does not name is an error, as
//! with the original. One and two dashes mean the same. Must never print a token.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use palladium_component::metadata::{go_bool, parse_duration};
use secrecy::SecretString;

use super::{AppProtocol, AppSettings, HealthSettings, Listen, MtlsSettings, Settings, quantity};

/// Flags that take a value.
const VALUES: &[&str] = &[
    "actors-disseminate-timeout",
    "actors-service",
    "allowed-origins",
    "app-binding-options-timeout",
    "app-channel-address",
    "app-health-check-path",
    "app-health-probe-interval",
    "app-health-probe-timeout",
    "app-health-threshold",
    "app-id",
    "app-max-concurrency",
    "app-port",
    "app-protocol",
    "components-path",
    "config",
    "control-plane-address",
    "control-plane-namespace",
    "control-plane-trust-domain",
    "dapr-block-shutdown-duration",
    "dapr-graceful-shutdown-seconds",
    "dapr-grpc-port",
    "dapr-http-max-request-size",
    "dapr-http-port",
    "dapr-http-read-buffer-size",
    "dapr-internal-grpc-listen-address",
    "dapr-internal-grpc-port",
    "dapr-listen-addresses",
    "dapr-public-listen-address",
    "dapr-public-port",
    "disable-init-endpoints",
    "hot-reload-reconcile-interval",
    "log-level",
    "max-body-size",
    "metrics-listen-address",
    "metrics-port",
    "mode",
    "placement-host-address",
    "profile-port",
    "read-buffer-size",
    "reminders-service",
    "resources-path",
    "scheduler-host-address",
    "scheduler-job-streams",
    "sentry-address",
    "sentry-request-jwt-audiences",
    "unix-domain-socket",
];

/// Flags that are true without a value.
const SWITCHES: &[&str] = &[
    "app-ssl",
    "build-info",
    "disable-builtin-k8s-secret-store",
    "enable-api-logging",
    "enable-app-health-check",
    "enable-metrics",
    "enable-mtls",
    "enable-profiling",
    "help",
    "log-as-json",
    "version",
    "wait",
];

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Run(Box<Settings>),
    /// Print the version.
    Version,
    /// Print how it was built.
    BuildInfo,
    /// Print the flags.
    Help,
}

/// A command line that cannot be used. Exit code 2, as with the original.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// No such flag.
    #[error("unknown flag: --{0}")]
    Unknown(String),
    /// A flag without its value.
    #[error("flag needs an argument: --{0}")]
    Missing(String),
    /// A value that the flag does not take.
    #[error("invalid argument {value:?} for \"--{flag}\": {reason}")]
    Invalid {
        /// Which flag.
        flag: String,
        /// What was given.
        value: String,
        /// What it takes.
        reason: &'static str,
    },
    /// Something that is not a flag.
    #[error("unknown command {0:?}")]
    Positional(String),
}

/// All flags that exist, one a line, for `--help`.
pub fn usage() -> String {
    let mut names: Vec<&str> = VALUES.iter().chain(SWITCHES).copied().collect();
    names.sort_unstable();
    names.iter().map(|name| format!("      --{name}\n")).collect()
}

/// Reads arguments (without the program's name) and environment.
///
/// # Errors
/// See [`FlagError`].
pub fn parse(args: impl Iterator<Item = String>, env: impl Fn(&str) -> Option<String>) -> Result<Command, FlagError> {
    let flags = Flags::collect(args)?;
    for (switch, command) in [
        ("help", Command::Help),
        ("version", Command::Version),
        ("build-info", Command::BuildInfo),
    ] {
        if flags.switch(switch, false)? {
            return Ok(command);
        }
    }
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let secret = |name: &str| env(name).map(SecretString::from);
    let app_id = flags.text("app-id", "");
    let health = HealthSettings {
        path: with_slash(flags.text("app-health-check-path", "/healthz")),
        interval: Duration::from_secs(flags.number::<u32>("app-health-probe-interval", 5)?.max(1).into()),
        timeout: Duration::from_millis(flags.number::<u32>("app-health-probe-timeout", 500)?.max(1).into()),
        threshold: flags.number::<u32>("app-health-threshold", 3)?.max(1),
    };
    let app = AppSettings {
        port: flags.port("app-port")?,
        protocol: flags.protocol()?,
        address: flags.text("app-channel-address", "127.0.0.1"),
        max_concurrency: usize::try_from(flags.number("app-max-concurrency", -1i64)?)
            .ok()
            .filter(|limit| *limit > 0),
        health: flags.switch("enable-app-health-check", false)?.then_some(health),
        token: secret("APP_API_TOKEN"),
    };
    let listen = Listen {
        addresses: split(&flags.text("dapr-listen-addresses", "")),
        http_port: flags.port("dapr-http-port")?.unwrap_or(3500),
        grpc_port: flags.port("dapr-grpc-port")?.unwrap_or(50001),
        internal_port: flags.port("dapr-internal-grpc-port")?,
        internal_address: flags.text("dapr-internal-grpc-listen-address", ""),
        public_port: flags.port("dapr-public-port")?,
        public_address: flags.text("dapr-public-listen-address", ""),
        metrics_port: flags
            .switch("enable-metrics", true)?
            .then(|| flags.port("metrics-port").map(|port| port.unwrap_or(9090)))
            .transpose()?,
        metrics_address: flags.text("metrics-listen-address", "0.0.0.0"),
        profile_port: flags
            .switch("enable-profiling", false)?
            .then(|| flags.port("profile-port").map(|port| port.unwrap_or(7777)))
            .transpose()?,
        unix_folder: flags.given("unix-domain-socket").map(PathBuf::from),
    };
    let mtls = flags.switch("enable-mtls", false)?.then(|| MtlsSettings {
        sentry_address: flags.text("sentry-address", ""),
        trust_anchors: env("DAPR_TRUST_ANCHORS").unwrap_or_default(),
        control_plane_trust_domain: flags.text("control-plane-trust-domain", "localhost"),
        control_plane_namespace: flags.text("control-plane-namespace", "default"),
        token_file: env("DAPR_SENTRY_TOKEN_FILE").map(PathBuf::from),
    });
    Ok(Command::Run(Box::new(Settings {
        app_id,
        namespace: env("NAMESPACE").unwrap_or_default(),
        listen,
        app,
        unasked_endpoints: split(&flags.text("disable-init-endpoints", "")),
        resources_paths: flags.paths(&["resources-path", "components-path"]),
        config_files: flags.paths(&["config"]),
        allowed_origins: flags.text("allowed-origins", ""),
        max_body: flags.size("max-body-size", "dapr-http-max-request-size", 1 << 20, 4 << 20)?,
        read_buffer: flags.size("read-buffer-size", "dapr-http-read-buffer-size", 1 << 10, 4 << 10)?,
        graceful_shutdown: Duration::from_secs(flags.number::<u32>("dapr-graceful-shutdown-seconds", 5)?.into()),
        block_shutdown: flags.duration("dapr-block-shutdown-duration")?,
        api_logging: flags
            .given("enable-api-logging")
            .map(|_| flags.switch("enable-api-logging", false))
            .transpose()?,
        mtls,
        api_token: secret("DAPR_API_TOKEN"),
        host: env("DAPR_HOST_IP")
            .and_then(|ip| ip.parse().ok())
            .or_else(outbound_address)
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        component_sockets: env("DAPR_COMPONENTS_SOCKETS_FOLDER")
            .unwrap_or_else(|| "/tmp/dapr-components-sockets".to_owned())
            .into(),
        log_level: flags.text("log-level", "info"),
        log_json: flags.switch("log-as-json", false)?,
    })))
}

/// The address that the kernel would send from. Nothing is sent: the destination is one of those reserved for documents.
fn outbound_address() -> Option<IpAddr> {
    ["192.0.2.1:80", "[2001:db8::1]:80"].iter().find_map(|to| {
        let from: SocketAddr = if to.starts_with('[') {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

fn split(list: &str) -> Vec<String> {
    list.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn with_slash(path: String) -> String {
    if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    }
}

/// The flags as given, in order for those that may be repeated.
struct Flags(HashMap<&'static str, Vec<String>>);

impl Flags {
    fn collect(args: impl Iterator<Item = String>) -> Result<Self, FlagError> {
        let mut given: HashMap<&'static str, Vec<String>> = HashMap::new();
        let mut args = args;
        while let Some(arg) = args.next() {
            let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                return Err(FlagError::Positional(arg));
            };
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let name = if name == "h" { "help" } else { name };
            let known = |table: &[&'static str]| table.iter().find(|known| **known == name).copied();
            if let Some(name) = known(SWITCHES) {
                given
                    .entry(name)
                    .or_default()
                    .push(value.unwrap_or_else(|| "true".to_owned()));
            } else if let Some(name) = known(VALUES) {
                let value = value
                    .or_else(|| args.next())
                    .ok_or_else(|| FlagError::Missing(name.to_owned()))?;
                given.entry(name).or_default().push(value);
            } else {
                return Err(FlagError::Unknown(name.to_owned()));
            }
        }
        Ok(Self(given))
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)?
            .last()
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.given(name).unwrap_or(default).to_owned()
    }

    fn paths(&self, names: &[&str]) -> Vec<PathBuf> {
        let all = names.iter().filter_map(|name| self.0.get(name)).flatten();
        all.flat_map(|value| split(value)).map(PathBuf::from).collect()
    }

    fn invalid<T>(&self, flag: &str, value: &str, reason: &'static str) -> Result<T, FlagError> {
        Err(FlagError::Invalid {
            flag: flag.to_owned(),
            value: value.to_owned(),
            reason,
        })
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, FlagError> {
        let Some(value) = self.given(name) else {
            return Ok(default);
        };
        value
            .parse()
            .or_else(|_| self.invalid(name, value, "a whole number is expected"))
    }

    fn port(&self, name: &str) -> Result<Option<u16>, FlagError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let port = value
            .parse::<u16>()
            .or_else(|_| self.invalid(name, value, "a port from 0 to 65535 is expected"))?;
        Ok((port != 0 || name != "app-port").then_some(port))
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool, FlagError> {
        let Some(value) = self.given(name) else {
            return Ok(default);
        };
        match go_bool(value) {
            Some(truth) => Ok(truth),
            None => self.invalid(name, value, "true or false is expected"),
        }
    }

    fn protocol(&self) -> Result<AppProtocol, FlagError> {
        let value = self.text("app-protocol", "http").to_ascii_lowercase();
        let Some(protocol) = AppProtocol::from_name(&value) else {
            return self.invalid(
                "app-protocol",
                &value,
                "one of http, https, h2c, grpc, grpcs is expected",
            );
        };
        Ok(match (protocol, self.switch("app-ssl", false)?) {
            (AppProtocol::Http, true) => AppProtocol::Https,
            (AppProtocol::Grpc, true) => AppProtocol::Grpcs,
            (other, _) => other,
        })
    }

    /// A size; `old` is its deprecated form, a number counted in `unit`. Zero and below mean unlimited.
    fn size(&self, name: &str, old: &str, unit: i64, default: usize) -> Result<usize, FlagError> {
        const WHAT: &str = "a size such as 4Mi is expected";
        let bytes = match (self.given(name), self.given(old)) {
            (Some(value), _) => match quantity::parse(value) {
                Some(bytes) => bytes,
                None => return self.invalid(name, value, WHAT),
            },
            (None, Some(_)) => self.number::<i32>(old, -1).map(|count| i64::from(count) * unit)?,
            (None, None) => return Ok(default),
        };
        Ok(usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes > 0)
            .unwrap_or(usize::MAX))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, FlagError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        match parse_duration(value, Duration::from_secs(1)) {
            Ok(duration) => Ok(Some(duration)),
            Err(_) => self.invalid(name, value, "a duration such as 5s is expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Command, FlagError> {
        parse(args.iter().map(|arg| (*arg).to_owned()), |_| None)
    }

    #[test]
    fn one_dash_and_two_and_both_ways_to_give_a_value() {
        for args in [
            &["-app-id", "x", "--enable-mtls=false"][..],
            &["--app-id=x", "-dapr-http-port", "0"],
        ] {
            let Ok(Command::Run(settings)) = run(args) else {
                panic!("{args:?}")
            };
            assert_eq!(settings.app_id, "x");
            assert_eq!(settings.max_body, 4 << 20);
        }
    }

    #[test]
    fn what_is_unknown_or_wrong_is_refused() {
        for args in [
            &["--app-idd=x"][..],
            &["run"],
            &["--app-id"],
            &["--dapr-http-port=70000"],
            &["--app-protocol=ftp"],
        ] {
            assert!(run(args).is_err(), "{args:?}");
        }
        assert!(matches!(run(&["--version"]), Ok(Command::Version)));
    }
}
