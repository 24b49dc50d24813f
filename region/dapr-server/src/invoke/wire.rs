//! The messages between two Dapr Servers, in a flat form, and gRPC's framing around them.
//!
//! One idea: on the wire a protobuf map is a list of entries, so metadata are read and written as a list whose names and
//! values are slices of the buffer they came in: no hash table, no copy for each header. Numbers are those of
//! `service_invocation.proto`; a test holds both forms against each other. Must never accept a message longer than the
//! limit it is given, nor a compressed one.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use palladium_http::{Budget, Exhausted, Held};
use palladium_proto::common::{InvokeRequest, InvokeResponse, StreamPayload};
use palladium_proto::internals::Status as InternalStatus;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// The methods of the service that are served here.
pub const SERVICE: &str = "/dapr.proto.internals.v1.ServiceInvocation/";
/// Version 1 of the messages.
pub const V1: i32 = 1;
/// Bytes of payload in one message, as the original sends: every peer's message limit has room for it.
pub const CHUNK: usize = 2 << 10;
/// gRPC's length prefix: the bytes of flag and length before a message.
pub const PREFIX: usize = 5;

/// Values of one header.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Values {
    /// In order.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub values: Vec<Bytes>,
}

/// One entry of a metadata map.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// Its name.
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    /// Its values.
    #[prost(message, optional, tag = "2")]
    pub values: Option<Values>,
}

/// `InternalInvokeRequest` without the actor.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// [`V1`].
    #[prost(int32, tag = "1")]
    pub version: i32,
    /// The caller's headers or metadata.
    #[prost(message, repeated, tag = "2")]
    pub metadata: Vec<Entry>,
    /// What is called.
    #[prost(message, optional, tag = "3")]
    pub message: Option<InvokeRequest>,
}

/// `InternalInvokeResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// An HTTP status from 100 on, a gRPC code below.
    #[prost(message, optional, tag = "1")]
    pub status: Option<InternalStatus>,
    /// The application's headers.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<Entry>,
    /// The application's trailers.
    #[prost(message, repeated, tag = "3")]
    pub trailers: Vec<Entry>,
    /// What was answered.
    #[prost(message, optional, tag = "4")]
    pub message: Option<InvokeResponse>,
}

/// One message of a streamed request.
#[derive(Clone, PartialEq, Message)]
pub struct StreamedRequest {
    /// Only in the first one.
    #[prost(message, optional, tag = "1")]
    pub head: Option<Request>,
    /// A piece of the body.
    #[prost(message, optional, tag = "2")]
    pub payload: Option<StreamPayload>,
}

/// One message of a streamed answer.
#[derive(Clone, PartialEq, Message)]
pub struct StreamedResponse {
    /// Only in the first one; the original sends empty ones in others, too.
    #[prost(message, optional, tag = "1")]
    pub head: Option<Response>,
    /// A piece of the body.
    #[prost(message, optional, tag = "2")]
    pub payload: Option<StreamPayload>,
}

/// A message that carries a piece of a body.
pub trait Streamed: Message + Default {
    /// The piece, or nothing; `Err` when a head stands where none may.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn into_payload(self) -> Result<Option<StreamPayload>, &'static str>;
}

impl Streamed for StreamedRequest {
    fn into_payload(self) -> Result<Option<StreamPayload>, &'static str> {
        match self.head {
            Some(head) if head.message.is_some() || !head.metadata.is_empty() => {
                Err("request metadata found in non-leading chunk")
            }
            _ => Ok(self.payload),
        }
    }
}

impl Streamed for StreamedResponse {
    fn into_payload(self) -> Result<Option<StreamPayload>, &'static str> {
        match self.head {
            Some(head) if head.message.is_some() || head.status.is_some() || !head.headers.is_empty() => {
                Err("response metadata found in non-leading chunk")
            }
            _ => Ok(self.payload),
        }
    }
}

/// The head of a streamed call, ready to be sent: it may be followed by a first piece of the body in the same message.
pub fn head_field(head: &impl Message) -> Bytes {
    let length = head.encoded_len();
    let mut field = BytesMut::with_capacity(key_len(1) + encoded_len_varint(length as u64) + length);
    encode_key(1, WireType::LengthDelimited, &mut field);
    encode_varint(length as u64, &mut field);
    head.encode_raw(&mut field);
    field.freeze()
}

