//! What is peculiar to PostgreSQL: bad settings are named, and nobody waits for a server that is not there.

use super::*;

#[tokio::test]
async fn bad_metadata_is_named() {
    for (version, field, value) in [
        ("v1", "tableName", "a;b"),
        ("v1", "metadataTableName", "state"),
        ("v2", "tablePrefix", "a b"),
        ("v2", "metadataTableName", "x y"),
        ("v1", "timeout", "10ms"),
        ("v1", "cleanupInterval", "soon"),
        ("v1", "queryExecMode", "fast"),
        ("v1", "useAWSIAM", "true"),
        ("v2", "useAzureAD", "true"),
    ] {
        let pairs = [("connectionString", "host=127.0.0.1 port=1 user=u"), (field, value)];
        let mut context = OpenContext::new("s", "app", pairs.into_iter().collect());
        context.version = version.into();
        let error = open(context).await.err().unwrap().to_string();
        assert!(error.contains(&format!("'{field}'")), "{field}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_at_once() {
    let pairs = [("connectionString", "host=127.0.0.1 port=1 user=u password=hunter2")];
    let started = std::time::Instant::now();
    let error = open(OpenContext::new("s", "app", pairs.into_iter().collect()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Unavailable(_)), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
