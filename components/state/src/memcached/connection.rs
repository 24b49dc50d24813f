//! One connection and memcached's text protocol on it.
//!
//! One idea: a command is written whole and its answer read whole; who stops in the middle drops the connection. Every
//! length that the server names is bounded. Must never put more than the command's own key into a line, nor show a value
//! in an error.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Longest line of an answer: a key of 250 bytes and some numbers.
const LONGEST_LINE: u64 = 2048;
/// Largest value that is read: memcached can be told to take up to 1 GiB, nobody does.
const LARGEST_VALUE: usize = 64 << 20;

pub(super) struct Connection(BufReader<TcpStream>);

/// What can be asked of a server. All of it may be said twice.
pub(super) enum Command<'a> {
    /// Reads a key.
    Get(&'a str),
    /// Writes a key: when it expires, and its value.
    Set(&'a str, i64, &'a [u8]),
    /// Deletes a key.
    Delete(&'a str),
    /// Asks for the size of the largest item.
    Limits,
}

/// What comes back.
pub(super) enum Answer {
    /// A value, if there is one.
    Value(Option<Bytes>),
    /// A write or a deletion is done.
    Done,
    /// It is not, in the server's own words.
    Refused(String),
    /// The size of the largest item that the server takes, where it says so.
    Largest(Option<usize>),
}

impl Connection {
    pub(super) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::new(stream)))
    }

    pub(super) async fn run(&mut self, command: &Command<'_>) -> io::Result<Answer> {
        match *command {
            Command::Get(key) => self.get(key).await.map(Answer::Value),
            Command::Set(key, expires, value) => self.set(key, expires, value).await,
            Command::Delete(key) => self.delete(key).await,
            Command::Limits => self.largest_item().await.map(Answer::Largest),
        }
    }

    async fn get(&mut self, key: &str) -> io::Result<Option<Bytes>> {
        self.say(format!("get {key}\r\n").as_bytes()).await?;
        let line = self.line().await?;
        if line == "END" {
            return Ok(None);
        }
        // VALUE <key> <flags> <bytes>
        let mut words = line.split(' ');
        let (kind, found, length) = (words.next(), words.next(), words.nth(1));
        let length = length.and_then(|length| length.parse::<usize>().ok());
        let Some(length) = length.filter(|length| *length <= LARGEST_VALUE) else {
            return Err(strange(&line));
        };
        if kind != Some("VALUE") || found != Some(key) {
            return Err(strange(&line));
        }
        let mut value = BytesMut::zeroed(length);
        self.0.read_exact(&mut value).await?;
        let mut end = [0; 2];
        self.0.read_exact(&mut end).await?;
        if &end != b"\r\n" || self.line().await? != "END" {
            return Err(strange("a value that does not end"));
        }
        Ok(Some(value.freeze()))
    }

    async fn set(&mut self, key: &str, expires: i64, value: &[u8]) -> io::Result<Answer> {
        let mut command = BytesMut::with_capacity(value.len() + key.len() + 48);
        command.extend_from_slice(format!("set {key} 0 {expires} {}\r\n", value.len()).as_bytes());
        command.extend_from_slice(value);
        command.extend_from_slice(b"\r\n");
        self.say(&command).await?;
        self.outcome(&["STORED"]).await
    }

    async fn delete(&mut self, key: &str) -> io::Result<Answer> {
        self.say(format!("delete {key}\r\n").as_bytes()).await?;
        self.outcome(&["DELETED", "NOT_FOUND"]).await
    }

    async fn largest_item(&mut self) -> io::Result<Option<usize>> {
        const LINES: usize = 1000;
        self.say(b"stats settings\r\n").await?;
        let mut largest = None;
        for _ in 0..LINES {
            let line = self.line().await?;
            if let Some(size) = line.strip_prefix("STAT item_size_max ") {
                largest = size.parse().ok();
            }
            match line.split(' ').next() {
                Some("STAT") => {}
                // Proxies need not know the command.
                Some("END" | "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR") => return Ok(largest),
                _ => return Err(strange(&line)),
            }
        }
        Err(strange("settings without an end"))
    }

    async fn outcome(&mut self, done: &[&str]) -> io::Result<Answer> {
        let line = self.line().await?;
        match line.split(' ').next() {
            _ if done.contains(&line.as_str()) => Ok(Answer::Done),
            Some("SERVER_ERROR" | "NOT_STORED") => Ok(Answer::Refused(line)),
            // Whether it has read the value as commands is not known: the connection is given up.
            _ => Err(strange(&line)),
        }
    }

    async fn say(&mut self, command: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(command).await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line
            .strip_suffix(b"\r\n")
            .and_then(|text| std::str::from_utf8(text).ok());
        text.map(str::to_owned)
            .ok_or_else(|| strange("a line that does not end"))
    }
}

fn strange(what: &str) -> io::Error {
    let shown: String = what.chars().filter(|c| !c.is_control()).take(80).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer: {shown}"))
}