/// Appends messages that carry `data`, the first of them with `head` before it. Counts `sequence` on.
pub fn put_chunks(out: &mut BytesMut, head: Option<&Bytes>, data: &[u8], sequence: &mut u64) {
    out.reserve(head.map_or(0, Bytes::len) + data.len() + (data.len() / CHUNK + 1) * 24);
    let mut head = head;
    if data.is_empty()
        && let Some(head) = head
    {
        put_prefix(out, head.len());
        out.put_slice(head);
        return;
    }
    for piece in data.chunks(CHUNK) {
        let count = *sequence;
        let data_length = key_len(1) + encoded_len_varint(piece.len() as u64) + piece.len();
        let count_length = if count == 0 {
            0
        } else {
            key_len(2) + encoded_len_varint(count)
        };
        let payload = data_length + count_length;
        let field = key_len(2) + encoded_len_varint(payload as u64) + payload;
        let head = head.take();
        put_prefix(out, head.map_or(0, Bytes::len) + field);
        if let Some(head) = head {
            out.put_slice(head);
        }
        encode_key(2, WireType::LengthDelimited, out);
        encode_varint(payload as u64, out);
        encode_key(1, WireType::LengthDelimited, out);
        encode_varint(piece.len() as u64, out);
        out.put_slice(piece);
        if count != 0 {
            encode_key(2, WireType::Varint, out);
            encode_varint(count, out);
        }
        *sequence += 1;
    }
}

/// One message with its prefix.
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + length);
    put_prefix(&mut out, length);
    message.encode_raw(&mut out);
    out.freeze()
}

fn put_prefix(out: &mut BytesMut, length: usize) {
    out.put_u8(0);
    // Longer messages than the limit of any body cannot be built here.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Why a stream of messages cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Compression was never agreed on.
    #[error("a compressed message, which was never agreed on")]
    Compressed,
    /// Longer than allowed.
    #[error("received message larger than max ({length} vs. {limit})")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The stream ended inside a message.
    #[error("the stream ended inside a message")]
    CutOff,
    /// The process holds too much data of other calls.
    #[error("{0}")]
    NoRoom(#[from] Exhausted),
}

/// Finds messages in the bytes of a stream. What waits here counts against the budget, and messages do until they are gone.
#[derive(Debug)]
pub struct Unframe {
    /// The beginning of a message that came in pieces.
    buffer: BytesMut,
    /// For what is in `buffer`.
    room: Held,
    /// What came last, as long as nothing is waiting in `buffer`.
    shared: Bytes,
    limit: usize,
    budget: Budget,
}

impl Unframe {
    /// `limit`: greatest message in bytes.
    pub fn new(limit: usize, budget: &Budget) -> Self {
        Self {
            buffer: BytesMut::new(),
            room: budget.hold(),
            shared: Bytes::new(),
            limit,
            budget: budget.clone(),
        }
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn push(&mut self, data: Bytes) -> Result<(), FrameError> {
        if self.buffer.is_empty() && self.shared.is_empty() {
            self.shared = self.budget.tie(data)?;
            return Ok(());
        }
        self.room.take(self.shared.len() + data.len())?;
        self.buffer.extend_from_slice(&self.shared);
        self.shared = Bytes::new();
        self.buffer.extend_from_slice(&data);
        if !matches!(first_length(&self.buffer, self.limit), Ok(None)) {
            self.room = self.budget.hold();
            self.shared = self.budget.tie(self.buffer.split().freeze())?;
        }
        Ok(())
    }

    /// The next whole message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = first_length(&self.shared, self.limit)? else {
            return Ok(None);
        };
        self.shared.advance(PREFIX);
        Ok(Some(self.shared.split_to(length)))
    }

    /// Whether the stream may end here.
    ///
    /// # Errors
    /// When a message has begun and is not whole.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() && self.shared.is_empty() {
            Ok(())
        } else {
            Err(FrameError::CutOff)
        }
    }
}

/// The length of the message that these bytes begin with, without its prefix, if it is whole.
///
/// # Errors
/// When it is compressed or longer than `limit` bytes.
pub fn first_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some((prefix, rest)) = bytes.split_at_checked(PREFIX) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if prefix[0] != 0 {
        return Err(FrameError::Compressed);
    }
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    Ok((rest.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests;
