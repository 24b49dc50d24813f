//! SQL patterns over keys: `%` any text, `_` one character, `\` takes the next character as it is.
//!
//! One idea: the classic two-pointer match that goes back only to the last `%`, so its time is bounded by pattern ×
//! text; stores that know globs instead get theirs. Must never recurse or try every split: the pattern is from outside.

/// One piece of a pattern.
#[derive(PartialEq)]
enum Piece {
    Any,
    One,
    Exactly(char),
}

/// A parsed pattern.
pub(crate) struct Pattern(Vec<Piece>);

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
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

    pub(crate) fn fits(&self, text: &str) -> bool {
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

impl Pattern {
    /// As a glob of SQLite's, which, unlike its LIKE, tells capital letters from small ones.
    pub(crate) fn sqlite_glob(&self) -> String {
        let mut glob = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Any => glob.push('*'),
                Piece::One => glob.push('?'),
                Piece::Exactly(c @ ('*' | '?' | '[')) => glob.extend(['[', *c, ']']),
                Piece::Exactly(c) => glob.push(*c),
            }
        }
        glob
    }

    /// A glob of Redis's that everything fits which fits this, and more: its `?` is a byte, not a character.
    pub(crate) fn redis_glob(&self) -> String {
        let mut glob = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Any | Piece::One => glob.push('*'),
                Piece::Exactly(c @ ('*' | '?' | '[' | ']' | '\\')) => glob.extend(['\\', *c]),
                Piece::Exactly(c) => glob.push(*c),
            }
        }
        glob
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn globs_take_what_is_meant_as_it_is() {
        let pattern = Pattern::new(r"a*[b]?\_c%d_");
        assert_eq!(pattern.sqlite_glob(), "a[*][[]b][?]_c*d?");
        assert_eq!(Pattern::new(r"a\%*_%]\").redis_glob(), r"a%\***\]\\");
    }

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
