//! The segments of a document, as they come.
//!
//! One idea: a segment is only worked on when a byte behind it has come, or the end: only then it is known whether it is the
//! last. So at most one segment is kept. Must never give out a segment that could not be authenticated.

use bytes::{BufMut as _, BytesMut};

use crate::file_key::Payload;
use crate::{CryptoError, OVERHEAD, SEGMENT};

/// Encrypts a document.
pub struct Encryptor {
    header: Option<Vec<u8>>,
    segments: Segments,
}

/// Decrypts a document.
pub struct Decryptor(Segments);

enum Work {
    Seal,
    Open,
}

struct Segments {
    payload: Payload,
    work: Work,
    /// What has come of the next segment.
    kept: Vec<u8>,
    number: u32,
}

impl Encryptor {
    pub(crate) fn begin(header: Vec<u8>, payload: Payload) -> Self {
        Self {
            header: Some(header),
            segments: Segments::new(payload, Work::Seal),
        }
    }

    /// Takes plaintext, and adds to `out` what is ready.
    ///
    /// # Errors
    /// When the document is too long.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError> {
        out.put_slice(&self.header.take().unwrap_or_default());
        self.segments.push(data, out)
    }

    /// There is no more.
    ///
    /// # Errors
    /// When the last segment cannot be encrypted.
    pub fn finish(mut self, out: &mut BytesMut) -> Result<(), CryptoError> {
        out.put_slice(&self.header.take().unwrap_or_default());
        self.segments.finish(out)
    }
}

impl Decryptor {
    pub(crate) fn begin(payload: Payload) -> Self {
        Self(Segments::new(payload, Work::Open))
    }

    /// Takes what is behind the header, and adds to `out` the plaintext that is ready.
    ///
    /// # Errors
    /// When a segment was changed.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.push(data, out)
    }

    /// There is no more.
    ///
    /// # Errors
    /// When the last segment was changed, or is not the last.
    pub fn finish(self, out: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.finish(out)
    }
}

impl Segments {
    fn new(payload: Payload, work: Work) -> Self {
        Self {
            payload,
            work,
            kept: Vec::new(),
            number: 0,
        }
    }

    /// Bytes of a whole segment that comes.
    fn whole(&self) -> usize {
        match self.work {
            Work::Seal => SEGMENT,
            Work::Open => SEGMENT + OVERHEAD,
        }
    }

    fn push(&mut self, mut data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError> {
        while !data.is_empty() {
            let room = self.whole() - self.kept.len();
            if room == 0 {
                self.one(false, out)?;
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            self.kept.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    fn finish(mut self, out: &mut BytesMut) -> Result<(), CryptoError> {
        // Without a byte there is no segment either.
        if self.kept.is_empty() {
            Ok(())
        } else {
            self.one(true, out)
        }
    }

    fn one(&mut self, last: bool, out: &mut BytesMut) -> Result<(), CryptoError> {
        let done = match self.work {
            Work::Seal => self.payload.seal(&mut self.kept, self.number, last),
            Work::Open => self.payload.open(&mut self.kept, self.number, last),
        };
        done.map_err(CryptoError::Segment)?;
        out.put_slice(&self.kept);
        self.kept.clear();
        if !last {
            let next = self.number.checked_add(1);
            self.number = next.ok_or_else(|| CryptoError::Segment("input stream is too large".into()))?;
        }
        Ok(())
    }
}
