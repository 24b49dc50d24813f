//! What is peculiar to memcached: lives, broken servers, connections that were closed while idle.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[test]
fn a_long_life_is_a_moment() {
    let set = |seconds: &str| SetRequest {
        metadata: [("ttlInSeconds".to_string(), seconds.to_string())].into(),
        ..SetRequest::default()
    };
    assert_eq!(expires(&SetRequest::default()).unwrap(), 0);
    assert_eq!(expires(&set("-1")).unwrap(), 0);
    assert_eq!(expires(&set("2591999")).unwrap(), 2_591_999);
    let at = expires(&set("2592000")).unwrap() - ttl::now_unix_s();
    assert!((2_591_990..=2_592_000).contains(&at), "{at}");
    assert!(
        expires(&set("2147483647"))
            .unwrap_err()
            .to_string()
            .contains("'ttlInSeconds'")
    );
}

/// A server that answers every connection with these pieces, one for each command.
async fn answering(pieces: &'static [&'static [u8]], connections: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = [0; 1024];
            for piece in pieces {
                if stream.read(&mut command).await.unwrap() == 0 {
                    break;
                }
                stream.write_all(piece).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let address = answering(&[b"VALUE k 0 1\r\nv\r\nEND\r\n"], 2).await;
    let servers = Servers::new(&address, 2, Duration::from_secs(5)).unwrap();
    for _ in 0..2 {
        assert_eq!(servers.get("k").await.unwrap().unwrap(), "v");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn odd_answers_are_errors_without_values() {
    for answer in [
        &b"VALUE other 0 6\r\nsecret\r\nEND\r\n"[..],
        b"VALUE k 0 99999999999\r\n",
        b"VALUE k 0 6\r\nsecretEND\r\n",
        b"VALUE k 0 x\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xfe\r\n",
        b"END",
    ] {
        let address = answering(Box::leak(Box::new([answer])), 4).await;
        let servers = Servers::new(&address, 2, Duration::from_secs(5)).unwrap();
        let error = servers.get("k").await.unwrap_err();
        assert!(matches!(&error, StateError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let servers = Servers::new(&address, 2, Duration::from_millis(100)).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(5), servers.get("k"))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
}

#[test]
fn keys_that_would_be_cut_or_be_commands_are_refused() {
    for key in ["", "a b", "a\r\nflush_all", "a\0", &"k".repeat(251)] {
        assert!(matches!(check_key(key), Err(StateError::Invalid(_))), "{key:?}");
    }
    assert!(check_key(&"k".repeat(250)).is_ok() && check_key("schlüssel||é").is_ok());
}
