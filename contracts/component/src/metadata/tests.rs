//! The derive and the parsers it relies on.

use std::time::Duration;

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::*;

#[derive(Debug, ComponentMetadata)]
struct Sample {
    /// Where the server is.
    redis_host: String,
    /// Password of the server.
    #[metadata(sensitive)]
    redis_password: Option<SecretString>,
    /// One server or many.
    #[metadata(default = "node", allowed = "node", allowed = "cluster")]
    redis_type: String,
    /// Database number.
    #[metadata(name = "redisDB", default = "0")]
    database: u16,
    /// Whether to encrypt the connection.
    #[metadata(default = "false")]
    enable_tls: bool,
    /// How long to wait.
    #[metadata(alias = "timeoutInSeconds", default = "20s")]
    timeout: Duration,
    /// Life of a key in seconds.
    ttl_in_seconds: Option<i64>,
}

fn parse(pairs: &[(&str, &str)]) -> Result<Sample, MetadataError> {
    Sample::parse(&pairs.iter().copied().collect())
}

#[test]
fn names_have_no_case_and_defaults_apply() {
    let sample = parse(&[
        ("REDISHOST", "here:6379"),
        ("redispassword", "hunter2"),
        ("TimeoutInSeconds", "7"),
        ("enableTls", "Y"),
    ])
    .unwrap();
    assert_eq!(
        (sample.redis_host.as_str(), sample.redis_type.as_str(), sample.database),
        ("here:6379", "node", 0)
    );
    assert_eq!(sample.redis_password.as_ref().unwrap().expose_secret(), "hunter2");
    assert!(sample.enable_tls);
    assert_eq!((sample.timeout, sample.ttl_in_seconds), (Duration::from_secs(7), None));
    assert!(!format!("{sample:?}").contains("hunter2"));
}

#[test]
fn errors_name_field_reason_and_remedy() {
    let missing = parse(&[]).unwrap_err();
    assert_eq!(missing.field, "redisHost");
    assert!(missing.to_string().contains("missing") && missing.to_string().contains("add 'redisHost'"));
    assert_eq!(parse(&[("redisHost", "")]).unwrap_err().reason, "it is empty");
    let bad = parse(&[("redisHost", "h"), ("redisDB", "many")]).unwrap_err();
    assert_eq!(bad.field, "redisDB");
    assert!(bad.reason.contains("whole number from 0 to 65535"), "{bad}");
    let unknown = parse(&[("redisHost", "h"), ("redisType", "ring")]).unwrap_err();
    assert!(unknown.remedy.contains("node, cluster"), "{unknown}");
    assert_eq!(
        parse(&[("redisHost", "h"), ("enableTLS", "perhaps")])
            .unwrap_err()
            .field,
        "enableTls"
    );
}

#[test]
fn schema_follows_the_struct() {
    let fields = Sample::fields();
    let password = fields.iter().find(|field| field.name == "redisPassword").unwrap();
    assert!(password.sensitive && !password.required && password.kind == "string");
    assert_eq!(password.description, "Password of the server.");
    assert!(fields[0].required && fields[0].default.is_none());
    assert_eq!(fields[5].aliases, ["timeoutInSeconds"]);
    assert_eq!(fields[6].kind, "number");
}

#[test]
fn properties_never_show_values() {
    let properties: Properties = [("redisPassword", "hunter2")].into_iter().collect();
    assert_eq!(format!("{properties:?}"), r#"["redisPassword"]"#);
}

#[test]
fn durations_in_gos_notation() {
    let cases = [
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("20", 20.0),
        ("0", 0.0),
        ("1us", 1e-6),
        ("+2s", 2.0),
        // More milliseconds than fit into 32 bits are a Resiliency's 58 days.
        ("5000000000", 5e9),
    ];
    for (text, seconds) in cases {
        assert!(
            (Duration::parse(text).unwrap().as_secs_f64() - seconds).abs() < 1e-9,
            "{text}"
        );
    }
    for text in [
        "",
        "s",
        "1x",
        "-1s",
        "1.2.3s",
        "5s5",
        "99999999999999999999h",
        "18446744073709551615",
        "é",
    ] {
        assert!(Duration::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn parsers_never_panic(text in ".{0,40}") {
        let _ = Duration::parse(&text);
        let _ = bool::parse(&text);
        let _ = i32::parse(&text);
        let _ = parse(&[("redisHost", &text), ("redisDB", &text), ("timeout", &text), ("redisType", &text)]);
    }

    #[test]
    fn any_case_of_a_name_is_the_name(flips in proptest::collection::vec(any::<bool>(), 9)) {
        let name: String = "redisHost".chars().zip(flips).map(|(c, up)| if up { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
        prop_assert_eq!(parse(&[(&name, "there")]).unwrap().redis_host, "there");
    }
}

#[test]
fn an_interval_can_be_switched_off() {
    let parse = |text| Interval::parse(text).map(|interval| interval.0);
    for text in ["0", "-1", "-10m", "0s"] {
        assert_eq!(parse(text), Ok(None), "{text}");
    }
    assert_eq!(parse("10m"), Ok(Some(Duration::from_secs(600))));
    assert_eq!(parse(" 30 "), Ok(Some(Duration::from_secs(30))));
    assert!(parse("soon").is_err() && parse("-").is_err());
}

#[test]
fn a_bare_number_of_milliseconds() {
    let parse = |text| Millis::parse(text).map(|millis| millis.0);
    assert_eq!(Millis::KIND, "duration");
    assert_eq!(parse("250"), Ok(Some(Duration::from_millis(250))));
    assert_eq!(parse(" 2s "), Ok(Some(Duration::from_secs(2))));
    assert_eq!(parse("0"), Ok(Some(Duration::ZERO)));
    assert_eq!(parse("-1"), Ok(None));
    assert!(parse("soon").is_err() && parse("").is_err());
}

#[test]
fn a_value_knows_the_secret_it_came_from() {
    let mut properties = Properties::new();
    properties.insert("primaryEncryptionKey", "old");
    assert_eq!(properties.secret_of("primaryEncryptionKey"), None);
    properties.insert_resolved("PrimaryEncryptionKey", "new", "key-2026");
    assert_eq!(properties.get("primaryencryptionkey"), Some("new"));
    assert_eq!(properties.secret_of("primaryEncryptionKey"), Some("key-2026"));
    properties.insert("primaryEncryptionKey", "plain");
    assert_eq!(properties.secret_of("primaryEncryptionKey"), None);
}

#[test]
fn durations_are_written_as_go_writes_them() {
    for (nanoseconds, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (10_000_000, "10ms"),
        (3_300_000_000, "3.3s"),
        (60_000_000_000, "1m0s"),
        (245_000_000_001, "4m5.000000001s"),
        (18_367_001_000_000, "5h6m7.001s"),
    ] {
        assert_eq!(go_duration(Duration::from_nanos(nanoseconds)), text);
    }
    for (millis, expected) in [
        (500, "500ms"),
        (5000, "5s"),
        (1500, "1.5s"),
        (90_000, "1m30s"),
        (3_600_000, "1h0m0s"),
        (90_500, "1m30.5s"),
        (180_000, "3m0s"),
        (20, "20ms"),
        (3_661_000, "1h1m1s"),
    ] {
        assert_eq!(go_duration(Duration::from_millis(millis)), expected);
    }
}

#[test]
fn truth_in_gos_words() {
    for (text, expected) in [
        ("1", Some(true)),
        ("True", Some(true)),
        ("F", Some(false)),
        ("yes", None),
        ("", None),
    ] {
        assert_eq!(go_bool(text), expected, "{text}");
    }
}
