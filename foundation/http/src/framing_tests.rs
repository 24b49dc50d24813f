//! The framing guard: what is canonical passes however it is cut up, what is not stops at the right byte.

use proptest::prelude::*;

use super::*;

fn judge(bytes: &[u8]) -> Result<(), &'static str> {
    Framing::new().take(bytes).map_err(|violation| violation.reason)
}

const GOOD: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nPOST / HTTP/1.1\r\ncontent-length:0\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na\nb\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\ntransfer-encoding:\tCHUNKED \r\n\r\nA\r\n0123456789\r\n00\r\nx-check: 1\r\n\r\n",
];

const BAD: &[(&str, &str)] = &[
    (
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "both content-length",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        "both content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        "repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 4\r\ncontent-length: 5\r\n\r\n",
        "repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 4, 4\r\n\r\n",
        "bad or repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
        "bad or repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 0x4\r\n\r\n",
        "bad or repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "bad or repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "bad or repeated content-length",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "repeated transfer-encoding",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n",
        "repeated transfer-encoding",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n",
        "repeated transfer-encoding",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",
        "repeated transfer-encoding",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n",
        "repeated transfer-encoding",
    ),
    ("GET / HTTP/1.1\nHost: a\n\n", "bare line feed"),
    ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", "bare carriage return"),
    ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", "folded"),
    ("GET / HTTP/1.1\r\n Content-Length: 4\r\n\r\n", "folded"),
    ("\r\n\r\nGET / HTTP/1.1\r\n", "empty lines"),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n",
        "chunk extension",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        "chunk size",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
        "bare line feed",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n",
        "longer than its size",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "chunk size",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 4\r\n\r\n",
        "trailer",
    ),
];

#[test]
fn canonical_messages_pass() {
    for message in GOOD {
        assert_eq!(judge(message.as_bytes()), Ok(()), "{message:?}");
    }
}

#[test]
fn sec_053_ambiguous_framing_is_refused() {
    for (message, reason) in BAD {
        let found = judge(message.as_bytes()).expect_err(message);
        assert!(found.contains(reason), "{message:?}: {found}");
    }
}

#[test]
fn a_long_line_is_no_way_around() {
    let long = "x".repeat(500);
    assert_eq!(
        judge(format!("GET /{long} HTTP/1.1\r\nX: {long}\r\n\r\nGET").as_bytes()),
        Ok(())
    );
    let padded = format!("POST / HTTP/1.1\r\nContent-Length: {}4\r\n\r\n", " ".repeat(100));
    assert!(judge(padded.as_bytes()).is_err());
    let bare = format!("GET / HTTP/1.1\r\nX: {long}\nContent-Length: 4\r\n\r\n");
    assert_eq!(judge(bare.as_bytes()), Err("bare line feed"));
}

proptest! {
    #[test]
    fn how_bytes_are_cut_up_changes_nothing(which in 0..GOOD.len() + BAD.len(), cuts in proptest::collection::vec(1..9_usize, 0..40)) {
        let message = GOOD.get(which).copied().unwrap_or_else(|| BAD[which - GOOD.len()].0).as_bytes();
        let whole = Framing::new().take(message).map_err(|violation| (violation.at, violation.reason));
        let mut framing = Framing::new();
        let (mut at, mut cuts) = (0, cuts.into_iter());
        let mut pieces = Ok(());
        while at < message.len() && pieces.is_ok() {
            let step = cuts.next().unwrap_or(message.len()).min(message.len() - at);
            pieces = framing.take(&message[at..at + step]).map_err(|violation| (at + violation.at, violation.reason));
            at += step;
        }
        // A carriage return at the very end of a piece is only known to be bare when the next byte comes.
        let pieces = pieces.map_err(|(_, reason)| reason);
        prop_assert_eq!(pieces, whole.map_err(|(_, reason)| reason));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Framing::new().take(&bytes);
    }
}
