//! App IDs: token, ports, a running Dapr Server; and their end: process, folder, certificates, rows, then the name.
//!
//! The one idea: one look at one App ID does the next missing thing. What happened to processes before is kept only to
//! know how long to wait before the next start. Must never free a name before process, rows and folder are gone and its
//! certificates are revoked, nor start or stop anything while the supervisor's list is unknown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use palladium_launch::{Envelope, exit};
use palladium_proto::supervisor::{Process, StartRequest, State};
use palladium_sealing::ExposeSecret as _;
use palladium_spiffe::SpiffeId;
use palladium_tasks::Backoff;
use serde_json::json;

use super::{Word, say, say_deleting, take_in_secrets};
use crate::desired::Admitted;
use crate::region::{Region, now_ms, remove_folder};
use crate::run::blocking;
use crate::supervisor::Supervisor;
use crate::tombstones::Tombstone;
use crate::views::server_name;
use crate::{Error, json_file};

/// App IDs looked at beside each other.
const CONCURRENT: usize = 8;
const GRACE_SECONDS: u32 = 5;
/// A Dapr Server that ran this long was a good one.
const GOOD_RUN_MS: i64 = 60_000;
/// One that wants attestation sooner than this after its start is not restarted at once.
const SOON_MS: i64 = 1_000;

/// When a Dapr Server may be started again.
struct Restart {
    /// `started_at_unix_ms` of the process whose end was seen.
    seen: i64,
    due: Instant,
    backoff: Backoff,
    /// Somebody else listens on its ports.
    other_ports: bool,
}

impl Default for Restart {
    fn default() -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        Self {
            seen: 0,
            due: Instant::now(),
            backoff,
            other_ports: false,
        }
    }
}

type Restarts = Arc<Mutex<HashMap<String, Restart>>>;

pub(super) fn reconciler(region: Arc<Region>, supervisor: Supervisor) -> super::Look {
    let restarts = Restarts::default();
    Box::new(move || Box::pin(run(region.clone(), supervisor.clone(), restarts.clone())))
}

async fn run(region: Arc<Region>, supervisor: Supervisor, restarts: Restarts) -> Result<Option<Duration>, Error> {
    let look = Look {
        processes: region.observed.processes_to_act_on(),
        region,
        supervisor,
        restarts,
    };
    let apps: Vec<Arc<Admitted>> = look
        .region
        .desired()
        .admitted()
        .filter(|object| object.app().is_some())
        .cloned()
        .collect();
    let gone = look.region.tombstones.of_kind("AppIdentity");
    // Deletions first: a new App ID of the same name waits for them.
    let deleting = gone.into_iter().map(|gone| look.remove(gone));
    let mut results: Vec<Result<Option<Duration>, Error>> = stream::iter(deleting)
        .buffer_unordered(CONCURRENT)
        .map(|result| result.map(|()| None))
        .collect()
        .await;
    let ensuring = apps.into_iter().map(|app| look.ensure(app));
    results.extend(
        stream::iter(ensuring)
            .buffer_unordered(CONCURRENT)
            .collect::<Vec<_>>()
            .await,
    );
    look.stop_strangers().await;
    let mut soonest = look
        .region
        .tokens
        .next_end()
        .map(|end| Duration::from_millis(u64::try_from(end - now_ms()).unwrap_or(0)) + Duration::from_millis(50));
    for result in results {
        // Each App ID's own failure is in its status; here only the time of the next look counts.
        match result {
            Ok(wait) => soonest = [soonest, wait].into_iter().flatten().min(),
            Err(error) => {
                tracing::error!(%error, "an App ID was not reconciled");
                soonest = Some(Duration::from_secs(2));
            }
        }
    }
    Ok(soonest)
}

/// One look at everything.
struct Look {
    region: Arc<Region>,
    supervisor: Supervisor,
    restarts: Restarts,
    /// `None`: unknown, so nothing is started or stopped.
    processes: Option<HashMap<String, Process>>,
}

impl Look {
    /// Does what is missing for one App ID and says where it stands.
    async fn ensure(&self, app: Arc<Admitted>) -> Result<Option<Duration>, Error> {
        let (project_id, app_id) = (app.meta.project_id.clone(), app.meta.name.clone());
        if self.region.tombstones.has("AppIdentity", &project_id, &app_id) {
            let word = Word::pending("WaitingForDeletion", "an App ID of this name is still being deleted");
            self.say(&app, word);
            return Ok(None);
        }
        let (region, object) = (self.region.clone(), app.clone());
        let prepared = blocking(move || prepare(&region, &object)).await;
        if let Err(error) = prepared {
            self.say(&app, Word::error("NotPrepared", error.to_string()));
            return Err(error);
        }
        let secrets = {
            let (region, object) = (self.region.clone(), app.clone());
            blocking(move || Ok(take_in_secrets(&region, &object))).await?
        };
        let (word, wait) = self.server(&app).await;
        self.say(
            &app,
            secrets.err().or_else(|| self.without_config(&app)).unwrap_or(word),
        );
        Ok(wait)
    }

