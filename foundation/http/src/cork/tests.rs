//! What was written comes out whole, in order and together.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::pin;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

async fn drive<T: AsyncWrite + Unpin, C: Future>(uncork: &Uncork<T>, library: C) -> C::Output {
    let mut library = pin!(library);
    poll_fn(|cx| uncork.poll(library.as_mut(), cx)).await
}

/// Counts the writes that reach the stream.
struct Counting<T>(T, usize);

impl<T: AsyncRead + Unpin> AsyncRead for Counting<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counting<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1 += 1;
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn what_was_written_at_one_look_is_one_write() {
    let (ours, mut peer) = duplex(1 << 20);
    let (mut stream, uncork) = cork(Counting(ours, 0));
    let cork = stream.0.clone();
    let library = async {
        for piece in ["head ", "message ", "end"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(lock(&stream.0).stream.1, 0);
        stream.read_u8().await.unwrap();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 7);
    };
    let other = async {
        let mut read = [0; 16];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"head message end");
        peer.write_u8(1).await.unwrap();
        peer.read_exact(&mut read[..7]).await.unwrap();
        assert_eq!(&read[..7], b"one two");
    };
    tokio::join!(drive(&uncork, library), other);
    assert_eq!(lock(&cork).stream.1, 2);
}

#[tokio::test]
async fn whatever_the_lengths_the_bytes_stay_in_order() {
    let (ours, mut peer) = duplex(1000);
    let (mut stream, uncork) = cork(ours);
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let library = async {
        let mut rest = &sent[..];
        for length in [1, 9_000, 9_000, 40_000, 3, 16 * 1024, 16 * 1024 + 1].iter().cycle() {
            let (piece, others) = rest.split_at(rest.len().min(*length));
            if piece.is_empty() {
                break;
            }
            stream.write_all(piece).await.unwrap();
            assert!(lock(&stream.0).kept.len() <= ROOM);
            rest = others;
        }
        // The peer takes the rest before it sees the end.
        stream.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    tokio::join!(drive(&uncork, library), async {
        peer.read_to_end(&mut got).await.unwrap()
    });
    assert!(got == sent);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_to_who_reads() {
    let (ours, peer) = duplex(1000);
    drop(peer);
    let (mut stream, uncork) = cork(ours);
    let library = async {
        stream.write_all(b"x").await.unwrap();
        let mut looked = false;
        // The first look sends.
        poll_fn(|_| {
            if std::mem::replace(&mut looked, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        stream.read_u8().await.unwrap_err().kind()
    };
    assert_eq!(drive(&uncork, library).await, io::ErrorKind::BrokenPipe);
}
