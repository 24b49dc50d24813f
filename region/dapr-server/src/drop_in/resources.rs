//! What stands in the resource folders of the drop-in form, at the start and whenever they change.
//!
//! One idea: a change only says "read the folders again"; what they say then is compared with what is loaded. A component
//! that cannot be opened ends the process unless it says otherwise, at the start and later, as with the original. Must
//! never act on folders that cannot be read as a whole: what is loaded stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use palladium_component::Hosting;
use palladium_components_pluggable::discover;
use palladium_tasks::Shutdown;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Fatal;
use crate::components::{LoadError, Opener};
use crate::config::Settings;
use crate::loader::Loader;
use crate::resiliency;
use crate::resources::{Component, Configuration, Declared, ResiliencyResource, load_folders, without_duplicates};
use crate::server::Server;

/// Changes that come together are one reading: editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// The resources of one process.
pub(super) struct Resources {
    server: Arc<Server>,
    loader: Loader,
    folders: Vec<PathBuf>,
    configuration: Configuration,
    env: fn(&str) -> Option<String>,
    /// What the policies in force were made of: circuit breakers outlive a reading that changes nothing.
    policies: Vec<ResiliencyResource>,
    /// Configurations that were told of.
    told: Vec<String>,
}

impl Resources {
    /// Reads the folders and opens what is in them.
    pub(super) async fn open(
        server: &Arc<Server>,
        settings: &Settings,
        configuration: &Configuration,
        env: fn(&str) -> Option<String>,
    ) -> Result<Self, Fatal> {
        let pluggable = discover(&settings.component_sockets).await.unwrap_or_else(|error| {
            tracing::warn!("Pluggable components are left out: {error}");
            Vec::new()
        });
        let opener = Opener {
            app_id: server.app_id.clone(),
            namespace: server.namespace.clone(),
            hosting: Hosting::SelfHosted,
            managed: None,
            pluggable,
            secrets: Default::default(),
        };
        let mut resources = Self {
            server: server.clone(),
            loader: Loader::new(server.clone(), opener),
            folders: settings.resources_paths.clone(),
            configuration: configuration.clone(),
            env,
            policies: Vec::new(),
            told: Vec::new(),
        };
        let declared = resources.read()?;
        without_duplicates(&declared.components).map_err(|error| format!("failed to load components: {error}"))?;
        resources.load(declared).await?;
        let components = server.components.load();
        for store in configuration.secrets.stores() {
            if components.secret_store(store).is_none() {
                tracing::warn!("Secrets configuration added for '{store}', but no matching secret store was found");
            }
        }
        Ok(resources)
    }

