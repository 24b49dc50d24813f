//! Projects: their addresses, and their end once nothing is left in them.
//!
//! Must never remove a project's folder while something of the project lives or is still being removed.

use std::sync::Arc;

use palladium_kinds::project::{Endpoint, Endpoints};
use serde_json::json;

use super::{Word, say, say_deleting};
use crate::region::{Region, remove_folder};
use crate::run::blocking;
use crate::supervisor::Supervisor;
use crate::{Config, Error};

pub(super) fn reconciler(region: Arc<Region>, _: Supervisor) -> super::Look {
    Box::new(move || {
        let region = region.clone();
        Box::pin(async move { blocking(move || run(&region)).await.map(|()| None) })
    })
}

fn run(region: &Region) -> Result<(), Error> {
    let projects: Vec<_> = region
        .desired()
        .admitted()
        .filter(|object| object.project().is_some())
        .cloned()
        .collect();
    for project in projects {
        let details = json!({ "endpoints": endpoints(&region.config, &project.meta.project_id) });
        say(region, &project, Word::ready("Serving"), &details);
    }
    for gone in region.tombstones.of_kind("Project") {
        let alive = region
            .desired()
            .admitted()
            .any(|object| object.meta.project_id == gone.project_id);
        if alive || region.tombstones.any_in_project(&gone.project_id) {
            say_deleting(
                region,
                &gone.uid,
                gone.generation,
                "waiting until everything in the project is gone",
            );
            continue;
        }
        remove_folder(&region.config.apps_folder.join(&gone.project_id))?;
        region.tombstones.remove(&gone.uid)?;
        region.audit_event("region", "project.delete", &gone.project_id, "done");
        region.say_deleted(&gone.uid, gone.generation);
        region.versions.bump();
    }
    Ok(())
}

/// What applications dial: one name for all without wildcard DNS, two per project with it.
fn endpoints(config: &Config, project_id: &str) -> Option<Endpoints> {
    let url = url::Url::parse(&config.gateway_url).ok()?;
    let port = url.port_or_known_default()?;
    let endpoint = |protocol: &str| {
        let host = match &config.ingress_domain {
            Some(domain) => format!("{protocol}-{project_id}.{}", domain.to_ascii_lowercase()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        Endpoint {
            url: format!("{}://{host}:{port}", url.scheme()),
            port,
        }
    };
    Some(Endpoints {
        http: endpoint("http"),
        grpc: endpoint("grpc"),
    })
}
