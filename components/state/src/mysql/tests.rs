//! What is peculiar to MySQL: connection strings of Go's driver, and what a tenant may not ask for.

use palladium_component::{Hosting, OpenError, Properties};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use super::*;

fn options(pairs: &[(&str, &str)], hosting: &Hosting) -> Result<MySqlConnectOptions, OpenError> {
    let properties: Properties = pairs.iter().copied().collect();
    dsn::options(&MySqlMetadata::parse(&properties).unwrap(), hosting)
}

#[test]
fn connection_strings_are_read_as_gos_driver_reads_them() {
    for (text, host, port, user) in [
        ("u:p@tcp(db:3307)/", "db", 3307, "u"),
        ("u:p@/x:@tcp(db)/", "db", 3306, "u"),
        ("u@tcp([::1]:1)/?tls=false&parseTime=true", "::1", 1, "u"),
        ("u:p@/", "127.0.0.1", 3306, "u"),
        ("/", "127.0.0.1", 3306, "root"),
    ] {
        let found = options(&[("connectionString", text)], &Hosting::SelfHosted).unwrap();
        assert_eq!(
            (found.get_host(), found.get_port(), found.get_username()),
            (host, port, user),
            "{text}"
        );
        assert!(matches!(found.get_ssl_mode(), MySqlSslMode::Disabled), "{text}");
    }
}

#[test]
fn tls_is_what_was_asked_for() {
    let mode = |pairs: &[(&str, &str)]| {
        options(pairs, &Hosting::SelfHosted).map(|found| format!("{:?}", found.get_ssl_mode()))
    };
    let with = |parameter: &str| format!("u:p@tcp(db:1)/?{parameter}");
    for (parameter, expected) in [
        ("tls=true", "VerifyIdentity"),
        ("tls=skip-verify", "Required"),
        ("tls=preferred", "Preferred"),
    ] {
        assert_eq!(mode(&[("connectionString", &with(parameter))]).unwrap(), expected);
    }
    let pem = ("pemContents", "-----BEGIN CERTIFICATE-----");
    assert_eq!(
        mode(&[("connectionString", &with("tls=custom")), pem]).unwrap(),
        "VerifyIdentity"
    );
    assert_eq!(mode(&[("connectionString", &with("")), pem]).unwrap(), "VerifyIdentity");
    assert!(mode(&[("connectionString", &with("tls=false")), pem]).is_err());
    let error = mode(&[("connectionString", &with("tls=custom"))])
        .unwrap_err()
        .to_string();
    assert!(error.contains("'pemPath'"), "{error}");
}

#[test]
fn bad_connection_strings_are_named_and_not_quoted() {
    for text in [
        "hunter2",
        "u:hunter2@tcp(db:1)",
        "u:hunter2@tcp(db:1)/database",
        "u:hunter2@tcp(db:x)/",
        "u:hunter2@db:1/",
        "u:hunter2@tcp()/",
        "u:hunter2@tcp(a,b)/",
        "u:hunter2@tcp(db:1)/?tls=odd",
        "u:hunter2@tcp(db:1)/?sql_mode=ANSI",
        "u:hunter2@tcp(db:1)/?tls",
    ] {
        let error = options(&[("connectionString", text)], &Hosting::SelfHosted)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("'connectionString'") && !error.contains("hunter2"),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_tenant_gets_no_file_and_no_socket_of_the_machine() {
    let hosting = Hosting::Platform {
        folder: "/nonexistent".into(),
    };
    for pairs in [
        &[("connectionString", "u:p@unix(/run/mysqld/mysqld.sock)/")][..],
        &[
            ("connectionString", "u:p@tcp(db:1)/?tls=custom"),
            ("pemPath", "/etc/shadow"),
        ][..],
    ] {
        let refused = options(pairs, &hosting).err().unwrap();
        assert!(matches!(refused, OpenError::NotAllowed(_)), "{pairs:?}: {refused}");
    }
    assert!(options(&[("connectionString", "u:p@unix(/tmp/s)/")], &Hosting::SelfHosted).is_ok());
}

#[tokio::test]
async fn bad_metadata_is_named() {
    for (field, value) in [
        ("schemaName", "a.b"),
        ("tableName", "a;b"),
        ("metadataTableName", "state"),
        ("cleanupInterval", "soon"),
        ("timeoutInSeconds", "soon"),
    ] {
        let pairs = [("connectionString", "u:p@tcp(127.0.0.1:1)/"), (field, value)];
        let error = open(OpenContext::new("s", "app", pairs.into_iter().collect()))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(&format!("'{field}'")), "{field}: {error}");
    }
}
