//! CEL texts, as far as they can be judged without running them.
//!
//! One idea: what no parser can read (open quotes, brackets that do not close, control characters) is refused where it is
//! written; the Dapr Server compiles the rest. Must never judge what an expression means.

use crate::error::FieldErrors;

/// Longest expression, bytes.
const LONGEST: usize = 4096;

/// Complains about a text that cannot be a CEL expression. An empty one says nothing.
pub fn check(field: &str, text: &str, errors: &mut FieldErrors) {
    if let Some(problem) = problem(text) {
        errors.push(field, problem, "use a CEL expression of at most 4096 bytes");
    }
}

fn problem(text: &str) -> Option<&'static str> {
    if text.len() > LONGEST {
        return Some("is longer than 4096 bytes");
    }
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return Some("holds control characters");
    }
    let (mut open, mut rest, mut before) = (Vec::new(), text, ' ');
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '"' | '\'' => match behind_string(rest, c, matches!(before, 'r' | 'R')) {
                Some(behind) => behind,
                None => return Some("has a quote that does not end"),
            },
            '/' if rest.starts_with("//") => rest.split_once('\n').map_or("", |(_, behind)| behind),
            _ => rest.get(c.len_utf8()..).unwrap_or_default(),
        };
        match c {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return Some("closes a bracket that is not open"),
            _ => {}
        }
        before = c;
    }
    (!open.is_empty()).then_some("has a bracket that does not close")
}

/// What stands behind the string that `text` begins with: in one quote or three, `raw` without escapes.
fn behind_string(text: &str, mark: char, raw: bool) -> Option<&str> {
    let (three, one) = (mark.to_string().repeat(3), mark.to_string());
    let end = if text.starts_with(&three) { &three } else { &one };
    let mut rest = text.get(end.len()..)?;
    loop {
        if let Some(behind) = rest.strip_prefix(end.as_str()) {
            return Some(behind);
        }
        let mut chars = rest.chars();
        if chars.next()? == '\\' && !raw {
            chars.next()?;
        }
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_parsed_is_refused() {
        for good in [
            "",
            r#"event.type == "widget""#,
            r#"event.data["a"].size() > 1 && x in ['(', "\""]"#,
            "consecutiveFailures >= 5",
            r#"a == r"\d" && b == '''it's''' // done)"#,
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["(a", "a)", "a]", "(a]", r#""a"#, r#""a\""#, "a\0", &"a".repeat(5000)] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
