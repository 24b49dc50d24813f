//! Headers that say how a message is framed and to whom it goes.
//!
//! One idea: whoever sends a message says these, so nothing that interprets what others wrote may set or remove them. Must
//! never know a header that only means something to an application.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

/// Whether it is one of these.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING].contains(name)
}
