//! The cryptography API over gRPC: documents as streams, in both directions at once.
//!
//! One idea: the first message says what is wanted, and every message may carry a numbered piece; an answer is sent as soon
//! as a segment is ready, so that a document of any length goes through in bounded memory. Must never go on after a piece
//! that is missing, nor wait for a first message without a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use palladium_engine_crypto::{CryptoError, Decryptor, HeaderReader, OVERHEAD, SEGMENT};
use palladium_proto::common::StreamPayload;
use palladium_proto::runtime::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse};
use palladium_tasks::Tasks;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::crypto::{self, Provider, Wanted, decryptor, encryptor};
use crate::errors::grpc_fault;
use crate::server::Server;

/// How long the first message may take.
const FIRST: Duration = Duration::from_secs(5);
/// Answers on their way.
const AHEAD: usize = 4;

/// What the caller receives. Dropping it ends the work.
pub struct Document<T> {
    receiver: mpsc::Receiver<Result<T, Status>>,
    _tasks: Tasks,
}

impl<T> Stream for Document<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx)
    }
}

fn refused(server: &Server, error: &CryptoError) -> Status {
    grpc_fault(server, &crypto::grpc_fault(error))
}

fn failed(reason: impl Into<String>) -> CryptoError {
    CryptoError::Failed(reason.into())
}

fn bad(reason: &str) -> CryptoError {
    CryptoError::BadRequest(reason.to_owned())
}

/// A message of a stream, whichever way the document goes.
trait Piece: Sized {
    fn has_options(&self) -> bool;
    fn payload(&mut self) -> Option<StreamPayload>;
}

macro_rules! pieces {
    ($($request:ty),*) => {$(
        impl Piece for $request {
            fn has_options(&self) -> bool {
                self.options.is_some()
            }

            fn payload(&mut self) -> Option<StreamPayload> {
                self.payload.take()
            }
        }
    )*};
}
pieces!(EncryptRequest, DecryptRequest);

async fn first<M: Piece>(asked: &mut Streaming<M>) -> Result<M, CryptoError> {
    let first = timeout(FIRST, asked.message()).await;
    let first = first.map_err(|_| bad("error waiting for first message: context deadline exceeded"))?;
    let first = first.map_err(|status| failed(format!("error receiving the first message: {status}")))?;
    let first = first.ok_or_else(|| failed("error receiving the first message: EOF"))?;
    match first.has_options() {
        true => Ok(first),
        false => Err(bad("first message does not contain the required options")),
    }
}

/// The pieces of a document, in order.
struct Pieces<M> {
    /// The piece of the first message.
    first: Option<StreamPayload>,
    asked: Streaming<M>,
    expected: u64,
}

impl<M: Piece> Pieces<M> {
    fn new(mut first: M, asked: Streaming<M>) -> Self {
        Self {
            first: first.payload(),
            asked,
            expected: 0,
        }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, CryptoError> {
        loop {
            let payload = match self.first.take() {
                Some(first) => Some(first),
                None => {
                    let message = self.asked.message().await;
                    let message = message.map_err(|status| failed(format!("error receiving message: {status}")))?;
                    let Some(mut message) = message else {
                        return Ok(None);
                    };
                    if message.has_options() {
                        return Err(failed("options found in non-leading message"));
                    }
                    message.payload()
                }
            };
            let Some(payload) = payload else { continue };
            let expected = self.expected;
            if payload.seq != expected {
                let seq = payload.seq;
                return Err(failed(format!(
                    "invalid sequence number received: {seq} (expected: {expected})"
                )));
            }
            self.expected += 1;
            return Ok(Some(payload.data));
        }
    }
}

/// Numbers what is ready and sends it.
struct Answers<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    wrap: fn(StreamPayload) -> T,
    seq: u64,
}

