//! Connection strings, and what a tenant may not ask for.

use palladium_component::{ComponentMetadata as _, Hosting, OpenError, Properties};

use super::*;

fn refused(pairs: &[(&str, &str)], hosting: &Hosting) -> String {
    let properties: Properties = pairs.iter().copied().collect();
    let metadata = PostgresMetadata::parse(&properties).unwrap();
    metadata.options(hosting).err().unwrap().to_string()
}

fn options(pairs: &[(&str, &str)]) -> PgConnectOptions {
    let properties: Properties = pairs.iter().copied().collect();
    let metadata = PostgresMetadata::parse(&properties).unwrap();
    metadata.options(&Hosting::SelfHosted).unwrap().0
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
        let refused = metadata.options(&hosting).err().unwrap();
        assert!(matches!(refused, OpenError::NotAllowed(_)), "{pairs:?}: {refused}");
    }
}
