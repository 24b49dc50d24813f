//! Sizes as Kubernetes writes them: `4Mi`, `4M`, `1.5Ki`, `4194304`.
//! Must never guess: what is not understood is an error.

/// Bytes of a quantity; zero and below are returned as they are.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: f64 = match suffix {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * factor;
    (value.abs() < 9e15).then(|| value.ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_what_the_flags_accept() {
        for (text, bytes) in [
            ("4Mi", 4 << 20),
            ("4194304", 4 << 20),
            ("1.5Ki", 1536),
            ("2M", 2_000_000),
            ("-1", -1),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "Mi", "4 Mi", "4mb", "x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
