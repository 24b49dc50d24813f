//! The guard rails: the file in which the region's owner says what the control plane may ask for.
//!
//! The one idea: local policy wins. What is not allowed here is held, visibly, until the owner changes this file; the file
//! is read again when it changes. Unknown keys are errors, because a typo in a prohibition must not permit anything.
//! Must never write over the owner's file, nor put the defaults in its place when it is gone: they may permit more.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use palladium_os::files::write_private;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::desired::canonical;
use crate::error::at;

/// What the control plane may ask of this region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardRails {
    /// What is allowed.
    #[serde(default)]
    pub allow: Allow,
    /// A control plane whose database was restored from a backup begins a new epoch, with a desired state that may be older
    /// than this region's. Epochs up to this number are accepted.
    #[serde(default = "one")]
    pub confirmed_epoch: u64,
}

/// The permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Allow {
    /// Desired state that switches mutual TLS off.
    pub mtls_off: bool,
    /// Hosts that Dapr Servers may call as an application: names, addresses, `*.suffix`, `loopback`, or `*` for all.
    pub callback_hosts: Vec<String>,
    /// Hosts that components, HTTP endpoints and trace exporters may connect to, in the same form.
    pub component_hosts: Vec<String>,
    /// Which secrets a permitted reader may read back through the control plane.
    pub secret_read_back: SecretReadBack,
}

/// Secrets that may leave the region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecretReadBack {
    /// Tokens of App IDs.
    pub app_tokens: bool,
    /// Secrets of components and applications.
    pub component_secrets: bool,
}

impl Default for GuardRails {
    fn default() -> Self {
        Self {
            allow: Allow::default(),
            confirmed_epoch: one(),
        }
    }
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            mtls_off: false,
            callback_hosts: vec!["loopback".to_owned()],
            component_hosts: vec!["*".to_owned()],
            secret_read_back: SecretReadBack::default(),
        }
    }
}

impl Default for SecretReadBack {
    fn default() -> Self {
        Self {
            app_tokens: true,
            component_secrets: false,
        }
    }
}

fn one() -> u64 {
    1
}

impl GuardRails {
    /// Parses the file's text.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("has more than {MAX_BYTES} bytes"));
        }
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    /// Whether an application at this host may be called.
    pub(crate) fn allows_callback(&self, host: &str) -> bool {
        allows(&self.allow.callback_hosts, host)
    }

    /// Whether a component, an HTTP endpoint or a trace exporter may connect to this host.
    pub(crate) fn allows_component(&self, host: &str) -> bool {
        allows(&self.allow.component_hosts, host)
    }

    /// Whether components are free to connect anywhere, so that nobody has to look for hosts in them.
    pub(crate) fn allows_all_components(&self) -> bool {
        self.allow.component_hosts.iter().any(|pattern| pattern == "*")
    }
}

/// The file, and what was last read from it.
pub(crate) struct GuardRailsFile {
    path: PathBuf,
    modified: Option<SystemTime>,
}

impl GuardRailsFile {
    /// Reads the file; writes it with the defaults when it is missing and the region is `new`. A region that ran before had
    /// guard rails too: whatever became of them, the defaults may permit more. Blocks on local disk.
    pub(crate) fn open(path: &Path, new: bool) -> Result<(Self, GuardRails), Error> {
        match std::fs::symlink_metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(path)(error)),
            Err(_) if new => write_private(path, DEFAULT_FILE.as_bytes())?,
            Err(_) => {
                return Err(Error::GuardRails {
                    path: path.to_owned(),
                    reason: "the file is gone, although this region ran before. Bring it back; or write a new one, \
                             with `allow: {}` as its whole text for the defaults"
                        .to_owned(),
                });
            }
        }
        let mut file = Self {
            path: path.to_owned(),
            modified: None,
        };
        let rails = file.read()?;
        Ok((file, rails))
    }

    /// Reads the file again if it has changed. Blocks on local disk.
    pub(crate) fn changed(&mut self) -> Result<Option<GuardRails>, Error> {
        let modified = std::fs::metadata(&self.path)
            .and_then(|data| data.modified())
            .map_err(at(&self.path))?;
        if self.modified == Some(modified) {
            return Ok(None);
        }
        self.read().map(Some)
    }

    fn read(&mut self) -> Result<GuardRails, Error> {
        // The time first: a change in between is then seen by the next look. What could not be read is not seen yet.
        let modified = std::fs::metadata(&self.path)
            .and_then(|data| data.modified())
            .map_err(at(&self.path))?;
        let text = std::fs::read_to_string(&self.path).map_err(at(&self.path))?;
        self.modified = Some(modified);
        GuardRails::parse(&text).map_err(|reason| Error::GuardRails {
            path: self.path.clone(),
            reason,
        })
    }
}

