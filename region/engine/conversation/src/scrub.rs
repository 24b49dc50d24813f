//! Takes personal data out of a text.
//!
//! One idea: one expression, the surest kinds first; what it finds is judged once more (a card number has a check digit, a
//! telephone number so many digits) and replaced by the name of its kind. Must never look at a text again and again: a search is
//! linear, but after each find it begins anew, so what may fail late (before a mail address's `@`) has a greatest length.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Kinds with their expressions, the surest first.
const KINDS: &[(&str, &str)] = &[
    (
        "EMAIL_ADDRESS",
        r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,16}[A-Za-z]{2,24}",
    ),
    ("LINK", r"\bhttps?://[^\s<>()]+"),
    (
        "GUID",
        r"\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b",
    ),
    ("MAC_ADDRESS", r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"),
    (
        "IP",
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9A-Fa-f]{1,4}:){2,7}[0-9A-Fa-f]{1,4}\b",
    ),
    ("IBAN", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("US_SSN", r"\b\d{3}-\d{2}-\d{4}\b"),
    ("CREDIT_CARD", r"\b(?:\d[ -]?){12,18}\d\b"),
    ("BITCOIN_ADDRESS", r"\b[13][a-km-zA-HJ-NP-Z1-9]{25,34}\b"),
    ("PHONE_NUMBER", r"(?:\+|\b)\d(?:[ .()-]{0,2}\d){7,14}\b"),
];

static FOUND: LazyLock<Regex> = LazyLock::new(|| {
    let groups: Vec<String> = KINDS
        .iter()
        .map(|(kind, expression)| format!("(?<{kind}>{expression})"))
        .collect();
    Regex::new(&groups.join("|")).expect("invariant kinds_compile: the expressions above are well formed")
});

/// The text with every piece of personal data replaced by `<ITS KIND>`.
pub fn scrub(text: &str) -> String {
    let replaced = FOUND.replace_all(text, |found: &Captures<'_>| {
        let kind = KINDS.iter().find(|(kind, _)| found.name(kind).is_some());
        let whole = &found[0];
        kind.map_or_else(|| whole.to_owned(), |(kind, _)| judged(kind, whole))
    });
    match replaced {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

/// What stands in place of something that looks like a kind.
fn judged(kind: &str, found: &str) -> String {
    let digits = found.bytes().filter(u8::is_ascii_digit).count();
    let is = match kind {
        "IP" => found.parse::<std::net::IpAddr>().is_ok(),
        // Without its check digit it may still be a long telephone number.
        "CREDIT_CARD" if !has_check_digit(found) => {
            return if digits <= 15 {
                "<PHONE_NUMBER>".to_owned()
            } else {
                found.to_owned()
            };
        }
        _ => true,
    };
    if is { format!("<{kind}>") } else { found.to_owned() }
}

/// The sum that card numbers have (ISO/IEC 7812).
fn has_check_digit(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit);
    let sum: u32 = digits
        .enumerate()
        .map(|(index, digit)| {
            let value = u32::from(digit - b'0');
            match (index % 2, value * 2) {
                (0, _) => value,
                (_, doubled @ 10..) => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_that_nearly_is_an_address_everywhere_takes_no_long_time() {
        // Each number is found; before each, the rest of the text could have been one address. Looked at anew, this takes hours.
        let text = "123-45-6789.".repeat(100_000);
        assert_eq!(scrub(&text), "<US_SSN>.".repeat(100_000));
    }

    #[test]
    fn each_kind_is_found() {
        for (given, expected) in [
            ("my phone number is +2222222222", "my phone number is <PHONE_NUMBER>"),
            ("call (030) 1234 5678 now", "call (<PHONE_NUMBER> now"),
            ("mail test@test.com.", "mail <EMAIL_ADDRESS>."),
            ("from 10.8.9.1", "from <IP>"),
            ("from 999.8.9.1", "from 999.8.9.1"),
            ("from fe80:0:0:0:1:2:3:4", "from <IP>"),
            ("card 4111 1111 1111 1111", "card <CREDIT_CARD>"),
            ("order 4111111111111112", "order 4111111111111112"),
            ("ssn 123-45-6789", "ssn <US_SSN>"),
            ("iban DE89370400440532013000", "iban <IBAN>"),
            ("see https://example.com/a?b=c ok", "see <LINK> ok"),
            ("mac 01:23:45:67:89:ab", "mac <MAC_ADDRESS>"),
            (
                "well hello there, 3 apples in 2026",
                "well hello there, 3 apples in 2026",
            ),
        ] {
            assert_eq!(scrub(given), expected);
        }
    }

    proptest! {
        /// What was scrubbed has nothing left to scrub, whatever it was.
        #[test]
        fn once_is_enough(text in "[a-z0-9@.:+ -]{0,60}") {
            let once = scrub(&text);
            prop_assert_eq!(scrub(&once), once.clone());
        }
    }
}