    /// The App ID names a Configuration that is not here: its Dapr Server gets none and must not serve without it.
    fn without_config(&self, app: &Admitted) -> Option<Word> {
        let name = app
            .app()
            .map(|spec| spec.app_config.as_str())
            .filter(|name| !name.is_empty())?;
        let desired = self.region.desired();
        let kind = palladium_kinds::configuration::KIND.kind;
        if desired
            .given(kind, &app.meta.project_id, &app.meta.name)
            .next()
            .is_some()
        {
            return None;
        }
        let message = format!("Configuration {name} is not in this region, or not admitted");
        Some(Word::pending("ConfigurationMissing", message).at("spec.appConfig"))
    }

    /// Starts the Dapr Server if it is not running; says how it is.
    async fn server(&self, app: &Admitted) -> (Word, Option<Duration>) {
        let name = server_name(&app.meta.project_id, &app.meta.name);
        let Some(processes) = &self.processes else {
            let word = if self.region.observed.is_ready(&name) {
                self.ready_word(app)
            } else {
                Word::pending("SupervisorAway", "waiting for the supervisor")
            };
            return (word, None);
        };
        let process = processes.get(&name);
        match process.map(Process::state) {
            Some(State::Running | State::BackingOff) if self.region.observed.is_ready(&name) => {
                return (self.ready_word(app), None);
            }
            Some(State::Running | State::BackingOff) => {
                return (Word::pending("Starting", "the Dapr Server is starting"), None);
            }
            Some(State::Exited | State::Unspecified) | None => {}
        }
        let wait = self.until_due(&name, process);
        if wait.is_zero() {
            match self.start(app, &name).await {
                Ok(()) => return (self.starting_word(process), None),
                Err(reason) => {
                    let wait = self.failed(&name);
                    return (
                        Word::error("NotStarted", format!("the Dapr Server was not started: {reason}")),
                        Some(wait),
                    );
                }
            }
        }
        (self.starting_word(process), Some(wait))
    }

    fn ready_word(&self, app: &Admitted) -> Word {
        let tokens = self.region.tokens.digests(&app.meta.uid);
        let without = self
            .region
            .observed
            .gateways_without(&app.meta.project_id, &app.meta.name, &tokens);
        if without.is_empty() {
            return Word::ready("Serving");
        }
        let list: Vec<String> = without.iter().map(ToString::to_string).collect();
        Word::pending(
            "TokenNotConfirmed",
            format!("gateways that do not go by the newest tokens yet: {}", list.join(", ")),
        )
    }

    /// Starting for the first time, or again after an end that is told.
    fn starting_word(&self, process: Option<&Process>) -> Word {
        match process.filter(|process| process.exit_code != i32::from(exit::ATTEST_AGAIN)) {
            None => Word::pending("Starting", "the Dapr Server is starting"),
            Some(process) if process.reason.is_empty() => Word::error(
                "Exited",
                format!("the Dapr Server ended with code {}; restarting", process.exit_code),
            ),
            Some(process) => Word::error(
                "Exited",
                format!("the Dapr Server ended: {}; restarting", process.reason),
            ),
        }
    }

    /// How long until the Dapr Server may be started; each end of a process counts once.
    fn until_due(&self, name: &str, process: Option<&Process>) -> Duration {
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        let restart = restarts.entry(name.to_owned()).or_default();
        if let Some(process) = process.filter(|process| process.started_at_unix_ms != restart.seen) {
            restart.seen = process.started_at_unix_ms;
            // When it ended is not told; this look comes right after it.
            let ran = now_ms() - process.started_at_unix_ms;
            if ran >= GOOD_RUN_MS {
                restart.backoff.reset();
            }
            let at_once = process.exit_code == i32::from(exit::ATTEST_AGAIN) && ran >= SOON_MS;
            let delay = if at_once {
                Duration::ZERO
            } else {
                restart.backoff.next_delay()
            };
            restart.due = Instant::now() + delay;
            tracing::warn!(
                name,
                code = process.exit_code,
                reason = process.reason,
                ?delay,
                "Dapr Server ended"
            );
            restart.other_ports = process.exit_code == i32::from(exit::UNAVAILABLE);
        }
        restart.due.saturating_duration_since(Instant::now())
    }

    fn failed(&self, name: &str) -> Duration {
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        let restart = restarts.entry(name.to_owned()).or_default();
        let delay = restart.backoff.next_delay();
        restart.due = Instant::now() + delay;
        delay
    }

