//! `Upgrade: h2c`: an HTTP/1.1 request that asks to go on as HTTP/2 on the same connection (RFC 7540, 3.2).
//!
//! One idea: the upgrade is undone below the HTTP library. The connection is taken from the HTTP/1.1 side, which sees its
//! end, and comes back as a new one that spoke HTTP/2 from the start: its first request is the stream 1 that the rules
//! demand. Only a whole, small head without a body is upgraded, and only among the first requests of a connection that had
//! no other kind; otherwise the wish is ignored, as every server may. Must never be used with TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palladium_http::{Accept, Arrival, Connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

/// Connections that wait to be served as HTTP/2; a wish beyond that is ignored.
const WAITING: usize = 64;
/// Requests of a connection that are looked at.
const LOOKS: u8 = 4;

/// A plaintext listener whose connections may be upgraded.
#[derive(Debug)]
pub struct H2cListener {
    tcp: TcpListener,
    give: mpsc::Sender<Upgrade>,
    take: Mutex<mpsc::Receiver<Upgrade>>,
}

impl H2cListener {
    /// Over a TCP listener.
    pub fn new(tcp: TcpListener) -> Self {
        let (give, take) = mpsc::channel(WAITING);
        Self {
            tcp,
            give,
            take: Mutex::new(take),
        }
    }
}

impl Accept for H2cListener {
    type Stream = Upgradable;

    async fn accept(&self) -> io::Result<Arrival<Upgradable>> {
        // Only one task accepts, so the lock is never waited for.
        let mut upgrades = self.take.lock().await;
        tokio::select! {
            accepted = self.tcp.accept() => {
                let (stream, remote) = accepted?;
                let look = Some(Look { left: LOOKS, answered: true, remote, give: self.give.clone() });
                Ok(Arrival { remote: Some(remote), opening: Box::pin(async move {
                    stream.set_nodelay(true)?;
                    Ok((Upgradable { stream: Some(stream), first: Vec::new(), look }, connection(remote)))
                }) })
            }
            Some(upgrade) = upgrades.recv() => Ok(Arrival {
                remote: Some(upgrade.remote),
                opening: Box::pin(async move {
                    let remote = upgrade.remote;
                    let (stream, first) = self::upgrade(upgrade).await?;
                    Ok((Upgradable { stream: Some(stream), first, look: None }, connection(remote)))
                }),
            }),
        }
    }
}

fn connection(remote: SocketAddr) -> Connection {
    let mut connection = Connection::default();
    connection.remote = Some(remote);
    connection
}

/// A connection on its way from HTTP/1.1 to HTTP/2.
#[derive(Debug)]
struct Upgrade {
    stream: TcpStream,
    remote: SocketAddr,
    wish: Wish,
}

/// A connection that looks at its first requests.
pub struct Upgradable {
    /// `None` once it has been taken for an upgrade.
    stream: Option<TcpStream>,
    /// Handed out before the stream's own bytes.
    first: Vec<u8>,
    look: Option<Look>,
}

struct Look {
    left: u8,
    /// Whether something has been written since the last request.
    answered: bool,
    remote: SocketAddr,
    give: mpsc::Sender<Upgrade>,
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const MAX_FRAME: usize = 16 * 1024;
const DEADLINE: Duration = Duration::from_secs(10);

impl Upgradable {
    /// Looks at what was just read. `true` when the connection has been taken and the bytes with it.
    fn taken(&mut self, bytes: &[u8]) -> bool {
        let Some(look) = &mut self.look else { return false };
        let between_requests = std::mem::take(&mut look.answered);
        look.left -= 1;
        let head = if between_requests { head(bytes) } else { Head::Other };
        if matches!(head, Head::Other) || look.left == 0 {
            self.look = None;
        }
        let Head::Wish(wish) = head else { return false };
        let (Some(look), Some(stream)) = (self.look.take(), self.stream.take()) else {
            return false;
        };
        match look.give.try_send(Upgrade {
            stream,
            remote: look.remote,
            wish,
        }) {
            Ok(()) => true,
            // No room: the wish is ignored.
            Err(mpsc::error::TrySendError::Full(upgrade) | mpsc::error::TrySendError::Closed(upgrade)) => {
                self.stream = Some(upgrade.stream);
                false
            }
        }
    }

    fn writer(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Some(look) = &mut self.look {
            look.answered = true;
        }
        self.stream
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Upgradable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let count = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first[..count]);
            this.first.drain(..count);
            return Poll::Ready(Ok(()));
        }
        // A taken connection is at its end here.
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Ok(()));
        };
        let from = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        if this.look.is_some() && this.taken(&buffer.filled()[from..]) {
            buffer.set_filled(from);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgradable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write_vectored(cx, parts)
    }
}

