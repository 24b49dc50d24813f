//! Who may ask for metrics, and where.

use super::*;

#[tokio::test]
async fn metrics_are_on_loopback_only_and_never_without_a_token() {
    let refused = |config: &MetricsConfig, reason: &str| {
        let refused = Endpoint::new(config, plain(Fakes::default())).map(|_| ());
        assert!(
            matches!(&refused, Err(Error::Config(said)) if said.contains(reason)),
            "{config:?}: {refused:?}"
        );
    };
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        refused(&configured(address.parse().unwrap()), "loopback");
    }
    let sound = configured("127.0.0.1:0".parse().unwrap());
    for digest in ["", "00", &"0".repeat(63), &"x".repeat(64), &"é".repeat(32)] {
        let token_sha256 = digest.to_owned();
        refused(
            &MetricsConfig {
                token_sha256,
                ..sound.clone()
            },
            "metrics.token_sha256",
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_had_later() {
    let served = Served::start(LONG).await;
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let mut endpoint = Endpoint::new(&configured(address), plain(served.fakes.clone())).unwrap();
    endpoint.again = SHORT / 10;
    let mut tasks = Tasks::new();
    tasks.spawn(
        "metrics",
        endpoint.serve(served.region.clone(), served.shutdown.clone()),
    );
    tokio::time::sleep(SHORT).await;
    assert_eq!(tasks.len(), 1, "it goes on");
    drop(held);
    let had = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, had).await.expect("in time");
    let said = ask_at(address, "GET /targets", "host: localhost").await;
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    served.shutdown.trigger();
    tasks.drain(PATIENCE).await.expect("it ends when it is told to");
}

#[tokio::test]
async fn whoever_has_no_token_is_told_nothing() {
    let mut served = Served::start(LONG).await;
    served.dapr_server("orders", answer("200 OK", "whose")).await;
    let with = |given: &str| format!("host: localhost\r\n{given}");
    for given in [
        "accept: */*".to_owned(),
        "authorization: Bearer".to_owned(),
        "authorization: Bearer ".to_owned(),
        "authorization: Bearer another".to_owned(),
        format!("authorization: {TOKEN}"),
        format!("authorization: Basic {TOKEN}"),
        format!("authorization: Bearer {TOKEN}x"),
        format!("dapr-api-token: {TOKEN}"),
    ] {
        for line in [
            "GET /targets".to_owned(),
            format!("GET /metrics/{PROJECT}/orders"),
            format!("GET /metrics/{PROJECT}/nobody"),
            "POST /targets".to_owned(),
        ] {
            let said = served.ask_with(&line, &with(&given)).await;
            assert!(
                said.starts_with("HTTP/1.1 401 ") && said.contains("www-authenticate: Bearer\r\n"),
                "{line}, {given}: {said}"
            );
            assert!(said.ends_with("metrics are for whoever holds their token\n"), "{said}");
        }
    }
    let lower = with(&format!("authorization: bearer {TOKEN}"));
    let said = served.ask_with("GET /targets", &lower).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[tokio::test]
async fn a_page_whose_name_leads_here_learns_nothing() {
    let mut served = Served::start(LONG).await;
    served.dapr_server("orders", answer("200 OK", "whose")).await;
    let line = format!("GET /metrics/{PROJECT}/orders");
    for (host, status) in [
        ("localhost:9464", "200"),
        ("127.0.0.1", "200"),
        ("[::1]:9464", "200"),
        ("evil.example:9464", "421"),
        ("127.0.0.1.evil.example", "421"),
        ("192.0.2.1", "421"),
        ("", "421"),
    ] {
        let headers = format!("host: {host}\r\nauthorization: Bearer {TOKEN}");
        let said = served.ask_with(&line, &headers).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {said}");
    }
}