    async fn start(&self, app: &Admitted, name: &str) -> Result<(), String> {
        let region = self.region.clone();
        let (project_id, app_id, key) = (app.meta.project_id.clone(), app.meta.name.clone(), name.to_owned());
        let other_ports = {
            let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
            restarts
                .get_mut(name)
                .is_some_and(|restart| std::mem::take(&mut restart.other_ports))
        };
        let config_file = blocking(move || {
            if other_ports {
                region.ports.release(&key)?;
            }
            let ports = region.ports.ensure(&key)?;
            let config = region.dapr_server_config(&project_id, &app_id, ports);
            palladium_os::files::private_folder(&config.data_folder)?;
            let path = region.app_config_file(&project_id, &app_id);
            json_file::write(&path, &config)?;
            Ok(path)
        })
        .await
        .map_err(|error| error.to_string())?;
        let spiffe_id = self.region.names.app(&app.meta.project_id, &app.meta.name);
        let subject = SpiffeId::parse(&spiffe_id).map_err(|error| error.to_string())?;
        let jwt = self
            .region
            .attestor
            .attest(&subject)
            .map_err(|error| error.to_string())?;
        let request = StartRequest {
            name: name.to_owned(),
            spiffe_id,
            config_file: config_file.to_string_lossy().into_owned(),
            stdin: bytes::Bytes::copy_from_slice(&Envelope::encode(jwt.expose_secret())),
            memory_limit_bytes: self.region.config.app_memory_limit_bytes,
            open_files_limit: self.region.config.app_open_files_limit,
        };
        let started = self
            .supervisor
            .start(request)
            .await
            .map_err(|status| status.message().to_owned())?;
        tracing::info!(name, pid = started.pid, "Dapr Server started");
        Ok(())
    }

    /// Does the next thing of a removal.
    async fn remove(&self, gone: Tombstone) -> Result<(), Error> {
        let name = server_name(&gone.project_id, &gone.name);
        let Some(processes) = &self.processes else {
            say_deleting(&self.region, &gone.uid, gone.generation, "waiting for the supervisor");
            return Ok(());
        };
        if processes.contains_key(&name)
            && let Err(status) = self.supervisor.stop(&name, GRACE_SECONDS).await
        {
            let message = format!("its Dapr Server was not stopped: {}", status.message());
            say_deleting(&self.region, &gone.uid, gone.generation, &message);
            return Ok(());
        }
        let has_store = self.region.config.store_address.is_some();
        if has_store && !self.region.observed.app_destroyed(&gone.uid) {
            let message = "waiting for the store to destroy the App ID's data";
            say_deleting(&self.region, &gone.uid, gone.generation, message);
            return Ok(());
        }
        let region = self.region.clone();
        blocking(move || {
            // Before the name is free: everything certified for it so far is void. The next whole second, because
            // certificates have whole seconds.
            region.revocations.revoke(&name, now_ms() / 1000 + 1)?;
            remove_folder(&region.app_folder(&gone.project_id, &gone.name))?;
            let config = region.app_config_file(&gone.project_id, &gone.name);
            if let Err(error) = std::fs::remove_file(&config)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(crate::error::at(&config)(error));
            }
            region.tokens.forget(&gone.uid)?;
            region.secrets.forget(&gone.uid)?;
            region.ports.release(&name)?;
            region.observed.forget(&name);
            region.tombstones.remove(&gone.uid)?;
            region.observed.forget_destroyed(&gone.uid);
            region.audit_event("region", "appId.delete", &name, "done");
            region.say_deleted(&gone.uid, gone.generation);
            region.versions.bump();
            Ok(())
        })
        .await
    }

    /// Stops Dapr Servers that nobody wants and no removal knows.
    async fn stop_strangers(&self) {
        let Some(processes) = &self.processes else { return };
        for (name, process) in processes {
            let wanted = name.split_once('/').is_some_and(|(project_id, app_id)| {
                self.region.desired().app(project_id, app_id).is_some()
                    || self.region.tombstones.has("AppIdentity", project_id, app_id)
            });
            if wanted || process.state() != State::Running {
                continue;
            }
            tracing::warn!(name, "stopping a Dapr Server that is not in the desired state");
            if let Err(status) = self.supervisor.stop(name, GRACE_SECONDS).await {
                tracing::error!(name, reason = status.message(), "not stopped");
            }
        }
    }

    fn say(&self, app: &Admitted, word: Word) {
        let spiffe_id = self.region.names.app(&app.meta.project_id, &app.meta.name);
        let tokens = self.region.tokens.status(&app.meta.uid, now_ms());
        let details = json!({ "spiffeId": spiffe_id, "spiffeIds": [spiffe_id], "tokens": tokens });
        say(&self.region, app, word, &details);
    }
}

/// Token and ports. Blocks on local disk.
fn prepare(region: &Region, app: &Admitted) -> Result<(), Error> {
    let Some(spec) = app.app() else { return Ok(()) };
    let name = server_name(&app.meta.project_id, &app.meta.name);
    let had_ports = region.ports.get(&name).is_some();
    region.ports.ensure(&name)?;
    let change = region.tokens.ensure(
        &app.meta.uid,
        spec.api_token_revision,
        spec.api_token_minimum_revision,
        now_ms(),
    )?;
    for (happened, action) in [
        (change.minted, "appToken.mint"),
        (change.revoked > 0, "appToken.revoke"),
    ] {
        if happened {
            region.audit_event("region", action, &name, "done");
        }
    }
    if !change.is_none() || !had_ports {
        region.versions.bump();
    }
    Ok(())
}
