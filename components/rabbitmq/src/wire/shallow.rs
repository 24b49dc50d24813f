//! Headers that are nested too deeply, made shallow on their way in.
//!
//! One idea: the library reads tables in tables by calling itself, on a thread with 2 MiB of stack, and how deep they are is
//! chosen by whoever may publish. What was agreed about frames does not bound it: RabbitMQ splits bodies only, a message's
//! headers come in one frame however large. A table, an array and bytes are all written as a letter, a length and what
//! follows; so below [`DEEPEST`] levels the letter is changed to that of bytes, and nothing else. Must never let pass what the
//! library would read otherwise than it is read here, nor hold back a byte.

use std::io;

/// Tables and arrays in each other, the headers themselves counted. RabbitMQ's own (`x-death`) are four.
pub(crate) const DEEPEST: usize = 16;
/// Bytes of the largest frame: more never fits into the library's buffer of 32 agreed frames, and nothing would come after.
const LARGEST: u64 = (1 << 20) - 8;
/// The type of a frame with a message's headers.
const HEADER: u64 = 2;
/// What comes before the flags of such a frame: class, weight, size of the body.
const BEFORE_FLAGS: u64 = 12;

/// What the bytes are that come next, behind those that are skipped.
#[derive(Clone, Copy)]
enum Next {
    /// The type of a frame.
    Kind,
    /// Channel and size of a frame, whether it has a message's headers.
    Size(bool),
    /// Which properties there are.
    Flags,
    /// The length of one of so many texts before the headers.
    Text(u32),
    /// The length of the headers.
    Headers,
    /// The length of a name in a table.
    Name,
    /// The letter of a value's type.
    Letter,
    /// The length of a value of that letter.
    Length(u8),
}

/// A table or an array that is being read.
struct Level {
    end: u64,
    is_table: bool,
}

/// Looks at all that comes in on one connection, in whatever pieces.
pub(crate) struct Shallow {
    next: Next,
    /// Bytes of it that are still to come, and its value so far.
    wanted: u32,
    number: u64,
    /// Bytes before it that do not matter.
    skip: u64,
    /// Bytes of the frame that were seen, and that there are.
    at: u64,
    end: u64,
    levels: Vec<Level>,
}

impl Shallow {
    pub(crate) fn new() -> Self {
        Shallow {
            next: Next::Kind,
            wanted: 1,
            number: 0,
            skip: 0,
            at: 0,
            end: 0,
            levels: Vec::new(),
        }
    }

    /// Changes what is nested too deeply. A connection on which it fails is of no use any more.
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut place = 0;
        while place < bytes.len() {
            if self.skip > 0 {
                let rest = bytes.len() - place;
                let skipped = usize::try_from(self.skip).map_or(rest, |skip| skip.min(rest));
                self.skip -= skipped as u64;
                self.at += skipped as u64;
                place += skipped;
                continue;
            }
            self.number = (self.number << 8) | u64::from(bytes[place]);
            self.at += 1;
            self.wanted -= 1;
            if self.wanted == 0 {
                let number = std::mem::take(&mut self.number);
                if self.read(number)? {
                    bytes[place] = b'x';
                }
            }
            place += 1;
        }
        Ok(())
    }

    fn expect(&mut self, next: Next, wanted: u32) {
        (self.next, self.wanted) = (next, wanted);
    }

    /// Takes what was to come next. `true`: it is a letter that bytes are to have in its place.
    fn read(&mut self, number: u64) -> io::Result<bool> {
        match self.next {
            // Not a frame: the server wants another protocol, in eight bytes.
            Next::Kind if number == u64::from(b'A') => {
                self.skip = 7;
                self.expect(Next::Kind, 1);
            }
            Next::Kind => self.expect(Next::Size(number == HEADER), 6),
            Next::Size(is_header) => {
                (self.at, self.end) = (0, number & u64::from(u32::MAX));
                if self.end > LARGEST {
                    return Err(wrong("a frame is larger than all that was agreed"));
                }
                if is_header {
                    self.skip = BEFORE_FLAGS;
                    self.expect(Next::Flags, 2);
                } else {
                    self.skip_frame(0)?;
                }
            }
            Next::Flags if number & (1 << 13) == 0 => self.skip_frame(self.at)?,
            Next::Flags => {
                let texts = ((number >> 14) & 0b11).count_ones();
                self.before_headers(texts);
            }
            Next::Text(left) => {
                self.skip = self.within(number)?;
                self.before_headers(left);
            }
            Next::Headers => self.open(number, true)?,
            Next::Name => {
                self.skip = self.within(number)?;
                self.expect(Next::Letter, 1);
            }
            Next::Letter => return self.letter(number),
            Next::Length(b'F') => self.open(number, true)?,
            Next::Length(b'A') => self.open(number, false)?,
            Next::Length(_) => {
                self.skip = self.within(number)?;
                self.behind()?;
            }
        }
        Ok(false)
    }

    fn before_headers(&mut self, texts: u32) {
        match texts.checked_sub(1) {
            Some(left) => self.expect(Next::Text(left), 1),
            None => self.expect(Next::Headers, 4),
        }
    }

    fn letter(&mut self, number: u64) -> io::Result<bool> {
        self.within(0)?;
        let letter = u8::try_from(number).map_err(|_| wrong("a type is no byte"))?;
        let fixed = match letter {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'F' | b'A' if self.levels.len() >= DEEPEST => {
                self.expect(Next::Length(b'x'), 4);
                return Ok(true);
            }
            b'F' | b'A' | b'S' | b'x' => {
                self.expect(Next::Length(letter), 4);
                return Ok(false);
            }
            _ => return Err(wrong("a header has a type that is none")),
        };
        self.skip = self.within(fixed)?;
        self.behind()?;
        Ok(false)
    }

    /// Begins a table or an array of so many bytes.
    fn open(&mut self, length: u64, is_table: bool) -> io::Result<()> {
        let end = self.at + self.within(length)?;
        self.levels.push(Level { end, is_table });
        self.behind()
    }

    /// Goes on behind a value, which ends where the skipped bytes end.
    fn behind(&mut self) -> io::Result<()> {
        let here = self.at + self.skip;
        while let Some(level) = self.levels.last() {
            if here < level.end {
                let next = if level.is_table { Next::Name } else { Next::Letter };
                self.expect(next, 1);
                return Ok(());
            }
            self.levels.pop();
        }
        self.skip_frame(here)
    }

    /// Skips the rest of a frame, with the byte that ends each.
    fn skip_frame(&mut self, here: u64) -> io::Result<()> {
        let rest = self.end.checked_sub(here);
        self.skip += 1 + rest.ok_or_else(|| wrong("properties leave their frame"))?;
        self.expect(Next::Kind, 1);
        Ok(())
    }

    /// The length, if so many bytes are within what is being read.
    fn within(&self, length: u64) -> io::Result<u64> {
        let end = self.levels.last().map_or(self.end, |level| level.end);
        match self.at + length <= end {
            true => Ok(length),
            false => Err(wrong("a header leaves the table around it")),
        }
    }
}

fn wrong(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests;
