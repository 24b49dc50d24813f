//! `palladium up`: everything on this machine, with one command.
//!
//! One idea: it prepares a folder, starts the supervisor, waits, tells, and watches. It is in nobody's way: killed, or its
//! terminal closed (SIGHUP is left alone for that), all goes on; started again, it finds what runs. Start reading at [`main`].
//! Must never be needed by anything that runs, nor stop what it only found unless it is told to.

mod banner;
mod error;
mod layout;
mod metrics_token;
mod plan;
mod ports;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
pub use error::Error;
use palladium_launch::exit;
use palladium_os::files::Lock;
use palladium_tasks::Shutdown;

use self::layout::{Installation, Layout};
use self::plan::Plan;
use self::ports::Ports;
use self::watch::Watch;

/// Flags of `palladium up`. Ports are remembered in the data folder.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Port of the REST API [default: 7443]
    #[arg(long, value_name = "PORT")]
    pub port_control_plane: Option<u16>,
    /// Port of the regions' stream [default: 7444]
    #[arg(long, value_name = "PORT")]
    pub port_stream: Option<u16>,
    /// Port of the gateway [default: 8443]
    #[arg(long, value_name = "PORT")]
    pub port_gateway: Option<u16>,
    /// Port of Prometheus' metrics, in plaintext; remembered until it is said to be 0 [default: not served]
    #[arg(long, value_name = "PORT")]
    pub port_metrics: Option<u16>,
    /// First of the ports between the processes [default: 17500]
    #[arg(long, value_name = "PORT")]
    pub internal_ports_from: Option<u16>,
    /// Life of workload certificates in seconds; short ones are for tests
    #[arg(long, value_name = "SECONDS", default_value_t = palladium_sentry::LEAF_TTL_SECONDS, hide = true)]
    pub leaf_ttl: u32,
    /// Wildcard domain of the gateway, fixed at the first start: http-<project id>.<DOMAIN>
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
}

/// Runs `palladium up`. Ends with 0 after Ctrl-C.
pub async fn main(flags: Flags, folder: PathBuf) -> ExitCode {
    match run(flags, folder).await {
        Ok(()) => ExitCode::from(exit::STOPPED),
        Err(error) => {
            banner::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(flags: Flags, folder: PathBuf) -> Result<(), Error> {
    let started = Instant::now();
    let signals = |source| Error::File {
        path: "signal handlers".into(),
        source,
    };
    let shutdown = Shutdown::on_signals().map_err(signals)?;
    let layout = Layout::create(folder)?;
    let lock = layout.path("up.lock");
    let Some(_lock) = Lock::try_acquire(&lock)? else {
        let pid = Lock::holder(&lock).unwrap_or(0);
        return Err(Error::AlreadyRunning {
            folder: layout.folder().to_owned(),
            pid,
        });
    };
    let (installation, mut watch, found) = prepare(&layout, &flags)?;
    let mut told = false;
    let tell = || {
        // As soon as there are roots, since whoever waits for the ports wants them.
        told = told || layout.write_ca_file()?;
        Ok(())
    };
    let outcome = shutdown.unless(served(&mut watch, tell)).await;
    match &outcome {
        Some(Ok(without)) => {
            banner::ready(&layout, &installation, (!found).then(|| started.elapsed()));
            if let Some(missing) = without {
                banner::complain(missing);
                banner::note("App IDs are served without the control plane; it is started again and again");
            }
            if let Some(error) = shutdown.unless(watch.keep()).await {
                return Err(error);
            }
        }
        Some(Err(_)) if found => {
            banner::note("what was found running goes on");
            return outcome.unwrap_or(Ok(None)).map(|_| ());
        }
        Some(Err(_)) | None => {}
    }
    banner::note("stopping");
    let stopped = watch.stop().await;
    outcome.unwrap_or(Ok(None)).and(stopped)
}

/// Waits until everything serves, however long that takes, and says meanwhile what is missing. Fails only where waiting is of
/// no use.
async fn served(watch: &mut Watch, mut tell: impl FnMut() -> Result<(), Error>) -> Result<Option<Error>, Error> {
    loop {
        match watch.ready(&mut tell).await {
            Err(error @ Error::NotReady { hopeless: false, .. }) => {
                banner::complain(&error);
                banner::note("it is tried again and again; Ctrl-C stops everything in order");
            }
            outcome => return outcome,
        }
    }
}

/// The installation and its supervisor; whether anything of it was found running.
fn prepare(layout: &Layout, flags: &Flags) -> Result<(Installation, Watch, bool), Error> {
    let file = layout.path("region/config/supervisor.json");
    let known: Option<palladium_supervisor::Config> = palladium_config::load(&file).ok();
    if let Some((config, process)) = known
        .clone()
        .and_then(|config| watch::running(&config).map(|process| (config, process)))
    {
        let ports = Ports::recorded(layout, flags)?;
        let installation = Installation::open(layout, &ports, flags.domain.clone())?;
        return Ok((installation, Watch::new(config, file, Some(process))?, true));
    }
    let outlived = known.is_some_and(|config| watch::outlived(&config));
    let ports = if outlived {
        Ports::recorded(layout, flags)?
    } else {
        Ports::open(layout, flags)?
    };
    let installation = Installation::open(layout, &ports, flags.domain.clone())?;
    let (file, config) = Plan::new(layout, &ports, &installation, flags)?.write()?;
    Ok((installation, Watch::new(config, file, None)?, outlived))
}
