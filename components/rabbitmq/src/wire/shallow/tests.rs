//! Frames as a publisher could have them sent: what the library makes of them, and what is not touched.

use std::pin::Pin;

use futures_io::AsyncRead as _;
use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, FieldTable};
use palladium_components_dial::Target;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::super::{Cut, Wire};
use super::*;

/// Where the headers begin in a frame of [`header`].
const HEADERS: usize = 7 + 12 + 2 + 11;

/// A frame with these headers, beside a content type and a delivery mode.
fn header(headers: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    payload.extend(0b1011_0000_0000_0000_u16.to_be_bytes());
    payload.extend(b"\x0atext/plain");
    payload.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
    payload.extend(headers);
    payload.push(2);
    frame(2, &payload)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, 1];
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame.push(0xce);
    frame
}

/// Headers with so many tables (`F`) or arrays (`A`) in each other.
fn nested(letter: u8, depth: u32) -> Vec<u8> {
    let each = if letter == b'F' { 6 } else { 5 };
    let mut headers = Vec::new();
    for inner in (0..depth).rev() {
        if letter == b'F' || inner == depth - 1 {
            headers.push(0);
        }
        headers.push(letter);
        headers.extend((each * inner).to_be_bytes());
    }
    headers
}

/// What comes of these bytes in pieces of that size.
fn passed(bytes: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let mut shallow = Shallow::new();
    for piece in bytes.chunks_mut(size) {
        shallow.pass(piece)?;
    }
    Ok(bytes)
}

/// How deep the headers of a frame are for the library, on a thread like its own.
fn depth(frame: Vec<u8>) -> usize {
    let library = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let (_, table): (_, FieldTable) = parse_field_table(&frame[HEADERS..]).unwrap();
        let mut depth = 1;
        let mut value = table.inner().values().next();
        while let Some(inner) = value {
            value = match inner {
                AMQPValue::FieldTable(table) => table.inner().values().next(),
                AMQPValue::FieldArray(array) => array.as_slice().first(),
                _ => break,
            };
            depth += 1;
        }
        depth
    });
    library.unwrap().join().unwrap()
}

#[test]
fn whatever_is_published_is_shallow_for_the_library() {
    for letter in [b'F', b'A'] {
        // As much as RabbitMQ takes in a frame unless it is told otherwise.
        let sent = header(&nested(letter, 21_000));
        for size in [1, 7, 4096, sent.len()] {
            let passed = passed(&sent, size).unwrap();
            let changed = sent.iter().zip(&passed).filter(|(before, after)| before != after);
            assert_eq!(changed.count(), 1, "one letter");
            assert_eq!(depth(passed), DEEPEST, "{letter} {size}");
        }
    }
}

#[test]
fn what_is_not_too_deep_stays_as_it_is() {
    let mut headers = Vec::new();
    for value in [
        &b"t\x01"[..],
        b"b\xff",
        b"B\xff",
        b"s\0\x01",
        b"U\0\x01",
        b"u\0\x01",
        b"I\0\0\0\x01",
        b"i\0\0\0\x01",
        b"f\0\0\0\0",
        b"L\0\0\0\0\0\0\0\x01",
        b"l\0\0\0\0\0\0\0\x01",
        b"d\0\0\0\0\0\0\0\0",
        b"T\0\0\0\0\0\0\0\x01",
        b"D\x02\0\0\0\x07",
        b"V",
        b"S\0\0\0\x06F\0\0\0\0\x01",
        b"x\0\0\0\x02AF",
        b"F\0\0\0\0",
        b"A\0\0\0\0",
        b"A\0\0\0\x0dF\0\0\0\x07\x01kI\0\0\0\x01V",
    ] {
        // The names differ by their lengths.
        let name = vec![b'n'; headers.len() % 200];
        headers.push(u8::try_from(name.len()).unwrap());
        headers.extend(name);
        headers.extend(value);
    }
    let deepest = u32::try_from(DEEPEST).unwrap() - 1;
    let without_headers = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x10, 0, 2];
    let sent = [
        frame(1, b"\0\x3c\0\x3cmethod"),
        header(&headers),
        frame(3, &header(&nested(b'F', 100))),
        frame(8, b""),
        frame(2, &without_headers),
        header(b""),
        header(&nested(b'F', deepest)),
        header(&nested(b'A', deepest)),
    ]
    .concat();
    for size in [1, 3, sent.len()] {
        assert_eq!(passed(&sent, size).unwrap(), sent, "{size}");
    }
    // Still in step: what comes behind all that is seen.
    let more = [sent.clone(), header(&nested(b'A', deepest + 1))].concat();
    assert_ne!(passed(&more, 5).unwrap(), more);
}

#[test]
fn what_the_library_could_read_otherwise_ends_the_connection() {
    let mut huge = frame(3, b"");
    huge[3..7].copy_from_slice(&u32::MAX.to_be_bytes());
    for sent in [
        header(b"\x01kF\0\0\0\x09"),
        header(b"\x01kA\0\0\0\x05F\0\0\0\x01\0"),
        header(b"\x01kq"),
        header(b"\x09k"),
        header(b"\x01k"),
        header(b"\x01kI\0"),
        frame(2, b"\0\x3c"),
        huge,
    ] {
        let behind = [sent.clone(), frame(3, &[0; 40])].concat();
        assert!(passed(&behind, 2).is_err(), "{sent:?}");
    }
}

#[tokio::test]
async fn a_connection_looks_at_what_comes_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::plain("127.0.0.1", listener.local_addr().unwrap().port());
    let sent = header(&nested(b'F', 1000));
    let cut = Cut::new();
    let (wire, accepted) = tokio::join!(Wire::open(&target, cut.token()), listener.accept());
    let (mut wire, (mut server, _)) = (wire.unwrap(), accepted.unwrap());
    server.write_all(&sent).await.unwrap();
    drop(server);
    let (mut got, mut piece) = (Vec::new(), [0_u8; 1000]);
    loop {
        let read = std::future::poll_fn(|context| Pin::new(&mut wire).poll_read(context, &mut piece)).await;
        let read = read.unwrap();
        if read == 0 {
            break;
        }
        got.extend_from_slice(&piece[..read]);
    }
    assert_eq!(got, passed(&sent, sent.len()).unwrap());
    assert_eq!(depth(got), DEEPEST);
}
