//! Where a call stands in a trace: the W3C headers, gRPC's older binary form, and the spans of this process.
//!
//! One idea: a call's own headers say where it stands. Where calls are traced, they are rewritten at the door to say that it
//! stands in the span of this process (see [`Tracer`]), so that whatever passes them on passes on the right thing; where
//! they are not, they go through as they came. What cannot be read counts as "in no trace" (all zeros), as Dapr tells it to
//! applications. Must never cost anything where nothing is configured, nor make a call wait for a collector.

mod baggage;
mod export;
mod tracer;
mod zipkin;

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use palladium_engine_pubsub::Trace;

pub use baggage::{BAGGAGE, BadBaggage, check as check_baggage, joined as joined_baggage};
pub use tracer::{About, Kind, Span, Tracer, Tracing, TracingError};

/// In no trace.
pub const NOWHERE: &str = "00-00000000000000000000000000000000-0000000000000000-00";
/// Trace, span and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What others know of the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// gRPC's older form of the former.
pub const TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");

/// Trace, span and flags.
struct Context {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Where the headers of a request say that the call stands.
pub fn of_headers(headers: &HeaderMap) -> Trace {
    match valid(text(headers, &TRACEPARENT)) {
        Some(parent) => Trace {
            parent: parent.to_owned(),
            state: text(headers, &TRACESTATE).to_owned(),
        },
        None => Trace {
            parent: NOWHERE.to_owned(),
            state: String::new(),
        },
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Metadata of a gRPC call: what it says in the older form it says in the newer one from here on.
pub fn unify(headers: &mut HeaderMap) {
    let Some(value) = headers.remove(&TRACE_BIN) else {
        return;
    };
    let text = value.as_bytes();
    let decoded = STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text));
    if let Some(parent) = decoded.ok().and_then(|bytes| of_binary(&bytes))
        && let Ok(parent) = HeaderValue::try_from(parent)
    {
        headers.insert(TRACEPARENT, parent);
    }
}

/// The other way round, for a call that is passed on as it is: what is said is said in both forms.
pub fn in_both_forms(headers: &mut HeaderMap) {
    let said = valid(text(headers, &TRACEPARENT));
    if let Some(value) = said.and_then(binary_header) {
        headers.insert(TRACE_BIN, value);
    }
}

/// Headers for an application that speaks HTTP: it is always told where it stands.
pub fn for_http(headers: &mut HeaderMap) {
    headers.remove(&TRACE_BIN);
    if !headers.contains_key(&TRACEPARENT) {
        headers.insert(TRACEPARENT, HeaderValue::from_static(NOWHERE));
    }
}

/// The same for one that speaks gRPC, in both forms.
pub fn for_grpc(headers: &mut HeaderMap) {
    let said = valid(text(headers, &TRACEPARENT)).map_or(Cow::Borrowed(NOWHERE), |said| Cow::Owned(said.to_owned()));
    if said == NOWHERE {
        headers.insert(TRACEPARENT, HeaderValue::from_static(NOWHERE));
        headers.remove(&TRACESTATE);
    }
    if let Some(value) = binary_header(&said) {
        headers.insert(TRACE_BIN, value);
    }
}

/// What goes along with a call of a service outside: where the call stands, always,
/// and its baggage.
pub fn put_beside(headers: &HeaderMap, metadata: &mut HashMap<String, String>) {
    let Trace { parent, state } = of_headers(headers);
    let baggage = joined_baggage(headers);
    let baggage = baggage
        .as_ref()
        .and_then(|baggage| baggage.to_str().ok())
        .unwrap_or_default();
    metadata.insert(TRACEPARENT.as_str().to_owned(), parent);
    for (name, value) in [(TRACESTATE.as_str(), state.as_str()), (BAGGAGE.as_str(), baggage)] {
        if !value.is_empty() {
            metadata.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// The text, if it is a `traceparent`.
pub fn valid(text: &str) -> Option<&str> {
    read(text).map(|_| text)
}

/// The same in gRPC's binary form; zeros for [`NOWHERE`].
pub fn binary(text: &str) -> Option<[u8; 29]> {
    let context = if text == NOWHERE {
        Context {
            trace: [0; 16],
            span: [0; 8],
            flags: 0,
        }
    } else {
        read(text)?
    };
    let mut binary = [0; 29];
    binary[2..18].copy_from_slice(&context.trace);
    binary[18] = 1;
    binary[19..27].copy_from_slice(&context.span);
    binary[27] = 2;
    binary[28] = context.flags;
    Some(binary)
}

/// That as a header.
pub fn binary_header(text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(STANDARD_NO_PAD.encode(binary(text)?)).ok()
}

/// A `traceparent` of gRPC's binary form. Fields after the first may be missing, as with the original.
fn of_binary(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_prefix(&[0, 0])?;
    let (trace, rest) = rest.split_at_checked(16)?;
    let (span, rest) = match rest.strip_prefix(&[1]).and_then(|rest| rest.split_at_checked(8)) {
        Some((span, rest)) => (span, rest),
        None => (&[0; 8][..], rest),
    };
    let flags = match rest {
        [2, flags, ..] => *flags,
        _ => 0,
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let made = format!("00-{}-{}-{flags:02x}", hex(trace), hex(span));
    valid(&made).is_some().then_some(made)
}

fn read(text: &str) -> Option<Context> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() || flags.len() != 2 {
        return None;
    }
    let context = Context {
        trace: hex(trace)?,
        span: hex(span)?,
        flags: u8::from_str_radix(flags, 16).ok()?,
    };
    (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if text.len() != 2 * N || !text.as_bytes().iter().all(digits) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02";

    #[test]
    fn what_is_no_trace_is_nowhere() {
        assert_eq!(valid(GOOD), Some(GOOD));
        for bad in [
            "",
            NOWHERE,
            "00-4bf9-00f0-00",
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "01-4"),
            &format!("{GOOD}-1"),
            "é",
        ] {
            assert_eq!(valid(bad), None, "{bad}");
        }
        assert_eq!(of_headers(&HeaderMap::new()).parent, NOWHERE);
    }

    #[test]
    fn the_binary_form_has_its_fields() {
        let binary = binary(GOOD).unwrap();
        assert_eq!(
            (binary[0], binary[1], binary[18], binary[27], binary[28]),
            (0, 0, 1, 2, 2)
        );
        assert_eq!(&binary[19..21], &[0x00, 0xf0]);
        assert_eq!(of_binary(&binary).as_deref(), Some(GOOD));
        assert_eq!(super::binary(NOWHERE).map(|zeros| zeros[28]), Some(0));
        for bad in [&[][..], &[1, 0], &[0; 29], &binary[..10]] {
            assert_eq!(of_binary(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_said_in_the_older_form_is_said_in_the_newer() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACE_BIN, binary_header(GOOD).unwrap());
        unify(&mut headers);
        assert!(headers.len() == 1 && headers[TRACEPARENT] == GOOD, "{headers:?}");
        for_grpc(&mut headers);
        assert_eq!(headers[TRACE_BIN], binary_header(GOOD).unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static("nonsense"));
        headers.insert(TRACE_BIN, HeaderValue::from_static("?"));
        unify(&mut headers);
        assert_eq!(headers[TRACEPARENT], "nonsense");
        for_http(&mut headers);
        assert_eq!(headers[TRACEPARENT], "nonsense", "as with the original");
        for_grpc(&mut headers);
        assert_eq!(headers[TRACEPARENT], NOWHERE);
    }
}
