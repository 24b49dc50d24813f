//! Reading answers of HTTP services, up to a bound.
//!
//! One idea: however many answers are being read in this process, together they hold no more than [`READING`] allows. Must
//! never put an address into an error: it may hold a password.

use bytes::BytesMut;
use palladium_component::CallError;
use palladium_components_web as web;
use reqwest::Response;
use tokio::sync::Semaphore;

/// Bytes of all answers that are being read in this process; who called counts them from then on.
static READING: Semaphore = Semaphore::const_new(256 << 20);

/// An answer up to `longest` bytes, and whether that was all of it.
pub(crate) async fn read(answer: &mut Response, longest: usize) -> Result<(BytesMut, bool), CallError> {
    let mut data = BytesMut::new();
    let mut held = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unavailable)? {
        let room = longest - data.len();
        let piece_held = READING.try_acquire_many(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        let no_room = |_| CallError::Unavailable("too much data of answers is held at a time".to_owned());
        held.push(piece_held.map_err(no_room)?);
        data.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return Ok((data, false));
        }
    }
    Ok((data, true))
}

/// The library's words without the address.
pub(crate) fn unavailable(error: reqwest::Error) -> CallError {
    CallError::Unavailable(web::words(error))
}
