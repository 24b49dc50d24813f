//! gRPC's framing, and the messages between two Dapr Servers.
//!
//! One idea: however the same bytes arrive, they are the same messages; the flat form of a message says what the generated
//! one says; and what is sent in chunks is the body again at the other end. Must never count on a message being well formed:
//! a peer may be anybody who has a certificate.

use bytes::{Bytes, BytesMut};
use palladium_http::Budget;
use palladium_proto::internals::InternalInvokeRequestStream;
use prost::Message as _;

use crate::gateway_meter::Meter;
use crate::invoke::metadata::{self, Parties};
use crate::invoke::wire::{
    FrameError, Request, Streamed as _, StreamedRequest, Unframe, framed, head_field, put_chunks,
};

/// The first byte chooses the greatest message, the second how the bytes are cut up.
pub(crate) fn run(input: &[u8]) {
    let [limit, cut, bytes @ ..] = input else { return };
    let limit = [16, 64, 1 << 10, 1 << 20][usize::from(limit % 4)];
    let size = usize::from(*cut) + 1;
    let expected = plainly(bytes, limit);
    for size in [size, 1, bytes.len().max(1)] {
        let budget = Budget::new(8 << 20);
        let (messages, end) = unframed(bytes, size, limit, &budget);
        assert_eq!(
            (&messages, end),
            (&expected.0, expected.1),
            "pieces of {size} bytes are other messages"
        );
        drop(messages);
        assert!(budget.is_unused(), "something of the budget is lost");
    }
    passed(bytes, size, limit);
    for message in &expected.0 {
        read(message);
    }
    sent(bytes, size);
}

/// The gateway lets pass exactly what has no message that is too long, compressed or not.
fn passed(bytes: &[u8], size: usize, limit: usize) {
    let mut rest = bytes;
    let mut sound = true;
    while let [_, a, b, c, d, behind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        sound &= length <= limit;
        rest = behind.get(length..).unwrap_or_default();
    }
    let mut meter = Meter::messages(limit as u64);
    let passes = bytes.chunks(size).all(|piece| meter.take(piece));
    assert_eq!(passes, sound, "pieces of {size} bytes are measured otherwise");
}

type Found = (Vec<Bytes>, Option<FrameError>);

/// By the letter of the protocol, over all bytes at once.
fn plainly(bytes: &[u8], limit: usize) -> Found {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let [compressed, a, b, c, d, behind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if *compressed != 0 {
            return (messages, Some(FrameError::Compressed));
        }
        if length > limit {
            return (messages, Some(FrameError::TooLong { length, limit }));
        }
        let Some((message, left)) = behind.split_at_checked(length) else {
            return (messages, Some(FrameError::CutOff));
        };
        messages.push(Bytes::copy_from_slice(message));
        rest = left;
    }
    (messages, (!rest.is_empty()).then_some(FrameError::CutOff))
}

fn unframed(bytes: &[u8], size: usize, limit: usize, budget: &Budget) -> Found {
    let mut unframe = Unframe::new(limit, budget);
    let mut messages = Vec::new();
    for piece in bytes.chunks(size) {
        if let Err(error) = unframe.push(Bytes::copy_from_slice(piece)) {
            return (messages, Some(error));
        }
        loop {
            match unframe.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, unframe.finish().err())
}

/// One message, in both forms.
fn read(message: &Bytes) {
    let flat = StreamedRequest::decode(message.clone());
    let Ok(generated) = InternalInvokeRequestStream::decode(message.clone()) else {
        return;
    };
    let flat = flat.expect("what the protocol allows can be read");
    assert_eq!(
        StreamedRequest::decode(framed(&flat).slice(5..)).as_ref(),
        Ok(&flat),
        "written and read it is another"
    );
    assert_eq!(flat.payload, generated.payload);
    if let (Some(flat), Some(generated)) = (&flat.head, &generated.request) {
        assert_eq!((flat.version, &flat.message), (generated.ver, &generated.message));
        for (name, values) in &generated.metadata {
            // Of entries with one name the last one counts in a map.
            let entry = flat.metadata.iter().rev().find(|entry| entry.name == name.as_bytes());
            let entry = entry.and_then(|entry| entry.values.clone()).unwrap_or_default();
            assert_eq!(entry.values, values.values, "{name} has other values");
        }
    }
    if let Some(head) = flat.head.clone() {
        let mut headers = metadata::from_peer(head.metadata).headers;
        let parties = Parties {
            caller: "me",
            namespace: "ns",
            callee: "you",
        };
        metadata::stamp(&mut headers, &parties);
        let callers: Vec<_> = headers.get_all(metadata::CALLER).iter().collect();
        assert_eq!(callers, ["me"], "a peer says who calls");
        let spelled = |name: &&str| *name != metadata::CALLER && name.replace('_', "-") == metadata::CALLER;
        let other = headers.keys().map(http::HeaderName::as_str).find(spelled);
        assert_eq!(other, None, "another spelling of who calls is left");
    }
    let _ = flat.into_payload();
}

/// A body in chunks is the body again.
fn sent(body: &[u8], size: usize) {
    let head = head_field(&Request {
        version: 1,
        ..Request::default()
    });
    let (mut out, mut sequence) = (BytesMut::new(), 0);
    let mut head = Some(&head);
    for piece in body.chunks(size.max(64)) {
        put_chunks(&mut out, head.take(), piece, &mut sequence);
    }
    let (messages, end) = unframed(&out, size, 1 << 20, &Budget::new(64 << 20));
    assert_eq!(end, None);
    let mut received = Vec::new();
    for (at, message) in messages.into_iter().enumerate() {
        let message = StreamedRequest::decode(message).expect("our own message");
        assert_eq!(message.head.is_some(), at == 0);
        let payload = message.payload.expect("a piece");
        assert_eq!(payload.seq, at as u64);
        received.extend_from_slice(&payload.data);
    }
    assert_eq!(received, body, "the body is another");
}
