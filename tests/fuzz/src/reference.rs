//! A plain reading of HTTP/1.1 by the letter of RFC 9112, to hold the product's against.
//!
//! One idea: slow and obvious, over the whole input at once, it stops at the first thing that the standard does not give
//! exactly one meaning. It may read on where the product refuses; where the product goes on, both must have read the same.
//! Must never share code with the product or its libraries.

use std::collections::BTreeMap;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: Vec<u8>,
    /// By name in lower case; values in order.
    pub(crate) headers: BTreeMap<String, Vec<Vec<u8>>>,
    /// `None`: its end did not come, or is not where it should be.
    pub(crate) body: Option<Vec<u8>>,
}

/// The requests of a connection's bytes; after one whose end is unknown there is none.
pub(crate) fn requests(bytes: &[u8]) -> Vec<Request> {
    let mut found = Vec::new();
    let mut rest = bytes;
    loop {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        let Some((request, left)) = request(rest) else {
            return found;
        };
        let whole = request.body.is_some();
        found.push(request);
        if !whole {
            return found;
        }
        rest = left;
    }
}

/// The next line without its end; neither of its two characters may stand anywhere else.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let rest = bytes[end..].strip_prefix(b"\r\n")?;
    Some((&bytes[..end], rest))
}

fn request(bytes: &[u8]) -> Option<(Request, &[u8])> {
    let (first, rest) = line(bytes)?;
    let mut words = first.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !is_token(method) || target.is_empty() {
        return None;
    }
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return None;
    }
    let (headers, rest) = fields(rest)?;
    let (body, rest) = match body(&headers, rest) {
        Some((body, rest)) => (Some(body), rest),
        None => (None, &rest[..0]),
    };
    let request = Request {
        method: text(method),
        target: target.to_vec(),
        headers,
        body,
    };
    Some((request, rest))
}

type Fields = BTreeMap<String, Vec<Vec<u8>>>;

/// Lines up to an empty one.
fn fields(bytes: &[u8]) -> Option<(Fields, &[u8])> {
    let mut found = Fields::new();
    let mut rest = bytes;
    loop {
        let (one, left) = line(rest)?;
        rest = left;
        if one.is_empty() {
            return Some((found, rest));
        }
        let colon = one.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&one[..colon], &one[colon + 1..]);
        if !is_token(name) {
            return None;
        }
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
        let values = found.entry(text(name).to_ascii_lowercase()).or_default();
        values.push(value[start..end].to_vec());
    }
}

fn body<'a>(headers: &Fields, rest: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let only = |name: &str| match headers.get(name).map(Vec::as_slice) {
        None => Some(None),
        Some([value]) => Some(Some(value.as_slice())),
        Some(_) => None,
    };
    match (only("content-length")?, only("transfer-encoding")?) {
        (None, None) => Some((Vec::new(), rest)),
        (Some(length), None) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length: usize = digits.then(|| text(length).parse().ok())??;
            let (body, rest) = rest.split_at_checked(length)?;
            Some((body.to_vec(), rest))
        }
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => chunks(rest),
        _ => None,
    }
}

fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let (size, left) = line(rest)?;
        if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(&text(size), 16).ok()?;
        if size == 0 {
            let (_, rest) = fields(left)?;
            return Some((body, rest));
        }
        let (data, left) = left.split_at_checked(size)?;
        body.extend_from_slice(data);
        rest = left.strip_prefix(b"\r\n")?;
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let special = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

/// Only asked about ASCII.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
