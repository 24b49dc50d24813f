//! What a RabbitMQ server sends, before the client library reads it: frames with headers that whoever publishes has chosen.
//!
//! One idea: however the bytes are cut up, the same becomes of them; nothing is changed but letters of tables and arrays; and
//! a plain reading of the whole finds nothing in what is let pass that nests too deep for the library's stack. Must never
//! call itself for each level of an input: that is what is guarded against.

use crate::rabbitmq_wire::shallow::{DEEPEST, Shallow};

/// The type of a frame with a message's headers.
const HEADER: u8 = 2;
/// That there are headers among the properties.
const HEADERS: usize = 1 << 13;

/// The first byte says how the others are cut up.
pub(crate) fn run(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    let (out, sound) = passed(bytes, bytes.len().max(1));
    for size in [usize::from(*cut) + 1, 1] {
        let pieces = passed(bytes, size);
        assert_eq!(
            (&pieces.0, pieces.1),
            (&out, sound),
            "pieces of {size} bytes become something else"
        );
    }
    for (before, after) in bytes.iter().zip(&out) {
        assert!(
            before == after || (b"FA".contains(before) && *after == b'x'),
            "{before} became {after}"
        );
    }
    let again = passed(&out, 7);
    assert_eq!((&again.0, again.1), (&out, sound), "what has passed is changed again");
    if !sound {
        return;
    }
    let found = Found::in_all(&out);
    assert!(found.deepest <= DEEPEST, "{} levels are let pass", found.deepest);
    if Found::in_all(bytes).deepest <= DEEPEST {
        assert_eq!(out, bytes, "what is shallow is changed");
    }
    if found.whole {
        in_step(bytes);
    }
}

/// What comes of these bytes in pieces of that size, and whether the connection may go on.
fn passed(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
    let mut bytes = bytes.to_vec();
    let mut shallow = Shallow::new();
    let sound = bytes.chunks_mut(size).all(|piece| shallow.pass(piece).is_ok());
    (bytes, sound)
}

/// Whoever was led astray by whole frames does not see what comes behind them.
fn in_step(bytes: &[u8]) {
    let mut tables: Vec<u8> = Vec::new();
    for _ in 0..DEEPEST {
        tables = [&[0, b'F'][..], &length(&tables), &tables].concat();
    }
    let properties = [&[0; 12][..], &[0x20, 0], &length(&tables), &tables].concat();
    let deep = [&[HEADER, 0, 1][..], &length(&properties), &properties, &[0xce]].concat();
    let (out, sound) = passed(&[bytes, &deep].concat(), 64);
    assert!(
        !sound || out[bytes.len()..] != deep,
        "a frame behind them is not looked at"
    );
}

fn length(of: &[u8]) -> [u8; 4] {
    u32::try_from(of.len()).expect("short").to_be_bytes()
}

/// What a plain reading finds, which gives up what is too deep.
struct Found {
    deepest: usize,
    /// Whether nothing is left of a frame that has begun.
    whole: bool,
}

impl Found {
    fn in_all(bytes: &[u8]) -> Self {
        let mut found = Found {
            deepest: 0,
            whole: true,
        };
        let mut rest = bytes;
        while found.whole && !rest.is_empty() {
            match found.in_frame(rest) {
                Some(behind) => rest = behind,
                None => found.whole = false,
            }
        }
        found
    }

    /// What is behind the frame, if it is all there.
    fn in_frame<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (kind, rest) = bytes.split_first()?;
        // The server wants another protocol, in eight bytes.
        if *kind == b'A' {
            return rest.get(7..);
        }
        let (size, rest) = number(rest.get(2..)?, 4)?;
        if *kind == HEADER {
            let _ = self.in_properties(up_to(rest, size));
        }
        rest.get(size + 1..)
    }

    fn in_properties(&mut self, bytes: &[u8]) -> Option<()> {
        let (flags, mut rest) = number(bytes.get(12..)?, 2)?;
        if flags & HEADERS == 0 {
            return Some(());
        }
        for _ in 0..(flags >> 14).count_ones() {
            let (length, text) = number(rest, 1)?;
            rest = text.get(length..)?;
        }
        let (length, rest) = number(rest, 4)?;
        self.in_values(up_to(rest, length), true, 1)
    }

    /// The values of a table or an array, itself the level of that number.
    fn in_values(&mut self, mut rest: &[u8], is_table: bool, level: usize) -> Option<()> {
        self.deepest = self.deepest.max(level);
        if level > DEEPEST {
            return None;
        }
        while !rest.is_empty() {
            if is_table {
                let (length, name) = number(rest, 1)?;
                rest = name.get(length..)?;
            }
            let (letter, value) = rest.split_first()?;
            let length = match letter {
                b'V' => 0,
                b't' | b'b' | b'B' => 1,
                b's' | b'U' | b'u' => 2,
                b'I' | b'i' | b'f' => 4,
                b'D' => 5,
                b'L' | b'l' | b'd' | b'T' => 8,
                b'S' | b'x' => {
                    let (length, text) = number(value, 4)?;
                    rest = text.get(length..)?;
                    continue;
                }
                b'F' | b'A' => {
                    // Its letter says so, whether or not the rest has come.
                    self.deepest = self.deepest.max(level + 1);
                    let (length, inner) = number(value, 4)?;
                    self.in_values(up_to(inner, length), *letter == b'F', level + 1)?;
                    rest = inner.get(length..)?;
                    continue;
                }
                _ => return None,
            };
            rest = value.get(length..)?;
        }
        Some(())
    }
}

/// A number of so many bytes, and what is behind it.
fn number(bytes: &[u8], length: usize) -> Option<(usize, &[u8])> {
    let (number, behind) = bytes.split_at_checked(length)?;
    let number = number.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    Some((number, behind))
}

/// As much of them as has come.
fn up_to(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}
