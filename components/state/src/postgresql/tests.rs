//! What is peculiar to PostgreSQL: connection strings, and what a tenant may not ask for.

use palladium_component::{Hosting, OpenError, Properties};

use super::*;

fn refused(pairs: &[(&str, &str)], hosting: &Hosting) -> String {
    let properties: Properties = pairs.iter().copied().collect();
    let metadata = PostgresMetadata::parse(&properties).unwrap();
    connection::options(&metadata, hosting).err().unwrap().to_string()
}

fn options(pairs: &[(&str, &str)]) -> sqlx::postgres::PgConnectOptions {
    let properties: Properties = pairs.iter().copied().collect();
    let metadata = PostgresMetadata::parse(&properties).unwrap();
    connection::options(&metadata, &Hosting::SelfHosted).unwrap().0
}

#[test]
fn both_spellings_of_a_connection_string() {
    for text in [
        "host=db.example port=5433 user=u password=p database=d sslmode=require",
        "  host = db.example   port=5433 dbname='d' user='u' sslmode=require connect_timeout=10 ",
        "postgres://u:p@db.example:5433/d?sslmode=require",
        "postgresql://u@db.example/d?port=5433&sslmode=require&connect_timeout=10",
    ] {
        let found = options(&[("connectionString", text)]);
        assert_eq!(
            (
                found.get_host(),
                found.get_port(),
                found.get_username(),
                found.get_database()
            ),
            ("db.example", 5433, "u", Some("d")),
            "{text}"
        );
        assert!(
            matches!(found.get_ssl_mode(), sqlx::postgres::PgSslMode::Require),
            "{text}"
        );
    }
    let read = |text| connection::read(text).unwrap();
    assert_eq!(
        read(r"password='it\'s a \\ word' user=a\ b")["password"],
        r"it's a \ word"
    );
    assert_eq!(read(r"password=x user=a\ b")["user"], "a b");
    assert_eq!(read("postgres://u:p%40%2F@h/d")["password"], "p@/");
    assert_eq!(read("postgres://u@[::1]:1/d")["host"], "::1");
}

#[test]
fn own_fields_go_over_the_connection_string() {
    let found = options(&[
        ("connectionString", "host=a port=1 user=u database=d"),
        ("host", "b"),
        ("port", "2"),
        ("user", "v"),
        ("database", "e"),
    ]);
    assert_eq!(
        (
            found.get_host(),
            found.get_port(),
            found.get_username(),
            found.get_database()
        ),
        ("b", 2, "v", Some("e"))
    );
    assert_eq!(
        options(&[("host", "h"), ("hostaddr", "10.0.0.1")]).get_host(),
        "10.0.0.1"
    );
}

#[test]
fn bad_connection_strings_are_named_and_not_quoted() {
    for text in [
        "host",
        "host=h password='hunter2",
        "=hunter2",
        "host=h hunter2=1",
        "host=h port=hunter2",
        "host=h sslmode=hunter2",
        "postgres://h:hunter2/d",
        r"host=h password=hunter2\",
    ] {
        let error = refused(&[("connectionString", text)], &Hosting::SelfHosted);
        assert!(error.contains("'connectionString'"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = refused(&[], &Hosting::SelfHosted);
    assert!(
        error.contains("'connectionString'") && error.contains("missing"),
        "{error}"
    );
}

#[test]
fn a_tenant_gets_no_file_and_no_socket_of_the_machine() {
    let hosting = Hosting::Platform {
        folder: "/nonexistent".into(),
    };
    for pairs in [
        &[("connectionString", "host=/run/postgresql user=u")][..],
        &[("connectionString", "user=u")][..],
        &[("connectionString", "postgres://u@%2Frun%2Fpostgresql/d")][..],
        &[("connectionString", "host=h sslrootcert=/etc/ssl/x.pem")][..],
        &[("connectionString", "postgres://h/d?sslkey=/etc/shadow")][..],
        &[("connectionString", "host=h sslcert=/etc/shadow")][..],
        &[("host", "h"), ("sslRootCert", "/etc/shadow")][..],
    ] {
        let properties: Properties = pairs.iter().copied().collect();
        let metadata = PostgresMetadata::parse(&properties).unwrap();
        let refused = connection::options(&metadata, &hosting).err().unwrap();
        assert!(matches!(refused, OpenError::NotAllowed(_)), "{pairs:?}: {refused}");
    }
}

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
