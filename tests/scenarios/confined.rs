//! What a process of an installation may still do, read from the kernel: rights, limits, and what a Dapr Server's drivers
//! reach of the disk.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    app::App,
    system::{ROLES, SUPERVISOR, System},
    until,
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn sec_159_processes_keep_only_the_rights_that_they_need() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    app.save("kvstore", "kept", &json!("mine")).await?.good()?;
    for role in ROLES.into_iter().chain([app.server().as_str()]) {
        let pid = system.pid(role)?;
        for (name, expected) in [("NoNewPrivs:", "1"), ("Umask:", "0077")] {
            let found = line(pid, "status", name)?;
            ensure!(found == expected, "{role}: {name} {found}");
        }
        ensure!(limit(pid, "Max core file size")? == "0", "{role} may leave a core");
        sec_112_it_is_not_readable_by_its_own_user(pid).context(role.to_owned())?;
    }
    let server = system.pid(&app.server())?;
    let memory = limit(server, "Max data size")?;
    ensure!(memory == (2_u64 << 30).to_string(), "its memory is bounded by {memory}");
    what_only_starting_needed_is_given_back(&system).await?;
    every_file_is_its_owners_alone(system.data())?;
    a_driver_that_is_led_out_of_its_folder_is_stopped_by_the_kernel(&system, &app).await?;
    every_file_is_its_owners_alone(system.data())?;
    system.finish().await
}

/// The files of a process that is not dumpable belong to root; whoever is root himself sees no difference.
fn sec_112_it_is_not_readable_by_its_own_user(pid: u32) -> Result<()> {
    let owner = |pid| Ok::<_, anyhow::Error>(fs::metadata(format!("/proc/{pid}/environ"))?.uid());
    ensure!(owner(pid)? == 0, "its memory and environment can be read");
    if owner(std::process::id())? != 0 {
        for file in ["environ", "mem", "maps"] {
            let read = fs::File::open(format!("/proc/{pid}/{file}"));
            ensure!(read.is_err(), "{file} can be opened");
        }
    }
    Ok(())
}

/// A link at the one place that the driver takes for granted: only the kernel stands behind it.
async fn a_driver_that_is_led_out_of_its_folder_is_stopped_by_the_kernel(system: &System, app: &App) -> Result<()> {
    let (folder, outside) = (system.data().join(app.server()), system.home().join("outside"));
    let (files, log) = (folder.join("files"), format!("{}.{}.log", app.project, app.id));
    fs::create_dir(&outside)?;
    symlink(&outside, &files).context("the folder is there already")?;
    let create = ["component", "create", "files", "-p", "shop", "--type", "state.sqlite"];
    let path = ["--metadata", "connectionString=data.db", "--scopes", &app.id];
    system.cli(&[&create[..], &path].concat()).await?;
    until(SOON, "the driver tried", async || {
        let log = fs::read_to_string(system.data().join("logs").join(&log))?;
        ensure!(log.contains("Component files"), "nothing is said of it");
        Ok(())
    })
    .await?;
    let refused = app.save("files", "x", &json!(1)).await?;
    ensure!(refused.status == 400, "{refused:?}");
    let left = fs::read_dir(&outside)?.count();
    ensure!(left == 0, "{left} files outside");
    // Without the link it is an ordinary component: nothing else was wrong with it.
    fs::remove_file(&files)?;
    until(SOON, "it is tried again", async || {
        app.save("files", "x", &json!(1)).await?.good().map(drop)
    })
    .await?;
    ensure!(files.join("data.db").exists(), "it lies elsewhere");
    Ok(())
}

/// Confined and not dumpable as it is, a process can still do this. What it has of files is pages of its executable, all but
/// a few.
async fn what_only_starting_needed_is_given_back(system: &System) -> Result<()> {
    let idle = App::create(system, "shop", "idle").await?.server();
    for role in [SUPERVISOR, idle.as_str()] {
        let pid = system.pid(role)?;
        let kilobytes = |name| -> Result<u64> {
            let said = line(pid, "status", name)?;
            said.trim_end_matches(" kB")
                .parse()
                .with_context(|| format!("{name} {said}"))
        };
        until(SOON, "most pages of its executable are gone", async || {
            let (files, most) = (kilobytes("RssFile:")?, kilobytes("VmHWM:")?);
            ensure!(2 * files < most, "{role}: {files} kB of files, of at most {most} kB");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

fn every_file_is_its_owners_alone(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        // What goes away meanwhile is no concern.
        let Ok(about) = fs::symlink_metadata(&path) else {
            continue;
        };
        let mode = about.permissions().mode();
        ensure!(
            kind.is_symlink() || mode & 0o077 == 0,
            "{} has mode {:o}",
            path.display(),
            mode & 0o777
        );
        if kind.is_dir() {
            every_file_is_its_owners_alone(&path)?;
        }
    }
    Ok(())
}

/// The rest of the line that begins with `name`.
fn line(pid: u32, file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(found.with_context(|| format!("no {name}"))?.trim().to_owned())
}

/// The hard limit of that name.
fn limit(pid: u32, name: &str) -> Result<String> {
    let rest = line(pid, "limits", name)?;
    Ok(rest.split_whitespace().nth(1).context("no hard limit")?.to_owned())
}
