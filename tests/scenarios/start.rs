//! Start, stop, start again.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use anyhow::{Result, ensure};
use palladium_tests::{
    api::Api,
    system::{ROLES, START, System},
};

/// What the first start makes is for its owner only, the API answers only to the key, and a second start finds the same.
#[tokio::test]
async fn start_stop_and_start_again() -> Result<()> {
    let mut system = System::start().await?;
    let key = system.admin_key()?;
    for (name, mode) in [("", 0o700), ("admin.key", 0o600)] {
        let found = fs::metadata(system.data().join(name))?.permissions().mode() & 0o777;
        ensure!(found == mode, "`{name}` has mode {found:o}");
    }
    let projects = "/apis/cra.diagrid.io/v1beta1/projects";
    system.api()?.get(projects).await?.good()?;
    let stranger = Api::new(system.ports.control_plane(), &system.ca_file(), "not-a-key".to_owned())?;
    ensure!(stranger.get(projects).await?.status == 401);

    let status = system.stop().await?;
    ensure!(status.success(), "Ctrl-C ends with {status}");
    system.launch().await?;
    system.ready().await?;
    ensure!(system.admin_key()? == key, "the second start made another key");
    system.api()?.get(projects).await?.good()?;
    system.finish().await
}

/// Each process alone, killed the hard way, comes back without a hand.
#[tokio::test]
async fn every_role_comes_back_after_kill() -> Result<()> {
    let system = System::start().await?;
    for role in ROLES {
        let started = Instant::now();
        let old = system.kill(role)?;
        system.replaced(role, old, START).await?;
        eprintln!("{role} came back after {:?}", started.elapsed());
    }
    system.finish().await
}
