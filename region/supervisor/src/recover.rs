//! After its own death: finds its processes again, ends those that it cannot keep, leaves strangers alone.
//!
//! One idea: a process is ours if it is this user's, its argument list is letter for letter one that only this configuration
//! produces, and it runs the program that these arguments are for. It is taken over if moreover the ledger's fingerprint
//! fits it and its arguments are those of the name that the ledger gives it; ours without that is ended. Must never signal a process on a pid alone.

use std::ffi::OsString;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use palladium_os::{Process, arguments, boot_id, processes_whose_arguments};

use crate::ledger::{Entry, Ledger, State};
use crate::supervisor::Supervisor;
use crate::{Config, Error};

/// For what runs and cannot be kept.
const GRACE: Duration = Duration::from_secs(2);

/// Takes over what runs. Called once, before anything is started.
pub(crate) async fn recover(supervisor: &Arc<Supervisor>) -> Result<(), Error> {
    let path = supervisor.config.ledger_file();
    let ledger = Ledger::read(&path).unwrap_or_else(|error| {
        tracing::error!(%error, "the ledger is damaged; it is set aside, and what it would have named is started anew");
        if let Err(error) = std::fs::rename(&path, path.with_extension("damaged")) {
            tracing::error!(%error, "it cannot be set aside");
        }
        Ledger::default()
    });
    let same_boot = ledger.boot_id == boot_id();
    let mut kept = Vec::new();
    for mut entry in ledger.processes {
        let is_server = entry.name.contains('/');
        if !is_server && !supervisor.config.roles.iter().any(|role| role.name == entry.name) {
            continue;
        }
        let running = entry.fingerprint.take().filter(|_| same_boot);
        let found = running.and_then(|fingerprint| Process::adopt(&fingerprint).ok().flatten());
        // Behind the pidfd, so the arguments are this process's; the ledger is a file, and may name a stranger.
        let claimed =
            |process: &Process| arguments(process.pid()).is_some_and(|list| fits(supervisor, &entry.name, &list));
        if let Some(process) = found.filter(|process| claimed(process) && process.is_running()) {
            tracing::info!(name = entry.name, pid = process.pid(), "still runs; taken over");
            entry.fingerprint = Some(process.fingerprint().clone());
            entry.process = Some(Arc::new(process));
        } else if !is_server {
            continue;
        } else if entry.state == State::Running {
            (entry.state, entry.exit_code) = (State::Exited, -1);
            entry.reason = "ended while the supervisor was away".to_owned();
        }
        kept.push(entry);
    }
    end_strays(supervisor, &kept).await;
    for entry in &kept {
        if let (true, Some(process)) = (entry.name.contains('/'), &entry.process) {
            supervisor.spawn(
                "dapr-server",
                supervisor.clone().await_server(entry.name.clone(), process.clone()),
            );
        }
    }
    supervisor
        .table
        .change(|table| table.extend(kept.into_iter().map(|entry| (entry.name.clone(), entry))))
        .await
}

/// Ends what is surely ours but in no ledger: it would hold ports and folders of its successor.
async fn end_strays(supervisor: &Supervisor, kept: &[Entry]) {
    let ours = |arguments: &[OsString]| is_ours(&supervisor.config, arguments);
    for pid in processes_whose_arguments(ours) {
        if kept
            .iter()
            .any(|entry| entry.process.as_ref().is_some_and(|process| process.pid() == pid))
        {
            continue;
        }
        let Ok(process) = Process::open(pid) else { continue };
        // Once more behind the pidfd: the first look was at a number. And anybody may call himself what he likes.
        let program = arguments(pid).and_then(|list| list.into_iter().next());
        let genuine = program.is_some_and(|program| process.runs(Path::new(&program)));
        if genuine && processes_whose_arguments(ours).contains(&pid) {
            tracing::warn!(pid, "ours, but not in the ledger; it is stopped");
            if let Err(error) = process.stop(GRACE).await {
                tracing::error!(%error, "it stays");
            }
        }
    }
}

/// Whether a process with these arguments is what runs under `name`.
fn fits(supervisor: &Supervisor, name: &str, list: &[OsString]) -> bool {
    let config = &supervisor.config;
    match config.roles.iter().find(|role| role.name == name) {
        Some(role) => {
            matches!(list, [program, rest @ ..] if *program == *config.executable && role.arguments() == rest)
        }
        None => {
            name.contains('/')
                && list.first().is_some_and(|program| *program == *config.dapr_server)
                && is_ours(config, list)
        }
    }
}

fn is_ours(config: &Config, arguments: &[OsString]) -> bool {
    let Some((program, rest)) = arguments.split_first() else {
        return false;
    };
    let server = matches!(rest, [run, flag, file] if run == "run" && flag == "--config"
        && Path::new(file).starts_with(&config.apps_folder)
        && !Path::new(file).components().any(|part| part == Component::ParentDir));
    (server && *program == *config.dapr_server.as_os_str())
        || (*program == *config.executable.as_os_str() && config.roles.iter().any(|role| role.arguments() == rest))
}