fn allows(patterns: &[String], host: &str) -> bool {
    let host = canonical(host);
    patterns.iter().any(|pattern| match canonical(pattern).as_str() {
        "*" => true,
        "loopback" => {
            host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        pattern => match pattern.strip_prefix("*.") {
            Some(suffix) => host
                .strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
            None => host == pattern,
        },
    })
}

const MAX_BYTES: usize = 64 * 1024;

const DEFAULT_FILE: &str = "\
# Guard rails: what the control plane may ask of this region. This file belongs to the region's owner;
# the control plane can neither read nor change it. Changes take effect within seconds, without a restart.
allow:
  mtlsOff: false               # desired state that switches mutual TLS off
  callbackHosts: [loopback]    # applications that Dapr Servers may call: names, addresses, '*.suffix', loopback, '*'
  componentHosts: ['*']        # hosts that components, HTTP endpoints and trace exporters may connect to, in the same form
  secretReadBack:
    appTokens: true            # a permitted reader may see App ID tokens
    componentSecrets: false    # ... and secrets of components
confirmedEpoch: 1              # raise it to accept the state of a control plane that was restored from a backup
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_file_says_what_the_defaults_are() {
        assert_eq!(GuardRails::parse(DEFAULT_FILE), Ok(GuardRails::default()));
    }

    #[test]
    fn a_typo_is_an_error() {
        for text in [
            "allow: {mtlsof: true}",
            "alow: {}",
            "allow: {secretReadBack: {tokens: true}}",
            "confirmedEpoch: x",
        ] {
            assert!(GuardRails::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_match_exactly_or_by_suffix() {
        let rails = GuardRails::parse("allow: {callbackHosts: [loopback, '*.corp.example', api.example]}").unwrap();
        for host in [
            "localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "::1%lo",
            "a.corp.example",
            "API.example",
            "api.example.",
        ] {
            assert!(rails.allows_callback(host), "{host}");
        }
        for host in [
            "corp.example",
            "evilcorp.example",
            "x.api.example",
            "10.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "",
        ] {
            assert!(!rails.allows_callback(host), "{host}");
        }
    }

    fn write_later(path: &Path, text: &str, seconds: u64) {
        std::fs::write(path, text).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(seconds);
        std::fs::File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(later)
            .unwrap();
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard-rails.yaml");
        let (mut file, rails) = GuardRailsFile::open(&path, true).unwrap();
        assert_eq!(rails, GuardRails::default());
        assert!(file.changed().unwrap().is_none());
        write_later(&path, "confirmedEpoch: 2", 5);
        assert_eq!(file.changed().unwrap().unwrap().confirmed_epoch, 2);
        write_later(&path, "confirmedEpoch: 2\nallow: {everything: true}", 9);
        assert!(file.changed().is_err());
    }

    #[test]
    fn a_removed_file_does_not_come_back_with_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard-rails.yaml");
        assert!(matches!(
            GuardRailsFile::open(&path, false),
            Err(Error::GuardRails { .. })
        ));
        assert!(!path.exists());
    }
}
