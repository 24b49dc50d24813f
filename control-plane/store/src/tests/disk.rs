//! Full, read-only, unusable and shared: what the disk does to the store.
//!
//! One idea: an error names the cause, and a transaction that met it has left nothing.

use super::*;

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing_half_written() {
    let f = Fixture::new().await;
    let before = f.events().await;
    sqlx::query("PRAGMA max_page_count = 1")
        .execute(&f.store.writer)
        .await
        .unwrap();
    let mut big = create("AppIdentity", Some(&f.project), "", None, "big");
    big.content = Map::from_iter([("spec".to_owned(), json!("x".repeat(2_000_000)))]);
    let error = f.add(vec![Mutation::Create(big)]).await.unwrap_err();
    assert!(
        error.to_string().contains("the disk is full") && error.to_string().contains("nothing was changed"),
        "{error}"
    );
    sqlx::query("PRAGMA max_page_count = 1000000")
        .execute(&f.store.writer)
        .await
        .unwrap();
    assert!(f.find("AppIdentity", "big").await.is_none());
    assert_eq!(f.events().await, before);
    f.app("small").await;
}

#[tokio::test]
async fn a_read_only_database_is_said_and_leaves_nothing_half_written() {
    let f = Fixture::new().await;
    let before = f.events().await;
    let writable = |value: &str| sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA query_only = {value}")));
    writable("1").execute(&f.store.writer).await.unwrap();
    let project = create("Project", None, "prj-bbbbbbbbbbbb", None, "second");
    let error = f.add(vec![Mutation::Create(project)]).await.unwrap_err();
    assert!(
        error.to_string().contains("read-only") && error.to_string().contains("nothing was changed"),
        "{error}"
    );
    assert!(f.find("Project", "second").await.is_none(), "readers go on");
    writable("0").execute(&f.store.writer).await.unwrap();
    assert_eq!(f.events().await, before);
    f.app("small").await;
}

#[tokio::test]
async fn an_unusable_folder_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let error = Store::open(&file.join("store")).await.err().unwrap();
    assert!(matches!(error, Error::Storage { .. }), "{error}");
    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("control-plane.db"), "x".repeat(10_000)).unwrap();
    let error = Store::open(&damaged).await.err().unwrap();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn database_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let modes = || {
        std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name(),
                    entry.metadata().unwrap().permissions().mode() & 0o777,
                )
            })
            .collect::<Vec<_>>()
    };
    let store = Store::open(&data).await.unwrap();
    assert!(modes().len() > 1, "the write-ahead log is there");
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
    store.close().await;
    // One that an older version made.
    let file = data.join("control-plane.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&data).await.unwrap();
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
    store.close().await;
}
