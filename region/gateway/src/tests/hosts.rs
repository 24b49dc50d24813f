//! Hosts and authorities that honest clients do not send: each gets an answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{get, raw, tls};
use super::world::{A, World};

const ODD: [&str; 14] = [
    "[::1]",
    "[::1]:8443",
    "[::",
    "::1",
    "[]",
    "[v1.a]",
    ":443",
    "localhost:",
    "localhost:99999999",
    ".",
    "..",
    "a%00b",
    "user@localhost",
    "xn--\u{e4}",
];

/// A header block of literals: HPACK without indexing and without Huffman code.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Whether a HEADERS or RST_STREAM frame comes on stream 1: an answer, rather than a connection that breaks off.
async fn is_answered(world: &World, fields: &[(&str, &str)]) -> bool {
    // Without a server name, so that any host may be named.
    let mut stream = tls(world, "127.0.0.1", &[b"h2"]).await;
    let block = block(fields);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend(&block);
    stream.write_all(&bytes).await.unwrap();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        if matches!(head[3], 1 | 3) && head[8] == 1 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn an_odd_authority_gets_an_answer() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for host in ODD {
        for target in ["/", "http://localhost/"] {
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\ndapr-api-token: {}\r\nConnection: close\r\n\r\n",
                app.token
            );
            let answer = raw(&world, head.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 "), "{host:?} {target}: {answer}");
        }
        let standard = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            ("dapr-api-token", app.token.as_str()),
        ];
        for place in ["host", ":authority"] {
            let mut fields = standard.to_vec();
            let at = if place == "host" { 4 } else { 0 };
            fields.insert(at, (place, host));
            assert!(is_answered(&world, &fields).await, "{host:?} as {place}");
        }
    }
    assert_eq!(get(&world, "/", &app.token).await.status, 200, "and it still serves");
}
