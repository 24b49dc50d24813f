//! The committed catalog and the rules on it.

use proptest::prelude::*;

use super::*;

fn entry<'a>(name: &'a str, value: &'a str) -> Entry<'a> {
    Entry {
        name,
        value: Some(value),
    }
}

fn sample() -> Catalog {
    let field = |name: &str, kind: &str, required: bool, sensitive: bool| CatalogField {
        name: name.into(),
        aliases: vec![],
        kind: kind.into(),
        required,
        sensitive,
        default: None,
        allowed: vec![],
        description: "d".into(),
    };
    let redis = ComponentType {
        type_name: "state.redis".into(),
        aliases: vec!["state.redis-alias".into()],
        versions: vec!["v1".into()],
        status: "stable".into(),
        hosted: "allowed".into(),
        fields: vec![
            field("redisHost", "string", true, false),
            field("redisPassword", "string", false, true),
            field("redisDB", "number", false, false),
            CatalogField {
                allowed: vec!["node".into(), "cluster".into()],
                ..field("redisType", "string", false, false)
            },
            field("enableTLS", "bool", false, false),
            field("dialTimeout", "duration", false, false),
        ],
        example: String::new(),
    };
    let common = [(
        "state".to_string(),
        vec![
            field("primaryEncryptionKey", "string", false, true),
            field("keyPrefix", "string", false, false),
        ],
    )];
    Catalog {
        components: vec![redis],
        common: common.into_iter().collect(),
    }
}

#[test]
fn catalog_parses() {
    assert!(catalog().find("state.no-such-thing", "").is_none());
}

#[test]
fn lookup_by_type_alias_and_version_without_case() {
    let catalog = sample();
    for (name, version) in [("state.redis", ""), ("STATE.Redis", "V1"), ("state.redis-alias", "v1")] {
        assert!(catalog.find(name, version).is_some(), "{name} {version}");
    }
    assert!(catalog.find("state.redis", "v2").is_none());
    assert_eq!(catalog.validate("state.redis", "v2", &[])[0].path, "spec.version");
    let unknown = &catalog.validate("state.cosmos", "v1", &[])[0];
    assert!(unknown.path == "spec.type" && unknown.message.contains("state.redis"));
}

#[test]
fn secrecy_by_flag_name_and_value() {
    let catalog = sample();
    let sensitive = |name, value| catalog.is_sensitive("state.redis", "v1", entry(name, value));
    assert!(
        sensitive("REDISPASSWORD", "x") && sensitive("primaryEncryptionKey", "x") && sensitive("someNewApiKey", "x")
    );
    assert!(sensitive("redisHost", "redis://user:pass@host:6379"));
    assert!(
        !sensitive("redisHost", "host:6379") && !sensitive("keyPrefix", "name") && !sensitive("somethingElse", "x")
    );
    assert!(catalog.is_sensitive("state.unknown", "v1", entry("connectionString", "x")));
}

#[test]
fn validation_names_paths_and_never_values() {
    let entries = [
        entry("redisDB", "hunter2"),
        entry("redisType", "hunter2"),
        entry("enableTLS", "hunter2"),
        entry("dialTimeout", "hunter2"),
        entry("redisdb", "1"),
        entry("", "x"),
        entry("unknownName", "fine"),
    ];
    let problems = sample().validate("state.redis", "v1", &entries);
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.metadata",
            "spec.metadata[0].value",
            "spec.metadata[1].value",
            "spec.metadata[2].value",
            "spec.metadata[3].value",
            "spec.metadata[4].name",
            "spec.metadata[5].name",
            "spec.metadata[6].name"
        ]
    );
    assert!(problems.iter().all(|problem| !problem.message.contains("hunter2")));
    let reference = [Entry {
        name: "redisHost",
        value: None,
    }];
    assert!(sample().validate("state.redis", "v1", &reference).is_empty());
}

