//! The rows under kill -9, full disks, read-only folders and many writers.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use palladium_sealing::{Kek, KekConfig};

use super::*;

/// Names the folder to a test process that is to be killed.
const CHILD_FOLDER: &str = "PALLADIUM_STORE_TEST_FOLDER";
const WRITERS: usize = 16;

fn kek(folder: &Path) -> Arc<Kek> {
    Arc::new(
        Kek::open(&KekConfig::KeyFile {
            path: folder.join("kek"),
        })
        .unwrap(),
    )
}

async fn open(folder: &Path) -> Result<Project, StorageError> {
    Project::open(&folder.join("prj-a"), "prj-a", kek(folder)).await
}

fn set(project: &Project, key: &str, value: &[u8], condition: Condition) -> Step {
    let value = project.seal("uid", key, value).unwrap();
    Step::Set {
        key: key.into(),
        value,
        etag: format!("etag of {key}"),
        expires_ms: None,
        condition,
    }
}

async fn write(project: &Project, steps: Vec<Step>, atomic: bool) -> Result<Outcome, StorageError> {
    project
        .submit(Work::Steps {
            component: "uid".into(),
            steps,
            atomic,
            permitted: Box::new(|| true),
        })
        .await
}

async fn put(project: &Project, key: &str, value: &[u8]) -> Result<Outcome, StorageError> {
    write(project, vec![set(project, key, value, Condition::Always)], true).await
}

async fn read(project: &Project, key: &str) -> Option<Vec<u8>> {
    project
        .read("uid", &[key], now_ms())
        .await
        .unwrap()
        .pop()
        .map(|(_, found)| found.value)
}

/// Killed in the middle of concurrent writes, again and again, the store still has every acknowledged one, and a
/// transaction is there whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_kill_9_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<String, String> = HashMap::new();
    for round in 0..4u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "rows::tests::child_that_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1500 + round * 217)).await;
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let lines = tokio::task::spawn_blocking(move || output.lines().map_while(Result::ok).collect::<Vec<_>>())
            .await
            .unwrap();
        killer.await.unwrap();
        // A line cut short by the kill has no end mark.
        for line in lines {
            if let Some((key, value)) = line
                .strip_prefix("ack ")
                .and_then(|line| line.strip_suffix(" .")?.split_once(' '))
            {
                acknowledged.insert(key.into(), value.into());
            }
        }
        let project = open(folder.path()).await.unwrap();
        for (key, value) in &acknowledged {
            let found = read(&project, key).await.map(|value| String::from_utf8(value).unwrap());
            // The value may be newer than the last acknowledged one: written, but the answer was cut off.
            let newer = found
                .as_ref()
                .is_some_and(|found| found.parse::<u64>().unwrap() >= value.parse::<u64>().unwrap());
            assert!(newer, "round {round}: {key} = {found:?}, acknowledged {value}");
        }
        for writer in 0..WRITERS {
            let (a, b) = (
                read(&project, &format!("pair-{writer}-a")).await,
                read(&project, &format!("pair-{writer}-b")).await,
            );
            assert_eq!(a, b, "round {round}: half a transaction");
        }
        project.close().await;
    }
    assert!(
        acknowledged.len() >= 2 * WRITERS,
        "only {} keys were written: the test proves nothing",
        acknowledged.len()
    );
}

