//! Where a call stands in a trace: the W3C headers, and gRPC's older binary form.
//!
//! One idea: what cannot be read counts as "in no trace" (all zeros), as Dapr tells it to applications. Must never start a
//! trace of its own here.

use http::HeaderMap;
use palladium_engine_pubsub::Trace;

/// In no trace.
pub const NOWHERE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// Trace, span and flags.
struct Context {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Where the headers of a request say that the call stands.
pub fn of_headers(headers: &HeaderMap) -> Trace {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    match valid(text("traceparent")) {
        Some(parent) => Trace {
            parent: parent.to_owned(),
            state: text("tracestate").to_owned(),
        },
        None => Trace {
            parent: NOWHERE.to_owned(),
            state: String::new(),
        },
    }
}

/// The text, if it is a `traceparent`.
pub fn valid(text: &str) -> Option<&str> {
    read(text).map(|_| text)
}

/// The same in gRPC's binary form.
pub fn binary(text: &str) -> Option<[u8; 29]> {
    let context = read(text)?;
    let mut binary = [0; 29];
    binary[2..18].copy_from_slice(&context.trace);
    binary[18] = 1;
    binary[19..27].copy_from_slice(&context.span);
    binary[27] = 2;
    binary[28] = context.flags;
    Some(binary)
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
    }
}
