//! How a JSON value from an HTTP caller is stored.
//!
//! The one idea: upstream decodes the value and encodes it again with Go's encoder, and what applications read back is
//! that text. Here the text is kept token by token (numbers keep every digit, members their order) and only what Go's
//! encoder would spell otherwise is changed: white space goes, `<`, `>`, `&` and the two line separators are escaped.
//! Must never parse numbers or build a tree: digits and order would be lost, and it runs for every value that is saved.

use bytes::{BufMut, Bytes, BytesMut};

/// The stored form of a valid JSON text.
pub fn canonical_json(text: &str) -> Bytes {
    // Written without a way out, so that the compiler can look at many bytes at once.
    let suspicious = text.bytes().fold(false, |found, byte| {
        found | matches!(byte, b'\\' | b'<' | b'>' | b'&' | 0xE2 | b' ' | b'\t' | b'\n' | b'\r')
    });
    if suspicious {
        rewrite(text)
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    }
}

/// Copies run by run; a run ends at a character that may have to change.
fn rewrite(text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + 64);
    let mut in_string = false;
    let mut run = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let stays = match c {
            '"' => {
                in_string = !in_string;
                true
            }
            ' ' | '\t' | '\n' | '\r' => in_string,
            '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => false,
            _ => true,
        };
        if stays {
            continue;
        }
        out.put_slice(&text.as_bytes()[run..at]);
        match c {
            '\\' => match chars.next() {
                // Go writes a slash bare, and the other short escapes as they came.
                Some((_, '/')) => out.put_u8(b'/'),
                Some((_, 'u')) => unicode_escape(text, at, &mut chars, &mut out),
                Some((_, escaped)) => {
                    out.put_u8(b'\\');
                    put_char(&mut out, escaped);
                }
                None => out.put_u8(b'\\'),
            },
            ' ' | '\t' | '\n' | '\r' => {}
            c => put_in_string(&mut out, c),
        }
        run = chars.offset();
    }
    out.put_slice(&text.as_bytes()[run..]);
    out.freeze()
}

/// Decodes `\uXXXX` (and surrogate pairs) and writes the character as Go would.
fn unicode_escape(text: &str, at: usize, chars: &mut std::str::CharIndices<'_>, out: &mut BytesMut) {
    let unit = |from: usize| {
        text.get(from..from + 4)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
    };
    let Some(first) = unit(at + 2) else {
        out.put_slice(b"\\u");
        return;
    };
    let mut taken = 4;
    let mut code = first;
    if (0xD800..0xDC00).contains(&first)
        && text.get(at + 6..at + 8) == Some("\\u")
        && let Some(second @ 0xDC00..0xE000) = unit(at + 8)
    {
        code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        taken = 10;
    }
    for _ in 0..taken {
        chars.next();
    }
    put_in_string(out, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
}

fn put_in_string(out: &mut BytesMut, c: char) {
    match c {
        '"' => out.put_slice(b"\\\""),
        '\\' => out.put_slice(b"\\\\"),
        '\n' => out.put_slice(b"\\n"),
        '\r' => out.put_slice(b"\\r"),
        '\t' => out.put_slice(b"\\t"),
        '\u{8}' => out.put_slice(b"\\b"),
        '\u{c}' => out.put_slice(b"\\f"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
            out.put_slice(format!("\\u{:04x}", c as u32).as_bytes())
        }
        c => put_char(out, c),
    }
}

fn put_char(out: &mut BytesMut, c: char) {
    out.put_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spelled_as_go_spells_it() {
        let cases = [
            (r#" { "b" : 1.0 , "a" : [ 1 , true ] } "#, r#"{"b":1.0,"a":[1,true]}"#),
            (r#""a b""#, r#""a b""#),
            (r#""<tag> & \u003c""#, r#""\u003ctag\u003e \u0026 \u003c""#),
            (r#""\u00e9\ud83d\ude00\/\n""#, "\"é😀/\\n\""),
            (r#""\ud800x""#, "\"\u{fffd}x\""),
            (r#""say \"hi\" \\""#, r#""say \"hi\" \\""#),
            (r#""\u0001\u2028\b""#, r#""\u0001\u2028\b""#),
            ("null", "null"),
            ("12345678901234567890", "12345678901234567890"),
        ];
        for (given, expected) in cases {
            assert_eq!(
                std::str::from_utf8(&canonical_json(given)).unwrap(),
                expected,
                "{given}"
            );
        }
    }

    proptest! {
        #[test]
        fn meaning_is_kept(text in ".{0,40}", number in any::<i64>()) {
            let value = serde_json::json!({"t": text, "n": number, "l": [null, true, text]});
            let stored = canonical_json(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&stored).unwrap(), value);
        }

        #[test]
        fn never_panics(text in ".{0,60}", escaped in "[\\\\u\"d8c0-9 ]{0,20}") {
            let _ = canonical_json(&text);
            let _ = canonical_json(&escaped);
        }
    }
}