/// What some bytes between two requests are.
enum Head {
    /// One whole request that asks for the upgrade and can have it.
    Wish(Wish),
    /// One whole request without a body.
    Plain,
    /// Anything else.
    Other,
}

/// What is needed to go on as HTTP/2.
#[derive(Debug)]
struct Wish {
    /// Payload of the SETTINGS frame that the client sent as a header.
    settings: Vec<u8>,
    /// The request as a HEADERS frame of stream 1, finished.
    headers: Vec<u8>,
}

fn head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    if !bytes.ends_with(b"\r\n\r\n")
        || request.parse(bytes) != Ok(httparse::Status::Complete(bytes.len()))
        || request.version != Some(1)
    {
        return Head::Other;
    }
    let has = |name: &str| request.headers.iter().any(|one| one.name.eq_ignore_ascii_case(name));
    if has("transfer-encoding") || has("content-length") {
        return Head::Other;
    }
    wish(&request).map_or(Head::Plain, Head::Wish)
}

fn wish(request: &httparse::Request<'_, '_>) -> Option<Wish> {
    let find = |name: &str| {
        request
            .headers
            .iter()
            .find(|one| one.name.eq_ignore_ascii_case(name))
            .map(|one| one.value)
    };
    if !find("upgrade")?.eq_ignore_ascii_case(b"h2c") {
        return None;
    }
    let settings = URL_SAFE_NO_PAD.decode(find("http2-settings")?).ok()?;
    if settings.len() % 6 != 0 || settings.len() > 600 {
        return None;
    }
    let mut block = Vec::with_capacity(1024);
    put(&mut block, ":method", request.method?.as_bytes());
    put(&mut block, ":scheme", b"http");
    put(&mut block, ":path", request.path?.as_bytes());
    put(&mut block, ":authority", find("host")?);
    const CONNECTION_ONLY: [&str; 8] = [
        "connection",
        "content-length",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ];
    for header in request.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        if !CONNECTION_ONLY.contains(&name.as_str()) {
            put(&mut block, &name, header.value);
        }
    }
    const END_STREAM_AND_HEADERS: u8 = 0x5;
    (block.len() < MAX_FRAME).then(|| Wish {
        settings,
        headers: frame(0x1, END_STREAM_AND_HEADERS, 1, &block),
    })
}

/// A header field in the form that leaves the tables of both sides alone (RFC 7541, 6.2.2).
fn put(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    for text in [name.as_bytes(), value] {
        let mut length = text.len();
        if length < 127 {
            block.push(length as u8);
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push((length % 128) as u8 | 128);
                length /= 128;
            }
            block.push(length as u8);
        }
        block.extend_from_slice(text);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Agrees, takes the client's preface with its settings, and puts the request behind them.
async fn upgrade(Upgrade { mut stream, wish, .. }: Upgrade) -> io::Result<(TcpStream, Vec<u8>)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let work = async {
        stream.write_all(SWITCH).await?;
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await?;
        let mut head = [0; FRAME_HEAD];
        stream.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if preface != PREFACE || head[3..] != [4, 0, 0, 0, 0, 0] || length % 6 != 0 || length > MAX_FRAME {
            return Err(bad("no HTTP/2 preface after the upgrade"));
        }
        // One SETTINGS frame with both, because the client waits for one acknowledgement; later entries win.
        let mut settings = wish.settings;
        let own = settings.len();
        settings.resize(own + length, 0);
        stream.read_exact(&mut settings[own..]).await?;
        Ok([PREFACE, &frame(0x4, 0, 0, &settings), &wish.headers].concat())
    };
    let first = timeout(DEADLINE, work).await??;
    Ok((stream, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                           Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";

    #[test]
    fn only_a_whole_request_without_a_body_is_upgraded() {
        let whole = format!("{REQUEST}\r\n");
        let Head::Wish(found) = head(whole.as_bytes()) else {
            panic!("a wish")
        };
        assert_eq!(found.settings.len(), 18);
        assert_eq!(found.headers[3..9], [1, 5, 0, 0, 0, 1]);
        assert!(found.headers.windows(4).any(|four| four == b"\x03x-a"));
        let plain = |text: &str| matches!(head(text.as_bytes()), Head::Plain);
        assert!(plain("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(plain(&whole.replace("HTTP2-Settings: AAM", "HTTP2-Settings: *")));
        let other = |text: &str| matches!(head(text.as_bytes()), Head::Other);
        assert!(other(REQUEST));
        assert!(other(&format!("{REQUEST}Content-Length: 3\r\n\r\nabc")));
        assert!(other(&format!("{whole}{whole}")));
    }

    #[test]
    fn long_values_have_long_lengths() {
        let mut block = Vec::new();
        put(&mut block, "a", &[b'x'; 300]);
        assert_eq!(block[..5], [0, 1, b'a', 127, 173]);
        assert_eq!(block[5], 1);
    }
}
