//! Text from outside, made fit to be read by people, terminals and log pipelines.
//!
//! Must never drop anything silently: what cannot be shown is written as an escape, what is cut ends in an ellipsis.

/// `text` with control, escape, direction and invisible characters written as `\u{…}`, cut to about `max` bytes.
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if out.len() >= max {
            out.push('…');
            break;
        }
        if is_harmless(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// False for what moves cursors, reverses reading order, or cannot be seen.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{00ad}'
            | '\u{061c}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sec_133_line_breaks_escapes_and_direction_marks_are_shown_not_obeyed() {
        assert_eq!(clean("a\r\nb", 100), "a\\u{d}\\u{a}b");
        assert_eq!(clean("\u{1b}[31mred", 100), "\\u{1b}[31mred");
        assert_eq!(clean("user\u{202e}nimda", 100), "user\\u{202e}nimda");
        assert_eq!(clean("grün 漢字", 100), "grün 漢字");
        let long = clean(&"x".repeat(10_000_000), 256);
        assert!(long.len() < 300 && long.ends_with('…'));
    }

    proptest! {
        #[test]
        fn sec_133_whatever_comes_in_one_short_line_comes_out(text in any::<String>(), max in 0usize..400) {
            let out = clean(&text, max);
            prop_assert!(out.chars().all(is_harmless));
            prop_assert!(out.len() <= max + 16);
        }
    }
}
