//! `numeric` in the server's binary form: digits to the base of 10000.
//!
//! Must never lose a digit: the text is the number.

/// The JSON of a number; `None` when it is not in that form, or infinite.
pub(super) fn read(bytes: &[u8]) -> Option<String> {
    const NEGATIVE: u16 = 0x4000;
    const NOT_A_NUMBER: u16 = 0xC000;
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let count = usize::from(words.next()?);
    let weight = i32::from(words.next()?.cast_signed());
    let sign = words.next()?;
    let scale = usize::from(words.next()?);
    let digits: Vec<u16> = words.collect();
    if digits.len() != count || !bytes.len().is_multiple_of(2) || digits.iter().any(|digit| *digit > 9999) {
        return None;
    }
    match sign {
        0 | NEGATIVE => {}
        // What Dapr's library writes.
        NOT_A_NUMBER => return Some("\"NaN\"".to_owned()),
        _ => return None,
    }
    let digit = |place: i32| {
        let place = usize::try_from(weight - place).ok();
        place.and_then(|place| digits.get(place)).copied().unwrap_or(0)
    };
    let mut whole = String::new();
    for place in (0..=weight.max(0)).rev() {
        whole.push_str(&format!("{:04}", digit(place)));
    }
    let mut fraction = String::new();
    for place in 1..=i32::try_from(scale.div_ceil(4)).ok()? {
        fraction.push_str(&format!("{:04}", digit(-place)));
    }
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if sign == NEGATIVE { "-" } else { "" };
    Some(match fraction.is_empty() {
        true => format!("{sign}{whole}"),
        false => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (words, text) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[2, 0, 0, 2, 12, 5000], "12.50"),
            (&[1, 1, 0, 0, 5], "50000"),
            (&[1, 0xFFFF, 0x4000, 4, 15], "-0.0015"),
            (&[1, 0xFFFE, 0, 8, 1], "0.00000001"),
            (&[3, 1, 0, 3, 12, 3456, 7890], "123456.789"),
            (&[0, 0, 0xC000, 0], "\"NaN\""),
        ] {
            assert_eq!(read(&form(words)).as_deref(), Some(text), "{words:?}");
        }
        for bad in [&[1, 0, 0, 0][..], &[0, 0, 0xD000, 0], &[1, 0, 0, 0, 10000], &[0]] {
            assert_eq!(read(&form(bad)), None, "{bad:?}");
        }
    }
}
