//! Whom a command talks to, as whom, and in which project: flags before environment before `login` before a local installation.
//!
//! The only file that knows where these come from. Must never mix sources: the key saved for one control plane is never sent
//! to another.

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::Error;
use crate::api::Api;
use crate::input;
use crate::saved::{self, Config, Home};

const GLOBAL: &str = "Global options";

/// Flags that every command accepts.
#[derive(Clone, Debug, Args)]
pub struct ConnectionArgs {
    /// API key to use instead of the saved one; - reads standard input, or asks
    #[arg(
        long,
        global = true,
        env = "PALLADIUM_API_KEY",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "KEY"
    )]
    pub api_key: Option<SecretString>,
    /// Control plane to talk to instead of the saved one
    #[arg(long = "api", global = true, env = "PALLADIUM_API_URL", help_heading = GLOBAL, value_name = "URL")]
    pub api_url: Option<Url>,
    /// PEM file with the roots of the control plane and the gateway
    #[arg(long, global = true, env = "PALLADIUM_CA_FILE", help_heading = GLOBAL, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Folder of a local installation made by `palladium up`
    #[arg(long, global = true, env = "PALLADIUM_DATA_DIR", help_heading = GLOBAL, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Folder where the command line keeps its own files [default: DATA_DIR/cli]
    #[arg(long, global = true, env = "PALLADIUM_HOME", help_heading = GLOBAL, value_name = "DIR", hide = true)]
    pub home: Option<PathBuf>,
}

impl ConnectionArgs {
    /// `--data-dir`, or `~/.palladium`.
    pub fn data_folder(&self) -> PathBuf {
        self.data_dir
            .clone()
            .unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".palladium"))
    }

    /// The command line's own files.
    pub fn home(&self) -> Home {
        Home::new(self.home.clone(), &self.data_folder())
    }
}

/// `command` with variables that are set to nothing left out: `PALLADIUM_API_URL= palladium …` means "not set" everywhere else, too.
pub fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let empty = arg
                .get_env()
                .and_then(std::env::var_os)
                .is_some_and(|value| value.is_empty());
            if empty {
                arg.env(clap::builder::Resettable::Reset)
            } else {
                arg
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// Everything a command needs to act.
#[derive(Debug)]
pub struct Context {
    /// The control plane.
    pub api: Api,
    /// Roots for the gateway as well; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    /// What was saved.
    pub saved: Config,
    /// Where it is saved.
    pub home: Home,
}

impl Context {
    /// Finds the control plane and the key. Talks to nobody.
    pub fn resolve(args: &ConnectionArgs) -> Result<Self, Error> {
        let home = args.home();
        let saved = home.config()?;
        let mut source = Source::named(args)?;
        if source.is_none() {
            source = Source::logged_in(&saved, &home)?;
        }
        if source.is_none() {
            source = Source::local(args)?;
        }
        let source = source.ok_or(Error::NoControlPlane)?;
        if source.url.scheme() != "https" {
            // The key would travel in clear; and `--api localhost:7443` names a scheme "localhost".
            return Err(Error::Argument {
                argument: "--api",
                reason: format!("{} does not begin with https://; give https://HOST:PORT", source.url),
            });
        }
        let given = args.api_key.as_ref().map(|key| {
            let key = input::value_or_stdin("--api-key", "API key", key.expose_secret())?;
            Ok(SecretString::from(key))
        });
        let key = given.transpose()?.or(source.key);
        let key = key.ok_or_else(|| Error::NoApiKey {
            api: source.url.to_string(),
        })?;
        let ca_file = args.ca_file.clone().or(source.ca_file);
        Ok(Self {
            api: Api::new(source.url, key, ca_file.as_deref())?,
            ca_file,
            saved,
            home,
        })
    }

    /// `-p`, or the project of the last `project use`.
    pub fn project<'a>(&'a self, given: Option<&'a str>) -> Result<&'a str, Error> {
        given.or(self.saved.current_project.as_deref()).ok_or(Error::NoProject)
    }
}

/// One place that names a control plane, with the key that belongs to it.
struct Source {
    url: Url,
    key: Option<SecretString>,
    ca_file: Option<PathBuf>,
}

impl Source {
    fn named(args: &ConnectionArgs) -> Result<Option<Self>, Error> {
        let Some(url) = args.api_url.clone() else {
            return Ok(None);
        };
        // The local installation's key and roots belong to this URL only if it is the local installation's.
        let local = Self::local(args)?.filter(|local| local.url == url);
        let home = args.home();
        let saved = Self::logged_in(&home.config()?, &home)?.filter(|saved| saved.url == url);
        let known = saved.or(local);
        Ok(Some(Self {
            url,
            key: known.as_ref().and_then(|s| s.key.clone()),
            ca_file: known.and_then(|s| s.ca_file),
        }))
    }

    fn logged_in(saved: &Config, home: &Home) -> Result<Option<Self>, Error> {
        let Some(url) = &saved.api_url else { return Ok(None) };
        Ok(Some(Self {
            url: parse("saved API URL", url)?,
            key: home.api_key()?,
            ca_file: saved.ca_file.clone(),
        }))
    }

    fn local(args: &ConnectionArgs) -> Result<Option<Self>, Error> {
        let Some(local) = saved::local_installation(&args.data_folder())? else {
            return Ok(None);
        };
        let key = saved::read_key(&local.admin_key_file)?;
        Ok(Some(Self {
            url: parse("up.json", &local.api_url)?,
            key,
            ca_file: Some(local.ca_file),
        }))
    }
}

fn parse(argument: &'static str, url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| Error::Argument {
        argument,
        reason: format!("{url:?} is not a URL: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(folder: &std::path::Path) -> ConnectionArgs {
        ConnectionArgs {
            api_key: None,
            api_url: None,
            ca_file: None,
            data_dir: Some(folder.to_owned()),
            home: None,
        }
    }

    #[test]
    fn without_anything_it_says_what_to_do() {
        let folder = tempfile::tempdir().expect("temp folder");
        let error = Context::resolve(&args(folder.path())).expect_err("nothing there");
        assert!(error.hint().expect("a hint").contains("palladium up"));
    }

    #[test]
    fn the_saved_key_is_not_sent_to_another_control_plane() {
        let folder = tempfile::tempdir().expect("temp folder");
        let mut args = args(folder.path());
        let home = args.home();
        home.save_config(&Config {
            api_url: Some("https://one:7443/".into()),
            ..Config::default()
        })
        .expect("saved");
        home.save_api_key(&"one's key".to_owned().into()).expect("saved");
        args.api_url = Some(Url::parse("https://two:7443").expect("a URL"));
        let error = Context::resolve(&args).expect_err("no key");
        assert!(matches!(error, Error::NoApiKey { .. }) && error.hint().expect("a hint").contains("--data-dir"));
    }

    #[test]
    fn a_key_never_travels_in_clear() {
        let folder = tempfile::tempdir().expect("temp folder");
        for url in ["http://one:7443", "one:7443"] {
            let mut args = args(folder.path());
            args.api_url = Some(Url::parse(url).expect("a URL"));
            args.api_key = Some("k".to_owned().into());
            let error = Context::resolve(&args).expect_err("not https");
            assert!(error.to_string().contains("https://HOST:PORT"), "{error}");
        }
    }
}
