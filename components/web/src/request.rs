//! One request and its whole answer.
//!
//! One idea: an answer is read up to a bound, whatever its status. Must never put an address into an error: it may hold a
//! password.

use std::error::Error as _;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use zeroize::Zeroizing;

/// An answer that was read to its end.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; it may hold a secret.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered in time, or at all.
    Unreachable(String),
    /// The answer is longer than this many bytes.
    TooLong(usize),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Unreachable(words) => f.write_str(words),
            Failure::TooLong(most) => write!(f, "the answer has more than {most} bytes"),
        }
    }
}

/// Sends a request and reads its answer, whatever the status, up to `most` bytes.
///
/// # Errors
/// When there is no answer in time, or a longer one.
pub async fn send(request: RequestBuilder, most: usize) -> Result<Answer, Failure> {
    let unreachable = |error| Failure::Unreachable(words(error));
    let mut answer = request.send().await.map_err(unreachable)?;
    // What is announced as too long is not begun.
    let announced = answer.content_length().unwrap_or_default();
    if announced > most as u64 {
        return Err(Failure::TooLong(most));
    }
    let mut body = Zeroizing::new(Vec::new());
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > most {
            return Err(Failure::TooLong(most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status: answer.status(),
        headers: std::mem::take(answer.headers_mut()),
        body,
    })
}

/// The library's words with their causes, without the address.
pub fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use std::time::Duration;

    use super::*;
    use crate::client;

    async fn asked(answer: &'static str, most: usize) -> Result<Answer, Failure> {
        palladium_tls::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://user:hunter2@{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Open until the other side has had enough.
            let _ = stream.read(&mut [0; 1]).await;
        });
        let client = client("url", Duration::from_millis(500), false).unwrap();
        let answer = send(client.get(address), most).await;
        serving.abort();
        answer
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_or_its_bound() {
        let answer = asked("HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\nx-a: 1\r\n\r\nabc", 3)
            .await
            .ok()
            .unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"abc"[..]));
        assert_eq!(answer.headers["x-a"], "1");
        for long in [
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        ] {
            assert_eq!(asked(long, 3).await.err(), Some(Failure::TooLong(3)));
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_or_points_elsewhere() {
        for slow in ["", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab"] {
            let Some(Failure::Unreachable(words)) = asked(slow, 10).await.err() else {
                panic!("there was none");
            };
            assert!(!words.contains("hunter2") && !words.contains("127.0.0.1"), "{words}");
        }
        let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(asked(elsewhere, 10).await.ok().unwrap().status.as_u16(), 302);
    }
}
