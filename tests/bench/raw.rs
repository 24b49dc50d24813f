//! HTTP/1.1 on one connection in the fewest steps: prepared bytes out, one answer with `content-length` in.
//!
//! One idea: the client must be much cheaper than the server, or the measurement is of the client. It understands just
//! what a Dapr Server answers to the calls of the bench and refuses everything else.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::destination::Stream;

/// A connection with a buffer for answers.
pub struct Raw {
    stream: Box<dyn Stream>,
    buffer: Box<[u8; 16 * 1024]>,
}

/// What an answer was.
pub struct Answer {
    /// Of the first line.
    pub status: u16,
    /// Bytes of the body.
    pub length: usize,
}

impl Raw {
    /// On a connected stream.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: Box::new([0; 16 * 1024]),
        }
    }

    /// Sends a whole request and takes a whole answer.
    pub async fn call(&mut self, request: &Bytes) -> Result<Answer> {
        self.stream.write_all(request).await?;
        // TLS may hold some of it back.
        self.stream.flush().await?;
        let mut filled = 0;
        loop {
            ensure!(filled < self.buffer.len(), "an answer longer than the buffer");
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            let Some(head) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let (status, length) = parse(std::str::from_utf8(&self.buffer[..head])?)?;
            if filled >= head + 4 + length {
                ensure!(filled == head + 4 + length, "more than one answer");
                return Ok(Answer { status, length });
            }
        }
    }
}

/// Status and length of the body.
fn parse(head: &str) -> Result<(u16, usize)> {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .context("no status")?;
    let length = lines
        .filter_map(|l| l.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length {
        Some((_, value)) => Ok((status, value.trim().parse()?)),
        None if status == 204 => Ok((status, 0)),
        None => anyhow::bail!("no content-length in {head:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        assert_eq!(parse("HTTP/1.1 204 No Content\r\nx: y").expect("good"), (204, 0));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y").expect("good"),
            (200, 12)
        );
        assert!(parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").is_err());
        assert!(parse("what").is_err());
    }
}
