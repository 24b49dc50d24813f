//! What must be said about a request's target and host without understanding it.
//!
//! One idea: the bytes are passed on as they came; only what no honest client sends is refused. The single name that is
//! looked for, in every spelling, is Dapr's `shutdown`, which is not an application's to call. Must never normalise
//! anything that is passed on.

use http::uri::Authority;

/// Whether each `%` is followed by two hexadecimal digits. Control characters never get here: HTTP parsing refuses them.
pub(crate) fn is_well_encoded(target: &str) -> bool {
    let bytes = target.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a query tries to carry a token.
pub(crate) fn has_token_parameter(query: &str) -> bool {
    contains_ignoring_case(query.as_bytes(), b"dapr-api-token")
}

/// The host of an authority as names are compared: no port, no final dot. `None` when it holds more than host and port.
pub(crate) fn host(authority: &str) -> Option<Box<str>> {
    let authority: Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let host = authority.host();
    let host = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into())
}

/// Whether the path is Dapr's `shutdown` in HTTP or gRPC in any of the ways in which a server might read it.
pub(crate) fn is_shutdown(path: &str) -> bool {
    let plain = memchr::memchr3(b'%', b';', b'\\', path.as_bytes()).is_none();
    if plain && !contains_ignoring_case(path.as_bytes(), b"shutdown") {
        return false;
    }
    let mut bytes = path.as_bytes().to_vec();
    // A part that one reading sees as two is taken away by one `..` in another: so each is tried by itself.
    for _ in 0..=ROUNDS {
        let told = |number: u8| {
            let way = Way {
                backslash: number & 1 != 0,
                parameters: number & 2 != 0,
                noise: number & 4 != 0,
            };
            way.is_shutdown(&bytes)
        };
        // Whatever a reading leaves out stands around a name, never in it.
        if contains_ignoring_case(&bytes, b"shutdown") && (0..8).any(told) {
            return true;
        }
        if memchr::memchr(b'%', &bytes).is_none() {
            break;
        }
        bytes = decode(&bytes);
    }
    false
}

/// How often escapes may be decoded on the way.
const ROUNDS: usize = 3;

/// How a server reads a path, beside decoding it.
struct Way {
    /// A backslash parts names, too.
    backslash: bool,
    /// What follows a semicolon is no part of a name.
    parameters: bool,
    /// What cannot be seen around a name is no part of it.
    noise: bool,
}

impl Way {
    fn is_shutdown(&self, path: &[u8]) -> bool {
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let path = &path[..end.unwrap_or(path.len())];
        let mut names: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/' || (self.backslash && *byte == b'\\')) {
            match self.name(part) {
                b"" | b"." => {}
                b".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        let is = |name: &[u8], word: &[u8]| name.eq_ignore_ascii_case(word);
        let starts = |name: &[u8]| name.get(..4).is_some_and(|start| is(start, b"v1.0"));
        matches!(names.as_slice(), [first, last] if is(last, b"shutdown") && (starts(first) || is(first, GRPC)))
    }

    fn name<'a>(&self, part: &'a [u8]) -> &'a [u8] {
        let parameters = part.iter().position(|byte| *byte == b';').filter(|_| self.parameters);
        let name = &part[..parameters.unwrap_or(part.len())];
        if !self.noise {
            return name;
        }
        let seen = |byte: &u8| *byte > b' ' && *byte < 0x7f;
        let start = name.iter().position(seen).unwrap_or(name.len());
        let stop = name.iter().rposition(seen).map_or(start, |last| last + 1);
        &name[start..stop]
    }
}

const GRPC: &[u8] = b"dapr.proto.runtime.v1.dapr";

/// One round of percent-decoding; what is not an escape stays.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at + 1).and_then(digit).zip(bytes.get(at + 2).and_then(digit));
        if let (b'%', Some((high, low))) = (byte, escape) {
            decoded.push(high << 4 | low);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

fn contains_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_shutdown_is_found() {
        for path in [
            "/v1.0/shutdown",
            "/v1.0/shutdown/",
            "//v1.0//shutdown",
            "/V1.0/ShutDown",
            "/v1.0/shut%64own",
            "/v1.0/%73hutdown",
            "/%76%31%2e%30/shutdown",
            "/v1.0%2fshutdown",
            "/v1.0%252Fshutdown",
            "/v1.0/./shutdown",
            "/v1.0/x/../shutdown",
            "/v1.0/x/%2e%2e/shutdown",
            "/v1.0/state/..%2f..%2fv1.0/shutdown",
            "/v1.0\\shutdown",
            "/v1.0/shutdown;a=b",
            "/v1.0/;/shutdown",
            // Taken away as one part by one reading, as two by another.
            "/v1.0/a\\b/../shutdown",
            "/v1.0/a%2Fb/../shutdown",
            "/v1.0/..;a/../shutdown",
            "/v1.0/a%3Fb/../shutdown",
            "/v1.0/shutdown%00",
            "/v1.0/shutdown%20",
            "/v1.0/shutdown%3Fx",
            "/v1.0/shutdown%23x",
            "/v1.0-alpha1/shutdown",
            "/dapr.proto.runtime.v1.Dapr/Shutdown",
        ] {
            assert!(is_shutdown(path), "{path}");
        }
    }

    #[test]
    fn other_paths_with_the_word_pass() {
        for path in [
            "/v1.0/invoke/app/method/shutdown",
            "/v1.0/state/shutdown",
            "/shutdown",
            "/v1.0/state/s/shutdown",
            "/",
        ] {
            assert!(!is_shutdown(path), "{path}");
        }
    }

    #[test]
    fn hosts_are_compared_without_port_case_and_final_dot() {
        assert_eq!(host("LocalHost:8443").as_deref(), Some("localhost"));
        assert_eq!(host("http-prj1.example.com.").as_deref(), Some("http-prj1.example.com"));
        assert_eq!(host("[::1]:8443").as_deref(), Some("::1"));
        for bad in ["", "a b", "user@host", "a/b", ":80"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn bad_escapes_are_seen() {
        assert!(is_well_encoded("/a%2Fb%00?x=%ff"));
        for bad in ["/%", "/%2", "/%zz", "/a%2", "/?x=%g0"] {
            assert!(!is_well_encoded(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_escaping_of_shutdown_is_found(escaped in proptest::collection::vec(any::<bool>(), 13)) {
            let path: String = "v1.0/shutdown".bytes().zip(escaped).map(|(byte, escape)| {
                if escape { format!("%{byte:02x}") } else { char::from(byte).to_string() }
            }).collect();
            let path = format!("/{path}");
            prop_assert!(is_shutdown(&path), "{}", path);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in ".{0,80}") {
            is_shutdown(&text);
            is_well_encoded(&text);
            host(&text);
        }
    }
}
