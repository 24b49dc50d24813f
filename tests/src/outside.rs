//! What a stranger with ordinary tools gets from a port: bytes over plain TCP, and OpenSSL.
//!
//! One idea: another implementation than ours judges our TLS. Must never be given a key of ours.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// For an answer; a listener that says nothing for so long has refused.
const ANSWER: Duration = Duration::from_secs(5);
/// What an HTTP server would answer.
const REQUEST: &[u8] = b"GET /v1.0/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// What begins HTTP/2, gRPC too.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Everything that comes back for requests without TLS.
pub fn plaintext(address: SocketAddr) -> Result<Vec<u8>> {
    let mut answers = Vec::new();
    for request in [REQUEST, PREFACE] {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(request)?;
        match stream.read_to_end(&mut answers) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(answers)
}

/// What `openssl s_client` gets with these arguments from an HTTP request: the bytes that came through TLS.
pub fn tls(address: SocketAddr, arguments: &[&str]) -> Result<Vec<u8>> {
    let (output, _) = s_client(address, arguments, true)?;
    Ok(output)
}

/// What `openssl s_client` says about a handshake: certificates, protocol, refusal.
pub fn handshake(address: SocketAddr, arguments: &[&str]) -> Result<String> {
    let (output, errors) = s_client(address, arguments, false)?;
    Ok(String::from_utf8_lossy(&[output, errors].concat()).into_owned())
}

fn s_client(address: SocketAddr, arguments: &[&str], quiet: bool) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut command = Command::new("timeout");
    command
        .arg(ANSWER.as_secs().to_string())
        .args(["openssl", "s_client", "-connect", &address.to_string()]);
    // Quiet also means: stay until the other side ends, so that a late refusal is seen.
    command.args(arguments).args(quiet.then_some("-quiet"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("openssl")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    if quiet {
        // It may have been refused already.
        let _ = stdin.write_all(REQUEST);
    }
    drop(stdin);
    let output = child.wait_with_output()?;
    Ok((output.stdout, output.stderr))
}

/// A self-made certificate that claims a SPIFFE ID; the file holds key and certificate.
pub fn forge(folder: &Path, spiffe_id: &str) -> Result<PathBuf> {
    let (key, file) = (folder.join("forged.key"), folder.join("forged.pem"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]);
    command.args([
        "-subj",
        "/",
        "-addext",
        &format!("subjectAltName=critical,URI:{spiffe_id}"),
    ]);
    command.args([
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "keyUsage=critical,digitalSignature",
    ]);
    let done = command.arg("-keyout").arg(&key).arg("-out").arg(&file).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let both = [std::fs::read(&key)?, std::fs::read(&file)?].concat();
    std::fs::write(&file, both)?;
    Ok(file)
}
