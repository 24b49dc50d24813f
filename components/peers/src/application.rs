//! An application that a `daprd` calls: it subscribes to topic `t` of component `store` and passes on what it gets.
//!
//! One idea: an event counts as handled when the answer to it is written, and is passed on before that: whatever is lost
//! after it was passed on comes again. Must never refuse one.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A running application; its task ends with the test's runtime.
#[derive(Debug)]
pub struct Application {
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    /// The events it got, as they came.
    pub bodies: mpsc::UnboundedReceiver<String>,
}

impl Application {
    /// Starts one that thinks for so long about each event.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(thinking: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, bodies) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.clone(), thinking));
            }
        });
        Self { port, bodies }
    }
}

/// The requests of one connection; `None` at its end.
async fn serve(mut stream: TcpStream, sender: mpsc::UnboundedSender<String>, thinking: Duration) -> Option<()> {
    let mut received = Vec::new();
    loop {
        let (path, body) = request(&mut stream, &mut received).await?;
        let answer = match path.as_str() {
            "/dapr/subscribe" => r#"[{"pubsubname":"store","topic":"t","route":"/t"}]"#,
            "/t" => {
                let _ = sender.send(body);
                tokio::time::sleep(thinking).await;
                "{}"
            }
            _ => "{}",
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        let answer = format!("{head}: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Path and body of the next request; what follows it stays in `received`.
async fn request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.map_or(0, |length| length.parse().unwrap());
            if received.len() >= whole {
                let body = String::from_utf8_lossy(&received[end + 4..whole]).into_owned();
                let path = head.split(' ').nth(1)?.to_owned();
                received.drain(..whole);
                return Some((path, body));
            }
        }
        let mut piece = [0; 4096];
        let length @ 1.. = stream.read(&mut piece).await.ok()? else {
            return None;
        };
        received.extend_from_slice(&piece[..length]);
    }
}
