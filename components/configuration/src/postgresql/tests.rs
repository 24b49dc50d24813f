//! What is peculiar to PostgreSQL: settings, channels, and the form in which triggers tell of rows.

use palladium_component::configuration::Selection;

use super::*;

fn context(pairs: &[(&str, &str)]) -> OpenContext {
    let server = ("connectionString", "host=127.0.0.1 port=1 user=u password=hunter2");
    let pairs = pairs.iter().copied().chain([server]);
    OpenContext::new("c", "app", pairs.collect())
}

#[tokio::test]
async fn bad_metadata_is_named() {
    let long = "c".repeat(64);
    for (field, pairs) in [
        ("table", &[][..]),
        ("table", &[("table", "a;b")]),
        ("notifyChannel", &[("table", "t"), ("notifyChannel", "a\"b")]),
        ("notifyChannel", &[("table", "t"), ("pgNotifyChannel", "Upper")]),
        ("notifyChannel", &[("table", "t"), ("notifyChannel", long.as_str())]),
        ("timeout", &[("table", "t"), ("timeoutInSeconds", "0")]),
        ("queryExecMode", &[("table", "t"), ("queryExecMode", "fast")]),
        ("useAWSIAM", &[("table", "t"), ("useAWSIAM", "true")]),
    ] {
        let error = open(context(pairs)).await.err().unwrap().to_string();
        assert!(error.contains(&format!("'{field}'")), "{field}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_without_secrets() {
    let error = open(context(&[("table", "t")])).await.err().unwrap();
    assert!(matches!(error, OpenError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_subscription_without_a_channel_says_what_is_missing() {
    let server = PostgresMetadata::parse(&context(&[("table", "t")]).properties).unwrap();
    let (options, size) = server.options(&Default::default()).unwrap();
    let timeout = std::time::Duration::from_secs(1);
    let pool = sql::pool::<Postgres>(options.clone(), &size, timeout);
    let reader = Reader::new(pool, "t", timeout, true);
    let store = PostgresConfiguration::new(reader, None, Dial::new(options, timeout));
    struct Deaf;
    impl palladium_component::configuration::Listener for Deaf {
        fn changed(
            &self,
            _: palladium_component::configuration::Items,
        ) -> palladium_component::reply::BoxFuture<'_, ()> {
            Box::pin(async {})
        }
    }
    for (channel, said) in [
        ("", "notifyChannel"),
        ("Up", "pgNotifyChannel"),
        ("there", "PostgreSQL"),
    ] {
        let selection = Selection {
            metadata: [("PGNotifyChannel".to_owned(), channel.to_owned())].into(),
            ..Selection::default()
        };
        let refused = store.subscribe(&selection, Arc::new(Deaf)).await;
        let error = refused.err().unwrap().to_string();
        assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn notifications_in_daprs_form() {
    let told =
        r#"{"table": "t", "action": "UPDATE", "data": {"key": "k", "value": "v", "version": "1", "metadata": null}}"#;
    assert_eq!(line::key(told).as_deref(), Some("k"));
    assert_eq!(line::key(r#"{"data": {"KEY": "k"}}"#).as_deref(), Some("k"));
    for other in [
        "",
        "k",
        "[]",
        r#"{"data": "k"}"#,
        r#"{"data": {"key": 1}}"#,
        r#"{"key": "k"}"#,
    ] {
        assert_eq!(line::key(other), None, "{other}");
    }
}
