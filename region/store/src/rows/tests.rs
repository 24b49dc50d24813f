//! The rows moved and deleted, in full files, read-only folders, and under many writers.

use std::sync::Arc;

use palladium_sealing::{Kek, KekConfig};

use super::*;

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
        .read("uid", &[key], now_ms(), &|_| true)
        .await
        .unwrap()
        .pop()
        .map(|(_, found)| found.value)
}

/// A row, or a whole file, that is put at another place does not open there.
#[tokio::test]
async fn sec_104_what_is_moved_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).await.unwrap();
    for key in ["a", "b"] {
        put(&project, key, key.as_bytes()).await.unwrap();
    }
    project.close().await;
    let file = folder.path().join("prj-a/state.db");
    let sql = async |file: &Path, statement: &'static str| {
        let mut connection = schema::writer(file).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    };
    // To another key, to another component, and two values exchanged.
    let moves = [
        ("UPDATE rows SET key = 'c' WHERE key = 'a'", "uid", "c"),
        (
            "UPDATE rows SET component = 'other', key = 'a' WHERE key = 'c'",
            "other",
            "a",
        ),
        (
            "UPDATE rows SET component = 'uid'; UPDATE rows SET value = (SELECT value FROM rows WHERE key = 'a') WHERE key = 'b'",
            "uid",
            "b",
        ),
    ];
    for (statement, component, key) in moves {
        sql(&file, statement).await;
        let project = open(folder.path()).await.unwrap();
        let error = project
            .read(component, &[key], now_ms(), &|_| true)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("does not open with the project's key"),
            "{statement}: {error}"
        );
        project.close().await;
    }
    let project = open(folder.path()).await.unwrap();
    assert_eq!(
        read(&project, "a").await.as_deref(),
        Some(&b"a"[..]),
        "at its own place again"
    );
    project.close().await;

    // To another project: the rows under that project's key, or with the key they came with.
    let other = async || Project::open(&folder.path().join("prj-b"), "prj-b", kek(folder.path())).await;
    other().await.unwrap().close().await;
    std::fs::copy(&file, folder.path().join("prj-b/state.db")).unwrap();
    let project = other().await.unwrap();
    assert!(project.read("uid", &["a"], now_ms(), &|_| true).await.is_err());
    project.close().await;
    std::fs::copy(
        folder.path().join("prj-a/data.key"),
        folder.path().join("prj-b/data.key"),
    )
    .unwrap();
    assert!(other().await.is_err(), "a key is wrapped for its project");
}

/// What is deleted is not in the file, nor in its log, in clear or encrypted.
#[tokio::test]
async fn deleted_rows_leave_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).await.unwrap();
    for number in 0..50 {
        put(&project, &format!("a-key-to-be-found-{number}"), &[7; 3000])
            .await
            .unwrap();
    }
    put(&project, "kept", b"v").await.unwrap();
    let on_disk = || {
        let files = std::fs::read_dir(folder.path().join("prj-a")).unwrap();
        let content = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.unwrap().path()).unwrap();
        let found = |bytes: Vec<u8>| bytes.windows(17).any(|window| window == b"a-key-to-be-found");
        files.map(content).any(found)
    };
    assert!(on_disk());
    let range = ("a-key".into(), "a-kez".into());
    project.submit(Work::DeleteRanges(vec![range])).await.unwrap();
    assert!(!on_disk());
    assert_eq!(read(&project, "kept").await.as_deref(), Some(&b"v"[..]));
    project.submit(Work::DeleteComponent("uid".into())).await.unwrap();
    assert!(project.is_empty().await.unwrap());
    project.close().await;
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
    assert_eq!(
        project.read("uid", &keys, now_ms(), &|_| true).await.unwrap().len(),
        500
    );
    let none = project.read("uid", &keys, now_ms(), &|_| false).await;
    assert!(
        matches!(none, Err(StorageError::TooMuch)),
        "without room nothing is read"
    );
}
