//! Both forms of the messages against each other, chunks, and what is refused. Must never rely on how frames are cut.

use std::collections::HashMap;

use palladium_proto::internals::{
    InternalInvokeRequest, InternalInvokeRequestStream, InternalInvokeResponse, ListStringValue,
};

use super::*;

fn entries(pairs: &[(&'static str, &[&'static str])]) -> Vec<Entry> {
    pairs
        .iter()
        .map(|(name, values)| Entry {
            name: Bytes::from_static(name.as_bytes()),
            values: Some(Values {
                values: values
                    .iter()
                    .map(|value| Bytes::from_static(value.as_bytes()))
                    .collect(),
            }),
        })
        .collect()
}

fn map(pairs: &[(&'static str, &[&'static str])]) -> HashMap<String, ListStringValue> {
    let list = |values: &[&str]| ListStringValue {
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    pairs
        .iter()
        .map(|(name, values)| ((*name).to_owned(), list(values)))
        .collect()
}

const PAIRS: &[(&str, &[&str])] = &[("Accept", &["a/b", "c/d"]), ("X-Empty", &[""]), ("x", &[])];

#[test]
fn the_flat_form_and_the_generated_one_read_each_other() {
    let flat = Request {
        version: V1,
        metadata: entries(PAIRS),
        message: Some(InvokeRequest {
            method: "m".into(),
            ..InvokeRequest::default()
        }),
    };
    let read = InternalInvokeRequest::decode(flat.encode_to_vec().as_slice()).expect("readable");
    assert_eq!((read.ver, &read.metadata), (V1, &map(PAIRS)));
    assert_eq!(read.message, flat.message);
    let back = Request::decode(read.encode_to_vec().as_slice()).expect("readable");
    assert_eq!(back.metadata.len(), PAIRS.len());

    let generated = InternalInvokeResponse {
        status: Some(InternalStatus {
            code: 404,
            ..InternalStatus::default()
        }),
        headers: map(PAIRS),
        trailers: map(&PAIRS[..1]),
        message: Some(InvokeResponse {
            content_type: "t".into(),
            ..InvokeResponse::default()
        }),
    };
    let read = Response::decode(generated.encode_to_vec().as_slice()).expect("readable");
    assert_eq!(
        (read.status, read.message),
        (generated.status.clone(), generated.message.clone())
    );
    assert_eq!(read.trailers, entries(&PAIRS[..1]));
    assert_eq!(read.headers.len(), PAIRS.len());
}

#[test]
fn chunks_are_small_numbered_and_only_the_first_has_the_head() {
    let head = Request {
        version: V1,
        ..Request::default()
    };
    let data: Vec<u8> = (0..5000u32).map(|number| number as u8).collect();
    let mut out = BytesMut::new();
    let mut sequence = 0;
    put_chunks(&mut out, Some(&head_field(&head)), &data, &mut sequence);
    assert_eq!(sequence, 3);
    let budget = Budget::new(1 << 20);
    let mut unframe = Unframe::new(CHUNK + 64, &budget);
    // In pieces that do not fit anything.
    let mut joined = Vec::new();
    let mut count = 0;
    for piece in out.chunks(7) {
        unframe.push(Bytes::copy_from_slice(piece)).expect("room");
        while let Some(message) = unframe.next().expect("well formed") {
            let read = InternalInvokeRequestStream::decode(message).expect("readable");
            assert_eq!(read.request.is_some(), count == 0);
            let payload = read.payload.expect("each has a piece");
            assert!(payload.data.len() <= CHUNK);
            assert_eq!(payload.seq, count);
            joined.extend_from_slice(&payload.data);
            count += 1;
        }
    }
    unframe.finish().expect("whole");
    assert!(budget.is_unused());
    assert_eq!((joined, count), (data, 3));
}

#[test]
fn what_is_too_long_compressed_or_cut_off_is_refused() {
    let budget = Budget::new(100);
    let of = |bytes: &'static [u8]| {
        let mut unframe = Unframe::new(4, &budget);
        unframe.push(Bytes::from_static(bytes)).expect("room");
        unframe
    };
    let too_long = FrameError::TooLong { length: 5, limit: 4 };
    assert_eq!(of(&[0, 0, 0, 0, 5, 1]).next(), Err(too_long));
    assert_eq!(of(&[1, 0, 0, 0, 1, 1]).next(), Err(FrameError::Compressed));
    let mut unframe = of(&[0, 0, 0]);
    assert_eq!(unframe.next(), Ok(None));
    assert_eq!(unframe.finish(), Err(FrameError::CutOff));
}

#[test]
fn sec_059_what_waits_for_the_rest_of_a_message_counts_and_so_do_messages() {
    let budget = Budget::new(100);
    let mut unframe = Unframe::new(80, &budget);
    unframe.push(Bytes::from_static(&[0, 0, 0, 0, 60])).expect("room");
    assert_eq!(unframe.next(), Ok(None));
    unframe.push(Bytes::from_static(&[7; 50])).expect("room");
    assert!(budget.hold().take(46).is_err() && budget.hold().take(45).is_ok());
    let mut other = Unframe::new(80, &budget);
    let refused = other.push(Bytes::from_static(&[7; 50]));
    assert!(matches!(refused, Err(FrameError::NoRoom(_))), "{refused:?}");
    unframe.push(Bytes::from_static(&[7; 10])).expect("room");
    let message = unframe.next().expect("well formed").expect("whole");
    assert_eq!(message.len(), 60);
    drop(unframe);
    assert!(!budget.is_unused(), "the message is still here");
    drop(message);
    assert!(budget.is_unused());
}
