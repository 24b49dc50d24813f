//! Patterns of operations, matched part by part.
//!
//! One idea: a tree with one level for each part of a path; at each level the first branch that matches, in the order in
//! which the patterns were written, is followed, and there is no way back. `/*` is one part at the end, `/**` is any rest,
//! a `*` within a part is any text. A pattern also covers what lies below it. These are the original's rules, odd corners
//! included: users' files were written against them. Must never be "repaired" here.

/// A tree of patterns with what each of them means.
#[derive(Debug)]
pub(super) struct Patterns<T> {
    root: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    part: String,
    data: Option<T>,
    below: Vec<Node<T>>,
}

const ONE: &str = "*";
const REST: &str = "**";

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { root: Vec::new() }
    }
}

impl<T> Patterns<T> {
    /// Adds a pattern; of two equal ones the first counts.
    pub(super) fn put(&mut self, pattern: &str, data: T) {
        let mut data = Some(data);
        let mut level = &mut self.root;
        let mut parts = parts(pattern).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let at = match level.iter().position(|node| node.part == part) {
                Some(at) => at,
                None => {
                    level.push(Node {
                        part: part.to_owned(),
                        data: None,
                        below: Vec::new(),
                    });
                    level.len() - 1
                }
            };
            let node = &mut level[at];
            if last && node.data.is_none() {
                node.data = data.take();
            }
            level = &mut node.below;
        }
    }

    /// What the pattern that matches means.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        let mut level = &self.root;
        let mut parts = parts(path).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let node = branch(level, part, last)?;
            match &node.data {
                Some(data) if last || node.part != ONE => return Some(data),
                None if last => return branch(&node.below, ONE, true)?.data.as_ref(),
                _ => {}
            }
            level = &node.below;
        }
        None
    }
}

/// The parts of a path, with or without a slash at its beginning.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn branch<'a, T>(level: &'a [Node<T>], part: &str, last: bool) -> Option<&'a Node<T>> {
    level.iter().find(|node| match node.part.as_str() {
        exact if exact == part => true,
        ONE => last,
        REST => true,
        pattern => glob(pattern, part),
    })
}

/// Whether a text fits a pattern in which `*` stands for any text, even none.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// The definition, as a table.
    fn by_table(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => by_table(&pattern[1..], text) || (!text.is_empty() && by_table(pattern, &text[1..])),
            (Some(want), Some(is)) if want == is => by_table(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_mean_what_they_are_defined_to(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(glob(&pattern, &text), by_table(pattern.as_bytes(), text.as_bytes()));
        }
    }

    fn found(patterns: &[&'static str], path: &str) -> Option<&'static str> {
        let mut tree = Patterns::default();
        for pattern in patterns {
            tree.put(pattern, *pattern);
        }
        tree.find(path).copied()
    }

    #[test]
    fn wildcards_cover_one_part_or_the_rest() {
        assert_eq!(found(&["/a/*"], "/a/b"), Some("/a/*"));
        assert_eq!(found(&["/a/*"], "/a"), Some("/a/*"));
        assert_eq!(found(&["/a/*"], "/a/b/c"), None);
        assert_eq!(found(&["/a/**"], "/a/b/c"), Some("/a/**"));
        assert_eq!(found(&["/**"], "/x/y"), Some("/**"));
        assert_eq!(found(&["/a/b*/c"], "/a/bcd/c"), Some("/a/b*/c"));
        assert_eq!(found(&["a"], "/a"), Some("a"));
    }

    #[test]
    fn the_first_branch_counts_and_there_is_no_way_back() {
        assert_eq!(found(&["/a*", "/ab"], "/ab"), Some("/a*"));
        assert_eq!(found(&["/ab", "/a*"], "/ab"), Some("/ab"));
        assert_eq!(found(&["/a*/x", "/ab/y"], "/ab/y"), None);
        assert_eq!(
            found(&["/a"], "/a/b/c"),
            Some("/a"),
            "a pattern covers what lies below it"
        );
    }
}
