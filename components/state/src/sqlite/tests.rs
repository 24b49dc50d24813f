//! What is peculiar to SQLite: the layout shared with Dapr, confinement, broken disks.

use palladium_component::state::{GetRequest, SetRequest, ValueForm};
use palladium_component::{Hosting, Properties, StateError};

use super::*;

fn context(pairs: &[(&str, &str)]) -> OpenContext {
    OpenContext::new("mystore", "myapp", pairs.iter().copied().collect::<Properties>())
}

fn set(key: &str, value: &'static str, form: ValueForm) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: value.into(),
        form,
        ..SetRequest::default()
    }
}

async fn raw(file: &std::path::Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(file).create_if_missing(true))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_layout_is_daprs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.db");
    let store = open(context(&[("connectionString", file.to_str().unwrap())]))
        .await
        .unwrap();
    store
        .set(&set("myapp||j", r#"{"a":1}"#, ValueForm::Json))
        .await
        .unwrap();
    store.set(&set("myapp||b", "bytes", ValueForm::Binary)).await.unwrap();
    let pool = raw(&file).await;
    let rows: Vec<(String, String, bool)> = sqlx::query_as("SELECT key, value, is_binary FROM state ORDER BY key")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(
        rows,
        [
            ("myapp||b".into(), "Ynl0ZXM=".into(), true),
            ("myapp||j".into(), r#"{"a":1}"#.into(), false)
        ]
    );
    let level: String = sqlx::query_scalar("SELECT value FROM metadata WHERE key = 'migrations'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(level, "1");
}

#[tokio::test]
async fn an_existing_schema_is_accepted_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.db");
    let pool = raw(&file).await;
    for statement in [
        "CREATE TABLE metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL)",
        "INSERT INTO metadata VALUES ('migrations', '1')",
        "CREATE TABLE state (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL, \
         expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        "INSERT INTO state (key, value, is_binary, etag) VALUES ('myapp||old', '\"v\"', 0, 'e1')",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let open_it = || open(context(&[("connectionString", file.to_str().unwrap())]));
    let found = open_it()
        .await
        .unwrap()
        .get(&GetRequest {
            key: "myapp||old".into(),
            ..GetRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(
        (found.value.as_deref(), found.etag.as_deref()),
        (Some(&b"\"v\""[..]), Some("e1"))
    );
    sqlx::query("UPDATE metadata SET value = '2'")
        .execute(&pool)
        .await
        .unwrap();
    assert!(open_it().await.err().unwrap().to_string().contains("newer version"));
}

#[tokio::test]
async fn a_tenants_file_is_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let hosted = |path: &str| OpenContext {
        hosting: Hosting::Platform {
            folder: folder.path().into(),
        },
        ..context(&[("connectionString", path)])
    };
    open(hosted("sub/data.db")).await.unwrap();
    assert!(folder.path().join("sub/data.db").exists());
    // What is not a way out is a name like any other.
    let _open = open(hosted("a'; ATTACH DATABASE 'b.db' AS b; --")).await.unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        4,
        "one folder, one database, its log and index"
    );
    std::os::unix::fs::symlink("/tmp", folder.path().join("link")).unwrap();
    for path in [
        "/tmp/elsewhere.db",
        "../elsewhere.db",
        "file:/tmp/elsewhere.db",
        "file:%2e%2e/elsewhere.db",
        "link/elsewhere.db",
        "x.db?vfs=unix",
    ] {
        assert!(
            matches!(open(hosted(path)).await, Err(OpenError::NotAllowed(_))),
            "{path}"
        );
    }
}

#[tokio::test]
async fn bad_metadata_is_named() {
    for (pairs, field) in [
        (&[][..], "connectionString"),
        (&[("connectionString", "")][..], "connectionString"),
        (
            &[("connectionString", ":memory:"), ("tableName", "a;b")][..],
            "tableName",
        ),
        (
            &[("connectionString", ":memory:"), ("metadataTableName", "state")][..],
            "metadataTableName",
        ),
        (&[("connectionString", ":memory:"), ("timeout", "10ms")][..], "timeout"),
        (
            &[("connectionString", ":memory:"), ("cleanupInterval", "soon")][..],
            "cleanupInterval",
        ),
    ] {
        let error = open(context(pairs)).await.err().unwrap().to_string();
        assert!(error.contains(&format!("'{field}'")), "{field}: {error}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_a_clear_error() {
    let error = open(context(&[("connectionString", "/no/such/folder/data.db")]))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, OpenError::Unavailable(message) if message.contains("SQLite")),
        "{error}"
    );
}

#[tokio::test]
async fn a_read_only_database_reads_and_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.db");
    let path = file.to_str().unwrap();
    let store = open(context(&[("connectionString", path), ("disableWAL", "true")]))
        .await
        .unwrap();
    store.set(&set("k", "v", ValueForm::Binary)).await.unwrap();
    store.close().await.unwrap();
    let store = open(context(&[("connectionString", &format!("{path}?mode=ro"))]))
        .await
        .unwrap();
    assert_eq!(
        store
            .get(&GetRequest {
                key: "k".into(),
                ..GetRequest::default()
            })
            .await
            .unwrap()
            .value
            .unwrap(),
        "v"
    );
    let refused = store.set(&set("k", "w", ValueForm::Binary)).await.unwrap_err();
    assert!(
        matches!(&refused, StateError::Other(message) if message.contains("readonly")),
        "{refused}"
    );
}

#[tokio::test]
async fn expired_rows_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.db");
    let store = open(context(&[
        ("connectionString", file.to_str().unwrap()),
        ("cleanupInterval", "1s"),
    ]))
    .await
    .unwrap();
    let mut request = set("k", "v", ValueForm::Binary);
    request.metadata.insert("ttlInSeconds".into(), "1".into());
    store.set(&request).await.unwrap();
    let pool = raw(&file).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM state")
            .fetch_one(&pool)
            .await
            .unwrap();
        if left == 0 {
            return;
        }
    }
    panic!("the expired row is still there");
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_passes() {
    use palladium_component::state::{Operation, TransactRequest};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.db").display().to_string();
    // A file that may have only so many pages is a full disk to SQLite.
    let limited = format!("{file}?_pragma=max_page_count(40)");
    let store = open(context(&[("connectionString", &limited)])).await.unwrap();
    let transaction = |size: usize| TransactRequest {
        operations: vec![
            Operation::Set(set("small", "v", ValueForm::Binary)),
            Operation::Set(SetRequest {
                key: "big".into(),
                value: vec![0; size].into(),
                ..SetRequest::default()
            }),
        ],
        ..TransactRequest::default()
    };
    for _ in 0..3 {
        let error = store.transact(&transaction(1 << 20)).await.unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        let get = GetRequest {
            key: "small".into(),
            ..GetRequest::default()
        };
        assert!(store.get(&get).await.unwrap().value.is_none(), "half a transaction");
        // The store goes on with what fits.
        store.transact(&transaction(100)).await.unwrap();
        store
            .bulk_delete(
                &[palladium_component::state::DeleteRequest {
                    key: "small".into(),
                    ..Default::default()
                }],
                Default::default(),
            )
            .await
            .unwrap();
    }
}
