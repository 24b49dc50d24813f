//! A request and its answer, as a module is shown them.
//!
//! One idea: all that a module does is done to this copy and taken over when it is through, so one that breaks off halfway
//! has done nothing. Must never hold more headers or longer bodies than its bounds, nor let a module say how a message is
//! framed.

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};

use crate::framing::is_framing;

/// Features of the interface: a body can be read and still goes on, an answer can be changed.
pub(super) const BUFFER_REQUEST: u32 = 1;
pub(super) const BUFFER_RESPONSE: u32 = 2;
/// Those that there are; trailers are not among them.
pub(super) const FEATURES: u32 = BUFFER_REQUEST | BUFFER_RESPONSE;

/// Most headers of a message, and their bytes.
const MAX_HEADERS: usize = 500;
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Longest body that a module writes.
const MAX_BODY: usize = 16 << 20;

/// What a module may not do; it breaks off.
pub(super) type Done<T> = Result<T, &'static str>;

/// A message's headers and body.
#[derive(Default)]
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    body: Bytes,
    /// How much of the body was read.
    read: usize,
    /// In its place, once something was written.
    written: Option<Vec<u8>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) features: u32,
    pub(super) is_answered: bool,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) request: Message,
    pub(super) status: StatusCode,
    pub(super) answer: Message,
}

impl Exchange {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            request: Message {
                headers: head.headers.clone(),
                body,
                ..Message::default()
            },
            ..Self::default()
        }
    }

    /// Path and query, as they came.
    pub(super) fn uri(&self) -> &str {
        self.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// An empty text means the root. Of a whole address only path and query count, as in Dapr.
    pub(super) fn set_uri(&mut self, said: &[u8]) -> Done<()> {
        let said: Uri = if said.is_empty() {
            Uri::from_static("/")
        } else {
            Uri::try_from(said).map_err(|_| "it is no path")?
        };
        let path = said.path_and_query().filter(|path| path.as_str().starts_with('/'));
        let mut parts = std::mem::take(&mut self.uri).into_parts();
        parts.path_and_query = Some(path.ok_or("a path begins with a slash")?.clone());
        self.uri = Uri::from_parts(parts).map_err(|_| "it is no path")?;
        Ok(())
    }

    pub(super) fn set_method(&mut self, said: &[u8]) -> Done<()> {
        self.method = Method::from_bytes(said).map_err(|_| "it is no method")?;
        Ok(())
    }

    pub(super) fn set_status(&mut self, said: u32) -> Done<()> {
        let status = u16::try_from(said).ok().filter(|status| (200..600).contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        self.status = status.ok_or("it is no status of an answer")?;
        Ok(())
    }

    /// The request goes on as it is now: headers for the answer to it, and its body if that is another one.
    pub(super) fn go_on(&mut self, head: &mut Parts) -> (HeaderMap, Option<Bytes>) {
        head.method = self.method.clone();
        head.uri = self.uri.clone();
        head.headers = self.request.headers.clone();
        let request = &mut self.request;
        let replaced = match request.written.take() {
            Some(written) => Some(written.into()),
            // What it has read is gone, unless it asked that it is kept.
            None if request.read > 0 && self.features & BUFFER_REQUEST == 0 => Some(request.body.slice(request.read..)),
            None => None,
        };
        if self.features & BUFFER_REQUEST == 0 {
            request.body = Bytes::new();
        }
        (std::mem::take(&mut self.answer.headers), replaced)
    }

    /// The answer to the request has come.
    pub(super) fn answered(&mut self, answer: Response<Bytes>) {
        let (head, body) = answer.into_parts();
        self.is_answered = true;
        self.status = head.status;
        self.answer = Message {
            headers: head.headers,
            body,
            ..Message::default()
        };
    }

    /// The answer as it is now.
    pub(super) fn answer(&mut self) -> Response<Bytes> {
        let message = std::mem::take(&mut self.answer);
        let body = message.written.map_or(message.body, Bytes::from);
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        *answer.headers_mut() = message.headers;
        answer
    }
}

impl Message {
    /// Names in lower case and in order.
    pub(super) fn names(&self) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> = self.headers.keys().map(|name| name.as_str().as_bytes()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn values(&self, name: &[u8]) -> Done<Vec<&[u8]>> {
        let values = self.headers.get_all(header(name)?).iter();
        Ok(values.map(HeaderValue::as_bytes).collect())
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], adds: bool) -> Done<()> {
        let name = header(name)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| "it is no header's value")?;
        if is_framing(&name) {
            return Ok(());
        }
        if !adds {
            self.headers.remove(&name);
        }
        let held: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if self.headers.len() >= MAX_HEADERS || held + name.as_str().len() + value.len() > MAX_HEADER_BYTES {
            return Err("a message has no room for so many headers");
        }
        self.headers.append(name, value);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Done<()> {
        let name = header(name)?;
        if !is_framing(&name) {
            self.headers.remove(name);
        }
        Ok(())
    }

    /// At most so many bytes that were not read before, and whether these are the last ones.
    pub(super) fn read(&mut self, most: usize) -> (Bytes, bool) {
        let end = self.body.len().min(self.read + most);
        let piece = self.body.slice(self.read..end);
        self.read = end;
        let is_end = piece.len() < most;
        (piece, is_end)
    }

    /// The first one takes the place of what there was.
    pub(super) fn write(&mut self, piece: &[u8]) -> Done<()> {
        let written = self.written.get_or_insert_default();
        if written.len() + piece.len() > MAX_BODY {
            return Err("a body has no room for so many bytes");
        }
        written.extend_from_slice(piece);
        Ok(())
    }
}

fn header(name: &[u8]) -> Done<HeaderName> {
    HeaderName::from_bytes(name).map_err(|_| "it is no header's name")
}