    /// Follows changes until `shutdown`.
    ///
    /// # Errors
    /// When a component that came later cannot be opened.
    pub(super) async fn follow(mut self, shutdown: Shutdown) -> Result<(), Fatal> {
        let (changed, mut changes) = mpsc::channel(1);
        // What has changed since the first reading was seen by nobody.
        let _ = changed.try_send(());
        let _watcher = match self.watch(changed) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!("Changes of resources are not followed: {error}");
                return Ok(());
            }
        };
        while let Some(Some(())) = shutdown.unless(changes.recv()).await {
            if shutdown.unless(sleep(SETTLE)).await.is_none() {
                break;
            }
            let _ = changes.try_recv();
            let declared = match self.read() {
                Ok(declared) => declared,
                Err(error) => {
                    tracing::error!("Resources are not read again: {error}");
                    continue;
                }
            };
            // As with the original: which of two is meant, nobody can tell.
            without_duplicates(&declared.components)
                .map_err(|error| format!("failed to load resources from disk: {error}"))?;
            let declared = self.without_changed_actor_stores(declared);
            match shutdown.unless(self.load(declared)).await {
                None => break,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!("Error processing component, daprd will exit gracefully: {error}");
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Tells of changes in the folders. One message that waits is enough.
    fn watch(&self, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is an event, too.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        })?;
        for folder in &self.folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }

    fn read(&self) -> Result<Declared, Fatal> {
        let (app_id, namespace) = (&self.server.app_id, &self.server.namespace);
        let mut declared = load_folders(&self.folders, app_id, namespace, &self.env)
            .map_err(|error| format!("failed to load components: {error}"))?;
        declared.components.retain(|component| {
            let denied = self
                .configuration
                .denies_component(&component.kind, component.version_or_default());
            if denied {
                tracing::warn!("Component {} is denied by configuration", component.log_name());
            }
            !denied
        });
        Ok(declared)
    }

    async fn load(&mut self, declared: Declared) -> Result<(), Fatal> {
        if self.policies != declared.resiliency {
            resiliency::load(&self.server, declared.resiliency.clone());
            self.policies = declared.resiliency;
        }
        if self.told != declared.configurations {
            for name in &declared.configurations {
                tracing::warn!("Configuration {name} stands among the resources, where it has no effect: use --config");
            }
            self.told = declared.configurations;
        }
        self.loader.load(declared.components, declared.subscriptions).await;
        let mut endpoints = declared.http_endpoints;
        self.loader.complete(&mut endpoints).await;
        self.server.invoke.endpoints.set(endpoints);
        for loaded in self.loader.loaded() {
            if let Some(error) = loaded.failure() {
                judge(&loaded.declared, error)?;
            }
        }
        Ok(())
    }

    /// Whatever happens to a store that keeps actors, in its file, has to wait for the next start.
    fn without_changed_actor_stores(&self, mut declared: Declared) -> Declared {
        let refused = |component: &Component| {
            tracing::error!(
                "Aborting to hot-reload a state store component that is used as an actor state store: {}",
                component.log_name()
            );
        };
        let current = |name: &str| {
            let mut loaded = self.loader.loaded().map(|loaded| &loaded.declared);
            loaded.find(|component| component.name == name)
        };
        let mut kept = Vec::new();
        declared.components.retain(|component| {
            let before = current(&component.name);
            let touches = component.keeps_actors() || before.is_some_and(Component::keeps_actors);
            if !touches || before.is_some_and(|before| before.digest == component.digest) {
                return true;
            }
            refused(component);
            kept.extend(before.cloned());
            false
        });
        declared.components.append(&mut kept);
        for loaded in self.loader.loaded() {
            let before = &loaded.declared;
            let named = |component: &Component| component.name == before.name;
            if before.keeps_actors() && !declared.components.iter().any(named) {
                refused(before);
                declared.components.push(before.clone());
            }
        }
        declared
    }
}

/// Whether the process may go on without a component.
fn judge(component: &Component, error: &LoadError) -> Result<(), Fatal> {
    let name = component.log_name();
    let message = match error {
        LoadError::NoBlock(_) => error.to_string(),
        _ => format!("[INIT_COMPONENT_FAILURE]: initialization error occurred for {name}: {error}"),
    };
    tracing::error!("Failed to init component {name}: {message}");
    let message = format!("process component {} error: {message}", component.name);
    if component.ignore_errors {
        tracing::error!("Ignoring error processing component: {message}");
        return Ok(());
    }
    Err(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str) -> Component {
        let document = serde_json::json!({
            "metadata": { "name": name }, "spec": { "type": "state.nothing", "ignoreErrors": name == "lenient" },
        });
        let read = Component::read(document, "app", "", crate::resources::References::Resolved);
        read.expect("sound").expect("in scope")
    }

    #[test]
    fn a_component_that_fails_ends_the_process_unless_it_says_otherwise() {
        let error = LoadError::Timeout("x".to_owned());
        assert!(judge(&component("lenient"), &error).is_ok());
        let fatal = judge(&component("strict"), &error).unwrap_err().to_string();
        assert!(
            fatal.starts_with("process component strict error: [INIT_COMPONENT_FAILURE]"),
            "{fatal}"
        );
    }
}