/// Writes until it is killed; not a test by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by sec_kill_9_loses_no_acknowledged_write"]
async fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        return;
    };
    let project = Arc::new(open(Path::new(&folder)).await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let project = project.clone();
        tasks.spawn(async move {
            let key = format!("counter-{writer}");
            let (a, b) = (format!("pair-{writer}-a"), format!("pair-{writer}-b"));
            let start = read(&project, &key)
                .await
                .map_or(0, |value| String::from_utf8(value).unwrap().parse::<u64>().unwrap());
            for number in start + 1.. {
                let value = number.to_string();
                assert_eq!(put(&project, &key, value.as_bytes()).await.unwrap(), Outcome::Done);
                let pair = [&a, &b].map(|key| set(&project, key, value.as_bytes(), Condition::Always));
                write(&project, pair.to_vec(), true).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {key} {value} .\nack {a} {value} .").unwrap();
                out.flush().unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// A disk that fills up: a clear error, everything acknowledged still there, and it works again when there is room.
#[tokio::test]
async fn sec_a_full_disk_is_a_clear_error_and_corrupts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A file that may not grow is a full disk to whoever writes it; a signal at the limit would end the process.
    let limited = |task: &str| {
        let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
        let mut child = Command::new("/bin/bash");
        child.args(["-c", script]).arg(std::env::current_exe().unwrap()).args([
            "--exact",
            task,
            "--ignored",
            "--nocapture",
        ]);
        child.env(CHILD_FOLDER, folder.path()).output().unwrap()
    };
    let output = limited("rows::tests::child_on_a_full_disk");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let written: usize = text
        .lines()
        .find_map(|line| line.rsplit_once("written ")?.1.parse().ok())
        .unwrap();
    assert!(written > 0, "{text}");
    let project = open(folder.path()).await.unwrap();
    for number in 0..written {
        assert_eq!(
            read(&project, &format!("k{number}")).await.unwrap().len(),
            20_000,
            "k{number}"
        );
    }
    assert_eq!(put(&project, "more", b"room again").await.unwrap(), Outcome::Done);
    project.close().await;
}

/// Writes until there is no room; not a test by itself.
#[tokio::test]
#[ignore = "started by sec_a_full_disk_is_a_clear_error_and_corrupts_nothing"]
async fn child_on_a_full_disk() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        return;
    };
    let project = open(Path::new(&folder)).await.unwrap();
    let mut written = 0;
    let error = loop {
        match put(&project, &format!("k{written}"), &[7; 20_000]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the limit is not in force");
    };
    assert!(error.to_string().contains("managed store"), "{error}");
    // Reads go on, and the error does not stick to what still fits nowhere.
    assert_eq!(read(&project, "k0").await.unwrap().len(), 20_000);
    assert!(put(&project, "again", &[7; 20_000]).await.is_err());
    let mut out = std::io::stdout();
    writeln!(out, "written {written}").unwrap();
}

/// SQLite's own "full" is named as such.
#[tokio::test]
async fn a_database_at_its_limit_says_full() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let mut connection = schema::writer(&file).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 20")
        .execute(&mut connection)
        .await
        .unwrap();
    let (jobs, queue) = mpsc::channel(8);
    let writer = tokio::spawn(writer::run(connection, file, queue));
    let key = ValueKey::new(&[1; 32]);
    let submit = async |number: usize, size: usize| {
        let name = format!("k{number}");
        let value = key.seal("p", "uid", &name, &vec![0; size]).unwrap();
        let step = Step::Set {
            key: name,
            value,
            etag: "e".into(),
            expires_ms: None,
            condition: Condition::Always,
        };
        let (reply, answer) = oneshot::channel();
        let work = Work::Steps {
            component: "uid".into(),
            steps: vec![step],
            atomic: true,
            permitted: Box::new(|| true),
        };
        jobs.send(Job { work, reply }).await.ok().unwrap();
        answer.await.unwrap()
    };
    // Together in one batch with one that cannot fit, those that can are written all the same.
    let (small, huge, other) = tokio::join!(submit(1, 100), submit(2, 1 << 20), submit(3, 100));
    assert!(matches!(huge, Err(StorageError::Full)), "{huge:?}");
    assert_eq!((small.unwrap(), other.unwrap()), (Outcome::Done, Outcome::Done));
    drop(jobs);
    writer.await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_is_a_clear_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let kek = kek(folder.path());
    let project = folder.path().join("prj-a");
    std::fs::create_dir(&project).unwrap();
    std::fs::set_permissions(&project, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(project.join("probe"), b"").is_ok() {
        // The super-user writes anywhere; a file in the way cannot be written by anybody.
        std::fs::remove_file(project.join("probe")).unwrap();
        std::fs::set_permissions(&project, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::create_dir(project.join("state.db")).unwrap();
        kek.stored_key("store/prj-a/data.key", &project.join("data.key"))
            .unwrap();
    }
    let error = Project::open(&project, "prj-a", kek).await.err().unwrap();
    assert!(error.to_string().contains("managed store"), "{error}");
}

#[tokio::test]
async fn a_file_without_its_key_is_never_given_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).await.unwrap();
    put(&project, "k", b"v").await.unwrap();
    project.close().await;
    let (key, aside) = (folder.path().join("prj-a/data.key"), folder.path().join("aside"));
    std::fs::rename(&key, &aside).unwrap();
    let error = open(folder.path()).await.err().unwrap();
    assert!(error.to_string().contains("data.key is missing"), "{error}");
    assert!(!key.exists());
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(read(&open(folder.path()).await.unwrap(), "k").await.unwrap(), b"v");
}

#[tokio::test]
async fn a_permission_that_goes_while_a_job_waits_is_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).await.unwrap();
    let steps = vec![set(&project, "k", b"v", Condition::Always)];
    let work = Work::Steps {
        component: "uid".into(),
        steps,
        atomic: true,
        permitted: Box::new(|| false),
    };
    assert_eq!(project.submit(work).await.unwrap(), Outcome::NotPermitted);
    assert!(read(&project, "k").await.is_none());
}

#[tokio::test]
async fn concurrent_writes_share_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let project = Arc::new(open(folder.path()).await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500 {
        let project = project.clone();
        tasks.spawn(async move { put(&project, &format!("k{number}"), b"v").await.unwrap() });
    }
    assert!(
        tasks
            .join_all()
            .await
            .into_iter()
            .all(|outcome| outcome == Outcome::Done)
    );
    let keys: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(project.read("uid", &keys, now_ms()).await.unwrap().len(), 500);
}

#[tokio::test]
async fn a_destroyed_project_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).await.unwrap();
    put(&project, "k", b"v").await.unwrap();
    assert!(!project.is_empty().await.unwrap());
    project.destroy().await.unwrap();
    assert!(!folder.path().join("prj-a").exists());
    assert!(matches!(put(&project, "k", b"v").await, Err(StorageError::Closed)));
    destroy(&folder.path().join("prj-a")).expect("destroying twice is fine");
}
