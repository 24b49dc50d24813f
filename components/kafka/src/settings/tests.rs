//! What a component may say, and how it is told what it may not.

use palladium_component::ComponentMetadata as _;

use super::*;

async fn read(pairs: &[(&str, &str)]) -> Result<Settings, OpenError> {
    palladium_tls::install_crypto_provider();
    let context = OpenContext::new("c", "app", pairs.iter().copied().collect());
    let metadata = KafkaMetadata::parse(&context.properties)?;
    let consumer_id = context.properties.get("consumerID");
    Settings::read(&metadata, consumer_id, &context, true).await
}

const PLAIN: [(&str, &str); 2] = [("brokers", "one:9092, two:9092 "), ("authType", "none")];

#[tokio::test]
async fn defaults_are_daprs() {
    let plain = read(&PLAIN).await.unwrap();
    let reading = plain.reading;
    assert_eq!(
        (reading.group.as_str(), reading.oldest, reading.ahead),
        ("app", false, 256)
    );
    assert_eq!(
        (reading.fetch_min, reading.fetch_most, reading.unpacked),
        (1, 1 << 20, 16 << 20)
    );
    assert_eq!(reading.heartbeat, Duration::from_secs(3));
    assert_eq!(reading.session, Duration::from_secs(10));
    assert_eq!(reading.pause, Duration::from_millis(100));
    assert_eq!(reading.again.unwrap().pause(1), Some(Duration::from_secs(5)));
    assert_eq!(reading.strategy, Strategy::Range);
    assert_eq!((plain.writing.acks, plain.writing.largest), (Acks::All, 1 << 20));
    assert_eq!(plain.writing.compression, Compression::None);
    assert_eq!(format!("{:?}", plain.reach), "Reach(one:9092,two:9092)");
}

#[tokio::test]
async fn who_publishes_large_messages_receives_them() {
    let large = [("maxMessageBytes", "33554432")];
    let read = read(&[&PLAIN[..], &large].concat()).await.unwrap();
    assert_eq!((read.writing.largest, read.reading.unpacked), (32 << 20, 33 << 20));
}

#[tokio::test]
async fn names_are_taken_as_they_are() {
    let pairs = [
        ("brokers", "[::1]:9092, kafka_0.Example-1.:9092,127.0.0.1:1"),
        ("authType", "none"),
        ("clientID", " orders/1@eu\n"),
    ];
    let reach = read(&pairs).await.unwrap().reach;
    assert_eq!(
        format!("{reach:?}"),
        "Reach([::1]:9092,kafka_0.Example-1.:9092,127.0.0.1:1)"
    );
}

#[tokio::test]
async fn who_receives_is_a_group() {
    for (pairs, group) in [
        (&[("consumerID", "id")][..], "id"),
        (&[("consumerID", "id"), ("consumerGroup", "group")], "group"),
        (&[("consumerGroup", "")], "app"),
    ] {
        let read = read(&[&PLAIN[..], pairs].concat()).await.unwrap();
        assert_eq!(read.reading.group, group);
    }
    let off = [("consumeRetryEnabled", "false"), ("consumeRetryInterval", "7")];
    let quiet = read(&[&PLAIN[..], &off].concat()).await.unwrap().reading;
    assert!(quiet.again.is_none());
    assert_eq!(quiet.pause, Duration::from_millis(10));
}

#[tokio::test]
async fn the_old_form_of_authentication_is_understood() {
    let brokers = ("brokers", "h:1");
    let user = [("saslUsername", "u"), ("saslPassword", "hunter2")];
    let is_read = async |pairs: &[(&str, &str)]| read(&[&[brokers][..], pairs].concat()).await;
    assert!(is_read(&[("authRequired", "false")]).await.is_ok());
    assert!(
        is_read(&[&[("authRequired", "true")][..], &user].concat())
            .await
            .is_ok()
    );
    let error = is_read(&[("authRequired", "true")]).await.unwrap_err();
    assert!(matches!(error, OpenError::Metadata(error) if error.field == "clientKey"));
    for mechanism in ["plain", "SHA-256", "SCRAM-SHA-512", ""] {
        let said = [
            ("authType", "password"),
            ("saslMechanism", mechanism),
            ("disableTls", "true"),
        ];
        assert!(is_read(&[&said[..], &user].concat()).await.is_ok(), "{mechanism}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name_and_without_secrets() {
    let password = [
        ("saslUsername", "u"),
        ("saslPassword", "hunter2"),
        ("authType", "password"),
    ];
    let mtls = [
        ("clientCert", "hunter2"),
        ("clientKey", "hunter2"),
        ("authType", "mtls"),
    ];
    let long = "x".repeat(250);
    for (pairs, field) in [
        (&[("brokers", "")][..], "brokers"),
        (&[("brokers", "kafka://u:hunter2@h:1")], "brokers"),
        (&[("brokers", "host")], "brokers"),
        (&[("brokers", "one:9092,good.example#evil:9092")], "brokers"),
        (&[("brokers", "good.example?evil:9092")], "brokers"),
        (&[("brokers", "good.example\\evil:9092")], "brokers"),
        (&[("brokers", "tcp(good.example)evil:9092")], "brokers"),
        (&[("brokers", "one:9092\ttwo:9092")], "brokers"),
        (&[("brokers", "::1:9092")], "brokers"),
        (&[("brokers", "[one]:9092")], "brokers"),
        (&[("clientID", "two words")], "clientID"),
        (&[("clientID", "a\r\nset k 0 0 1")], "clientID"),
        (&[("clientID", "ü")], "clientID"),
        (&[("clientID", long.as_str())], "clientID"),
        (&[("authType", "")], "authType"),
        (&[("authType", "ldap")], "authType"),
        (&[("authType", "oidc"), ("oidcClientSecret", "hunter2")], "authType"),
        (&[("authType", "awsiam"), ("secretKey", "hunter2")], "authType"),
        (&[("authType", "password"), ("saslPassword", "hunter2")], "saslUsername"),
        (&[("authType", "password"), ("saslUsername", "u")], "saslPassword"),
        (
            &[&password[..], &[("saslMechanism", "GSSAPI")]].concat(),
            "saslMechanism",
        ),
        (&[("authType", "certificate")], "caCert"),
        (&[("authType", "certificate"), ("caCert", "x")], "caCert"),
        (&[("caCert", "x")], "caCert"),
        (&mtls, "clientCert"),
        (&[&mtls[..], &[("disableTls", "true")]].concat(), "disableTls"),
        (&[("initialOffset", "some")], "initialOffset"),
        (&[("compression", "zstd")], "compression"),
        (&[("version", "two")], "version"),
        (&[("heartbeatInterval", "10s")], "heartbeatInterval"),
        (&[("consumerFetchDefault", "0")], "consumerFetchDefault"),
        (&[("consumeRetryInterval", "x")], "consumeRetryInterval"),
        (&[("excludeHeaderMetaRegex", "(")], "excludeHeaderMetaRegex"),
        (
            &[
                ("schemaRegistryURL", "http://h"),
                ("schemaRegistryAPISecret", "hunter2"),
            ],
            "schemaRegistryURL",
        ),
        (&[("useAvroJson", "true")], "useAvroJSON"),
        (&[("backOffPolicy", "x")], "backOffPolicy"),
        (&[("backOffDuration", "x")], "backOffDuration"),
    ] {
        let error = read(&[&PLAIN[..], pairs].concat()).await.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(
            matches!(&error, OpenError::Metadata(error) if error.field == field),
            "{field}: {error}"
        );
    }
}