#[test]
fn a_misspelt_setting_is_refused_with_what_was_meant() {
    let problem = |name| {
        let host = entry("redisHost", "h:1");
        sample().validate("state.redis", "v1", &[host, entry(name, "hunter2")])
    };
    for (name, meant) in [
        ("redisPasswrod", "redisPassword"),
        ("password", "redisPassword"),
        ("redis-password", "redisPassword"),
        ("keyPrefx", "keyPrefix"),
    ] {
        let found = problem(name);
        assert_eq!(found[0].path, "spec.metadata[1].name");
        if name == "password" {
            assert!(found[0].message.contains("use one of: redisHost"), "{found:?}");
        } else {
            assert!(
                found[0].message.ends_with(&format!("did you mean {meant}?")),
                "{found:?}"
            );
        }
    }
    for name in ["REDISpassword", "keyPrefix", "primaryEncryptionKey"] {
        assert!(problem(name).is_empty(), "{name}");
    }
}

#[test]
fn durations_and_what_the_building_block_does_are_local() {
    for (name, local) in [
        ("keyPrefix", true),
        ("dialTimeout", true),
        ("redisHost", false),
        ("enableTLS", false),
        ("redisDB", false),
        ("x", false),
    ] {
        assert_eq!(sample().is_local("state.redis", "v1", name), local, "{name}");
    }
}

#[test]
fn names_of_secrets() {
    for name in [
        "redisPassword",
        "sas",
        "private-key",
        "aws_secret_key",
        "connectionString",
        "vaultToken",
        "accountKey",
        "clientKey",
        "key",
    ] {
        assert!(looks_secret(name), "{name}");
    }
    for name in [
        "redisHost",
        "keyPrefix",
        "tableName",
        "partitionKey",
        "oidcTokenEndpoint",
        "redisUsername",
    ] {
        assert!(!looks_secret(name), "{name}");
    }
    for value in [
        "amqp://u:p@h",
        "redis://u:p,q@h",
        "u:p@h:6379",
        "h:1,u:p@h:2",
        "u:p@tcp(h:3306)/db",
        "host=h password = x",
        "Server=x;Password=y",
        "AccountKey=abc",
        "-----BEGIN EC PRIVATE KEY-----\nx",
    ] {
        assert!(carries_credentials(value), "{value}");
    }
    for value in ["host:6379", "http://host:80/a@b", "file:data.db", "user@host"] {
        assert!(!carries_credentials(value), "{value}");
    }
}

#[test]
fn free_text_with_credentials_is_told_from_ordinary_text() {
    for text in [
        "amqp://u:p@h",
        "see redis://u:p@h:6379/0 for more",
        "{\"url\":\"postgres://u:p@h/db\"}",
        "host=h user=u password=p",
        "Server=x;Password=y",
        "AccountName=a;AccountKey=abc==",
        "-----BEGIN EC PRIVATE KEY-----\nx",
    ] {
        assert!(holds_credentials(text), "{text}");
    }
    for text in [
        "https://orders.example.com:443/path?mail=a@b:c",
        "mailto:bob@example.com",
        "shop:1.2@sha256:abcdef",
        "https://registry.example.com:5000/shop@sha256:abcdef",
        "git@github.com:shop/orders.git",
        "ssh://git@github.com:22/shop/orders",
        "https://bob@host/",
        "redis://localhost:6379/0",
        "http://[::1]:8080/a:b@c",
        "https://a.example.com:1,https://b.example.com:2",
        "https://grafana.example.com/d/abc?from=now-1h&to=now",
        "on call: bob@example.com, 12:30@noon",
        "rotate the password monthly; password=in the vault",
        "https://me:<password>@host",
        "https://me:${PASSWORD}@host, host=h password=${PASSWORD}",
        "-----BEGIN CERTIFICATE-----\nx",
        "key=value",
        "",
    ] {
        assert!(!holds_credentials(text), "{text}");
    }
}

proptest! {
    #[test]
    fn rules_never_panic(name in ".{0,30}", value in ".{0,60}") {
        let _ = sample().is_sensitive("state.redis", "v1", entry(&name, &value));
        let _ = sample().validate("state.redis", "v1", &[entry(&name, &value)]);
        let _ = holds_credentials(&value);
    }
}
