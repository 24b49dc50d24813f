//! Lets only canonical HTTP/1.1 message framing through, before the HTTP library sees a byte.
//!
//! One idea: two programs that disagree about where a request ends can be made to see two different requests
//! (request smuggling). So whatever the standard lets readers interpret (both lengths, a repeated length, bare line
//! feeds, folded lines, chunk extensions) is refused here; what remains has one reading. Follows the framing only:
//! must never judge a method, target or any other header. RFC 9112, sections 2.2, 5, 6 and 7.

/// Follows one connection's bytes from the first request head on.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// The beginning of the line being read; enough for every header that matters here.
    line: [u8; LINE],
    /// Bytes of the line so far, which may be more than `line` holds.
    length: usize,
    content_length: Option<u64>,
    chunked: bool,
}

/// The bytes up to `at` are canonical, the next one is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) at: usize,
    pub(crate) reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request line. One empty line is tolerated, as the standard recommends.
    Start {
        skipped: bool,
    },
    Header,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
}

const LINE: usize = 64;

impl Framing {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Start { skipped: false },
            line: [0; LINE],
            length: 0,
            content_length: None,
            chunked: false,
        }
    }

    /// Whether a request head has begun and is not complete.
    pub(crate) fn inside_head(&self) -> bool {
        match self.state {
            State::Start { .. } => self.length > 0,
            State::Header => true,
            _ => false,
        }
    }

    /// Whether a request has begun and its last byte has not come yet.
    pub(crate) fn inside_message(&self) -> bool {
        self.length > 0 || !matches!(self.state, State::Start { .. })
    }

    /// Takes the next bytes of the connection. After a violation the connection must be given up.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Body(left) | State::ChunkData(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= step as u64;
                    at += step;
                    if *left == 0 {
                        self.state = match self.state {
                            State::ChunkData(_) => State::ChunkEnd,
                            _ => State::Start { skipped: false },
                        };
                    }
                }
                _ => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        return self.part_of_line(rest, at);
                    };
                    self.part_of_line(&rest[..end], at)?;
                    at += end;
                    self.end_of_line(at)?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Remembers a piece of a line (without its line feed); a carriage return may only be its last byte.
    fn part_of_line(&mut self, piece: &[u8], at: usize) -> Result<(), Violation> {
        let Some((&first, _)) = piece.split_first() else {
            return Ok(());
        };
        let bare = |at| {
            Err(Violation {
                at,
                reason: "bare carriage return",
            })
        };
        if self.length > 0 && self.ends_with_return() {
            return bare(at);
        }
        if let Some(position) = memchr::memchr(b'\r', piece)
            && position + 1 < piece.len()
        {
            return bare(at + position);
        }
        if self.length == 0 && matches!(self.state, State::Header | State::Trailer) && matches!(first, b' ' | b'\t') {
            return Err(Violation {
                at,
                reason: "folded header line",
            });
        }
        if self.length < LINE {
            let room = piece.len().min(LINE - self.length);
            self.line[self.length..self.length + room].copy_from_slice(&piece[..room]);
        }
        self.length += piece.len();
        // The last byte is kept in the last place of an overlong line: all that matters of it is a carriage return.
        if self.length > LINE {
            self.line[LINE - 1] = piece[piece.len() - 1];
        }
        Ok(())
    }

    fn ends_with_return(&self) -> bool {
        self.length > 0 && self.line[self.length.min(LINE) - 1] == b'\r'
    }

    fn end_of_line(&mut self, at: usize) -> Result<(), Violation> {
        let refuse = |reason| Err(Violation { at, reason });
        if !self.ends_with_return() {
            return refuse("bare line feed");
        }
        let length = std::mem::take(&mut self.length) - 1;
        let line = &self.line[..length.min(LINE - 1)];
        let overlong = length > LINE - 1;
        self.state = match self.state {
            State::Start { skipped: false } if line.is_empty() => State::Start { skipped: true },
            State::Start { .. } if line.is_empty() => return refuse("empty lines before a request"),
            State::Start { .. } => {
                self.content_length = None;
                self.chunked = false;
                State::Header
            }
            State::Header if line.is_empty() => match (self.chunked, self.content_length) {
                (true, Some(_)) => return refuse("both content-length and transfer-encoding"),
                (true, None) => State::ChunkSize,
                (false, Some(length)) if length > 0 => State::Body(length),
                (false, _) => State::Start { skipped: false },
            },
            State::Header => match header(line, overlong) {
                Header::Other => State::Header,
                Header::ContentLength(Some(length)) if self.content_length.is_none() => {
                    self.content_length = Some(length);
                    State::Header
                }
                Header::ContentLength(_) => return refuse("bad or repeated content-length"),
                Header::TransferEncoding(true) if !self.chunked => {
                    self.chunked = true;
                    State::Header
                }
                Header::TransferEncoding(_) => return refuse("bad or repeated transfer-encoding"),
            },
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailer,
                Some(size) => State::ChunkData(size),
                None => return refuse("bad chunk size, or a chunk extension"),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return refuse("chunk longer than its size"),
            State::Trailer if line.is_empty() => State::Start { skipped: false },
            State::Trailer => match header(line, overlong) {
                Header::Other => State::Trailer,
                _ => return refuse("framing in a trailer"),
            },
            State::Body(_) | State::ChunkData(_) => self.state,
        };
        Ok(())
    }
}

enum Header {
    /// `None` when its value is not a plain number.
    ContentLength(Option<u64>),
    /// Whether its value is exactly "chunked".
    TransferEncoding(bool),
    Other,
}

/// White space before the colon makes a different name here; the HTTP library refuses such a name.
fn header(line: &[u8], overlong: bool) -> Header {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if name.eq_ignore_ascii_case(b"content-length") {
        Header::ContentLength(if overlong { None } else { number(value) })
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        Header::TransferEncoding(!overlong && value.eq_ignore_ascii_case(b"chunked"))
    } else {
        Header::Other
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let plain = (1..=16).contains(&line.len()) && line.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| u64::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok())?
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
