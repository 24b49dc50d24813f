//! How much a region says of one object.
//!
//! The one idea: a status is cut to size by the same function where it is made and where it is taken in, so that one object
//! never costs the session, which carries all the others. Must never drop the verdict.

use bytes::Bytes;
use palladium_proto::region::ObjectStatus;

/// Largest `status_json` of one object, in bytes. A larger one is left out as a whole: half of a JSON text is none.
pub const MAX_DETAILS: usize = 64 * 1024;
/// Longest message, reason or field, in bytes.
pub const MAX_TEXT: usize = 4 * 1024;

/// Cuts a status to size and takes control characters out of what people read. Returns the size of the details that were
/// left out, if they were.
pub fn bound(status: &mut ObjectStatus) -> Option<usize> {
    for text in [&mut status.message, &mut status.reason, &mut status.field] {
        text.retain(|c| !c.is_control() || c == '\n');
        text.truncate(text.floor_char_boundary(MAX_TEXT));
    }
    let size = status.status_json.len();
    (size > MAX_DETAILS).then(|| {
        status.status_json = Bytes::new();
        size
    })
}

#[cfg(test)]
mod tests {
    use palladium_proto::region::Verdict;
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_largest_status_is_small_and_keeps_its_verdict() {
        let mut status = ObjectStatus {
            uid: "u".into(),
            verdict: Verdict::Error.into(),
            message: "\u{7}ä".repeat(MAX_TEXT),
            reason: "x".repeat(MAX_TEXT + 1),
            status_json: vec![b' '; MAX_DETAILS + 1].into(),
            ..ObjectStatus::default()
        };
        assert_eq!(bound(&mut status), Some(MAX_DETAILS + 1));
        assert_eq!(status.verdict(), Verdict::Error);
        assert!(status.message.starts_with('ä') && status.message.len() == MAX_TEXT);
        status.status_json = vec![b' '; MAX_DETAILS].into();
        assert_eq!(bound(&mut status), None);
        assert!(status.encoded_len() < 100 * 1024);
    }
}