impl<T> Answers<T> {
    /// Whether the caller still receives.
    async fn send(&mut self, out: &mut BytesMut) -> bool {
        while !out.is_empty() {
            let data = out.split_to(out.len().min(SEGMENT + OVERHEAD)).freeze();
            let payload = StreamPayload { data, seq: self.seq };
            self.seq += 1;
            let answer = (self.wrap)(payload);
            if self.sender.send(Ok(answer)).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Does the work beside the answers.
fn document<T, F>(server: Arc<Server>, wrap: fn(StreamPayload) -> T, run: impl FnOnce(Answers<T>) -> F) -> Document<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), CryptoError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    let running = run(Answers {
        sender: sender.clone(),
        wrap,
        seq: 0,
    });
    let mut tasks = Tasks::new();
    tasks.spawn("crypto-document", async move {
        if let Err(error) = running.await {
            let _ = sender.send(Err(refused(&server, &error))).await;
        }
    });
    Document {
        receiver,
        _tasks: tasks,
    }
}

pub(super) async fn encrypt(
    server: Arc<Server>,
    mut asked: Streaming<EncryptRequest>,
) -> Result<Document<EncryptResponse>, Status> {
    let begun = async {
        let mut first = first(&mut asked).await?;
        let options = first.options.take().unwrap_or_default();
        if options.key_name.is_empty() {
            return Err(bad("missing property 'keyName' in the options message"));
        }
        if options.key_wrap_algorithm.is_empty() {
            return Err(bad("missing property 'keyWrapAlgorithm' in the options message"));
        }
        let provider = crypto::find(&server, &options.component_name)?;
        let wanted = Wanted {
            key_name: &options.key_name,
            algorithm: &options.key_wrap_algorithm,
            cipher: &options.data_encryption_cipher,
            decryption_key_name: &options.decryption_key_name,
            omit_key_name: options.omit_decryption_key_name,
        };
        Ok((encryptor(&server, &provider, &wanted).await?, first))
    };
    let (mut encryptor, first) = begun.await.map_err(|error| refused(&server, &error))?;
    let mut pieces = Pieces::new(first, asked);
    let wrap = |payload| EncryptResponse { payload: Some(payload) };
    Ok(document(server, wrap, |mut answers| async move {
        let mut out = BytesMut::new();
        while let Some(data) = pieces.next().await? {
            for data in data.chunks(SEGMENT) {
                encryptor.push(data, &mut out)?;
                if !answers.send(&mut out).await {
                    return Ok(());
                }
            }
        }
        encryptor.finish(&mut out)?;
        answers.send(&mut out).await;
        Ok(())
    }))
}

pub(super) async fn decrypt(
    server: Arc<Server>,
    mut asked: Streaming<DecryptRequest>,
) -> Result<Document<DecryptResponse>, Status> {
    let begun = async {
        let mut first = first(&mut asked).await?;
        let options = first.options.take().unwrap_or_default();
        let provider = crypto::find(&server, &options.component_name)?;
        let mut pieces = Pieces::new(first, asked);
        let (decryptor, rest) = opened(&server, &provider, &mut pieces, &options.key_name).await?;
        Ok((decryptor, rest, pieces))
    };
    let (mut decryptor, rest, mut pieces) = begun.await.map_err(|error| refused(&server, &error))?;
    let wrap = |payload| DecryptResponse { payload: Some(payload) };
    Ok(document(server, wrap, |mut answers| async move {
        let mut out = BytesMut::new();
        let mut next = Some(Bytes::from(rest));
        while let Some(data) = next {
            for data in data.chunks(SEGMENT) {
                decryptor.push(data, &mut out)?;
                if !answers.send(&mut out).await {
                    return Ok(());
                }
            }
            next = pieces.next().await?;
        }
        decryptor.finish(&mut out)?;
        answers.send(&mut out).await;
        Ok(())
    }))
}

async fn opened(
    server: &Server,
    provider: &Provider,
    pieces: &mut Pieces<DecryptRequest>,
    key_name: &str,
) -> Result<(Decryptor, Vec<u8>), CryptoError> {
    let mut reader = HeaderReader::default();
    while let Some(data) = pieces.next().await? {
        if let Some(header) = reader.push(&data)? {
            return decryptor(server, provider, header, key_name).await;
        }
    }
    Err(reader.unfinished())
}
