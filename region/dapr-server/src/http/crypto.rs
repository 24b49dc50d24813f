//! The cryptography API over HTTP.
//!
//! One idea: what the caller wants is in headers; the answer is sent when all of it is there, so that a document that fails
//! at its end is an error and not a piece of an answer. Must never decide anything: `crate::crypto` does, for both protocols.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use palladium_component::metadata::is_truthy;
use palladium_engine_crypto::{CryptoError, HeaderReader};

use super::body::Incoming;
use super::{Answer, Body, Head, body};
use crate::crypto::{Wanted, decryptor, encryptor, find, http_fault, work};
use crate::errors::Fault;
use crate::server::Server;

const KEY_NAME: &str = "dapr-key-name";
const ALGORITHM: &str = "dapr-key-wrap-algorithm";
const OMIT: &str = "dapr-omit-decryption-key-name";
const DECRYPTION_KEY_NAME: &str = "dapr-decryption-key-name";
const CIPHER: &str = "dapr-data-encryption-cipher";

fn said<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn needed<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Fault> {
    match said(headers, name) {
        "" => Err(http_fault(&CryptoError::BadRequest(format!("missing header '{name}'")))),
        value => Ok(value),
    }
}

pub(super) async fn encrypt(server: &Server, head: &Head, name: &str, incoming: Incoming) -> Answer {
    let fault = |error| http_fault(&error);
    let provider = find(server, name).map_err(fault)?;
    let headers = &head.headers;
    let wanted = Wanted {
        key_name: needed(headers, KEY_NAME)?,
        algorithm: needed(headers, ALGORITHM)?,
        cipher: said(headers, CIPHER),
        decryption_key_name: said(headers, DECRYPTION_KEY_NAME),
        omit_key_name: is_truthy(said(headers, OMIT)),
    };
    let mut encryptor = encryptor(server, &provider, &wanted).await.map_err(fault)?;
    let plain = body::read(incoming, server.max_body()).await?;
    // The answer counts beside what was read, from the beginning.
    let held = server.budget.hold();
    held.take(plain.len()).map_err(|_| Fault::busy())?;
    let mut out = BytesMut::new();
    work(&mut encryptor, &plain, &mut out).await.map_err(fault)?;
    encryptor.finish(&mut out).map_err(fault)?;
    drop(held);
    Ok(octets(out.freeze()))
}

pub(super) async fn decrypt(server: &Server, head: &Head, name: &str, incoming: Incoming) -> Answer {
    let fault = |error| http_fault(&error);
    let provider = find(server, name).map_err(fault)?;
    let document = body::read(incoming, server.max_body()).await?;
    let mut reader = HeaderReader::default();
    let header = reader.push(&document).map_err(fault)?;
    let header = header.ok_or_else(|| http_fault(&reader.unfinished()))?;
    let opened = decryptor(server, &provider, header, said(&head.headers, KEY_NAME)).await;
    let (mut decryptor, rest) = opened.map_err(fault)?;
    let held = server.budget.hold();
    held.take(2 * rest.len()).map_err(|_| Fault::busy())?;
    let mut out = BytesMut::new();
    work(&mut decryptor, &rest, &mut out).await.map_err(fault)?;
    decryptor.finish(&mut out).map_err(fault)?;
    drop(held);
    Ok(octets(out.freeze()))
}

fn octets(bytes: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::from(bytes));
    let octets = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(CONTENT_TYPE, octets);
    answer
}
