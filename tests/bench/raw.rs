//! HTTP/1.1 on one connection in the fewest steps: prepared bytes out, one answer in.
//!
//! One idea: the client must be much cheaper than the server, or the measurement is of the client. It understands just
//! what a Dapr Server answers to the calls of the bench and refuses everything else.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::destination::Stream;

/// What stands at the end of a body in pieces.
const LAST_PIECE: &[u8] = b"\r\n0\r\n\r\n";
/// Of the buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// A connection with a buffer for answers.
pub struct Raw {
    stream: Box<dyn Stream>,
    buffer: Box<[u8; BUFFER]>,
}

/// What an answer was.
pub struct Answer {
    /// Of the first line.
    pub status: u16,
    /// Bytes of the body, with what stands between its pieces.
    pub length: usize,
}

impl Raw {
    /// On a connected stream.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: Box::new([0; BUFFER]),
        }
    }

    /// Sends a whole request and takes a whole answer.
    pub async fn call(&mut self, request: &Bytes) -> Result<Answer> {
        self.stream.write_all(request).await?;
        // TLS may hold some of it back.
        self.stream.flush().await?;
        let mut filled = 0;
        let (head, status, length) = loop {
            ensure!(filled < self.buffer.len(), "a head longer than the buffer");
            filled += self.read(filled).await?;
            let Some(head) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let (status, length) = parse(std::str::from_utf8(&self.buffer[..head])?)?;
            break (head + 4, status, length);
        };
        let mut received = filled - head;
        match length {
            Some(length) => {
                while received < length {
                    received += self.read(0).await?;
                }
                ensure!(received == length, "more than one answer");
            }
            // In pieces: nothing that the bench asks for looks like their end.
            None => {
                while !self.buffer[..filled].ends_with(LAST_PIECE) {
                    // What the end may have begun with is kept before what comes next.
                    let kept = filled.min(LAST_PIECE.len());
                    self.buffer.copy_within(filled - kept..filled, 0);
                    let read = self.read(kept).await?;
                    received += read;
                    filled = kept + read;
                }
            }
        }
        Ok(Answer {
            status,
            length: received,
        })
    }

    /// Reads what there is, overwriting the buffer from here on.
    async fn read(&mut self, from: usize) -> Result<usize> {
        let read = self.stream.read(&mut self.buffer[from..]).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(read)
    }
}

/// Status and length of the body, if it is known.
fn parse(head: &str) -> Result<(u16, Option<usize>)> {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .context("no status")?;
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    let told = headers.find_map(|(name, value)| match name.to_ascii_lowercase().as_str() {
        "content-length" => Some(value.trim().parse().map(Some)),
        "transfer-encoding" => Some(Ok(None)),
        _ => None,
    });
    match told {
        Some(length) => Ok((status, length?)),
        None if status == 204 => Ok((status, Some(0))),
        None => anyhow::bail!("no length in {head:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        assert_eq!(parse("HTTP/1.1 204 No Content\r\nx: y").expect("good"), (204, Some(0)));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y").expect("good"),
            (200, Some(12))
        );
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").expect("good"),
            (200, None)
        );
        assert!(parse("HTTP/1.1 200 OK\r\nx: y").is_err());
        assert!(parse("what").is_err());
    }
}
