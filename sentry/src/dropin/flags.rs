//! The flags of Dapr's `sentry`, with one dash or two.
//!
//! One idea: every flag of Dapr's is accepted; one that asks for something which does not exist here is an error in
//! [`Flags::validate`], with the reason. Must never ignore a flag that would change who is trusted or what is served,
//! nor take a secret as a flag: keys are named by file.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Parser};
use palladium_telemetry::LogConfig;
use time::Duration;

use super::duration;
use crate::Error;

/// Parsed flags. Switches take an optional value, as Go's do: `--jwt-enabled`, `--jwt-enabled=false`.
#[derive(Debug, Clone, Parser)]
#[command(name = "sentry", about = "Dapr's certificate authority, drop-in form", version)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches on a command line")]
pub(super) struct Flags {
    /// Path of the Configuration file.
    #[arg(long, default_value = "daprsystem")]
    pub(super) config: PathBuf,
    /// Folder of the issuer's files.
    #[arg(long, default_value = "/var/run/secrets/dapr.io/credentials")]
    pub(super) issuer_credentials: PathBuf,
    /// File with the roots.
    #[arg(long, default_value = "ca.crt")]
    pub(super) issuer_ca_filename: String,
    /// File with the issuer's chain.
    #[arg(long, default_value = "issuer.crt")]
    pub(super) issuer_certificate_filename: String,
    /// File with the issuer's key, PKCS#8.
    #[arg(long, default_value = "issuer.key")]
    pub(super) issuer_key_filename: String,
    /// Trust domain of the authority.
    #[arg(long, default_value = "localhost")]
    pub(super) trust_domain: String,
    /// gRPC port.
    #[arg(long, default_value_t = 50001)]
    pub(super) port: u16,
    /// gRPC address; empty means all.
    #[arg(long, default_value = "")]
    pub(super) listen_address: String,
    /// Health port.
    #[arg(long, default_value_t = 8080)]
    pub(super) healthz_port: u16,
    /// Health address; empty means all.
    #[arg(long, default_value = "")]
    pub(super) healthz_listen_address: String,
    /// `standalone`.
    #[arg(long, default_value = "standalone")]
    pub(super) mode: String,
    /// Issue JWTs beside certificates.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub(super) jwt_enabled: bool,
    /// File with the JWT signing key.
    #[arg(long, default_value = "jwt.key")]
    pub(super) jwt_key_filename: String,
    /// File with the JWT key set.
    #[arg(long, default_value = "jwks.json")]
    pub(super) jwks_filename: String,
    /// `iss` of JWTs.
    #[arg(long)]
    pub(super) jwt_issuer: Option<String>,
    /// `RS256`, `RS384` or `RS512`.
    #[arg(long, default_value = "RS256")]
    pub(super) jwt_signing_algorithm: String,
    /// `kid` of JWTs.
    #[arg(long)]
    pub(super) jwt_key_id: Option<String>,
    /// Life of JWTs.
    #[arg(long, default_value = "24h", value_parser = duration::parse)]
    pub(super) jwt_ttl: Duration,
    /// OIDC server; not available.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    oidc_enabled: bool,
    #[arg(long, hide = true)]
    oidc_server_listen_port: Option<u16>,
    #[arg(long, hide = true)]
    oidc_server_listen_address: Option<String>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    oidc_server_tls_enabled: Option<bool>,
    #[arg(long, hide = true)]
    oidc_server_tls_cert_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    oidc_server_tls_key_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    oidc_jwks_uri: Option<String>,
    #[arg(long, hide = true)]
    oidc_path_prefix: Option<String>,
    #[arg(long, hide = true)]
    oidc_allowed_hosts: Option<String>,
    #[arg(long, hide = true)]
    kubeconfig: Option<PathBuf>,
    /// `debug`, `info`, `warn`, `error` or `fatal`.
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Log JSON.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    log_as_json: bool,
    /// Serve metrics.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    pub(super) enable_metrics: bool,
    /// Metrics port.
    #[arg(long, default_value_t = 9090)]
    pub(super) metrics_port: u16,
    /// Metrics address.
    #[arg(long, default_value = "0.0.0.0")]
    pub(super) metrics_listen_address: String,
}

impl Flags {
    /// Parses a command line, the program's name first.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args.into_iter().map(with_two_dashes))
    }

    /// Refuses what is accepted as a flag but not available.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Config(reason.to_owned()));
        match self.mode.as_str() {
            "standalone" => {}
            "kubernetes" => return refuse("mode kubernetes is not available in this sentry; use standalone"),
            _ => return refuse("mode must be standalone"),
        }
        if self.oidc_enabled {
            return refuse("the OIDC server is not available in this sentry; remove oidc-enabled");
        }
        if self.jwt_issuer.is_some() && !self.jwt_enabled {
            return refuse("jwt-issuer needs jwt-enabled");
        }
        Ok(())
    }

    /// What to log.
    pub(super) fn log(&self) -> LogConfig {
        let level = if self.log_level == "fatal" {
            "error"
        } else {
            &self.log_level
        };
        LogConfig {
            level: level.to_owned(),
            json: self.log_as_json,
        }
    }
}

/// `-port` means `--port`; there are no one-letter flags but `-h`.
fn with_two_dashes(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => format!("-{text}").into(),
        _ => arg,
    }
}
