//! SQL patterns over keys: `%` any text, `_` one character, `\` takes the next character as it is.
//!
//! One idea: the classic two-pointer match that goes back only to the last `%`, so its time is bounded by pattern ×
//! text. Must never recurse or try every split: it runs under a shard's lock, with a pattern from outside.

/// One piece of a pattern.
#[derive(PartialEq)]
enum Piece {
    Any,
    One,
    Exactly(char),
}

/// A parsed pattern.
pub(super) struct Pattern(Vec<Piece>);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '%' => Piece::Any,
                '_' => Piece::One,
                '\\' => Piece::Exactly(chars.next().unwrap_or('\\')),
                c => Piece::Exactly(c),
            });
        }
        Self(pieces)
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut piece) = (0, 0);
        let mut back: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.0.get(piece) {
                Some(Piece::Any) => {
                    back = Some((piece, at));
                    piece += 1;
                    continue;
                }
                Some(Piece::One) => {
                    at += 1;
                    piece += 1;
                    continue;
                }
                Some(Piece::Exactly(c)) if *c == text[at] => {
                    at += 1;
                    piece += 1;
                    continue;
                }
                _ => {}
            }
            let Some((any, from)) = back else { return false };
            back = Some((any, from + 1));
            (piece, at) = (any + 1, from + 1);
        }
        self.0[piece..].iter().all(|rest| *rest == Piece::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_fit_as_in_sql() {
        for (pattern, text, fits) in [
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("%b%", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("a\\%", "a%", true),
            ("a\\%", "ab", false),
            ("%ab", "aab", true),
            ("app||%||metadata", "app||x||y||metadata", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }
}
