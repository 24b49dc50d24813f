//! What a stranger on the machine gets from every port of a whole installation.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use palladium_tests::{app::App, outside, system::System};
use serde_json::Value;

/// Every port that listens, and what it is for.
struct Found {
    public: Vec<SocketAddr>,
    /// Serve whoever has no certificate yet, and nothing but that.
    sentries: Vec<SocketAddr>,
    internal: Vec<SocketAddr>,
}

#[tokio::test]
async fn sec_037_038_039_ports_are_closed_to_strangers() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    App::create(&system, "shop", "orders").await?;
    let found = find(&system)?;
    // Edge authority twice, agent, store, and two of the Dapr Server.
    ensure!(found.internal.len() == 6, "{:?}", found.internal);
    sec_037_plaintext_is_refused(&found)?;
    sec_038_old_protocols_are_refused(&found)?;
    sec_039_strangers_are_refused_before_a_byte_of_http(&system, &found)?;
    certificates_are_of_their_zone(&system, &found)?;
    system.finish().await
}

fn find(system: &System) -> Result<Found> {
    let ports: Value = serde_json::from_slice(&std::fs::read(system.data().join("ports.json"))?)?;
    let is = |address: &SocketAddr, names: &[&str]| names.iter().any(|name| ports[name] == address.port());
    let listening = system.ports.listening()?;
    ensure!(
        listening.iter().all(|address| address.ip().is_loopback()),
        "{listening:?}"
    );
    let (public, internal): (Vec<_>, Vec<_>) = listening
        .into_iter()
        .partition(|address| is(address, &["control_plane", "stream", "gateway"]));
    let (sentries, internal): (Vec<_>, Vec<_>) = internal
        .into_iter()
        .partition(|address| is(address, &["control_sentry", "region_sentry"]));
    ensure!(public.len() == 3 && sentries.len() == 2, "{public:?} {sentries:?}");
    Ok(Found {
        public,
        sentries,
        internal,
    })
}

impl Found {
    fn all(&self) -> impl Iterator<Item = SocketAddr> {
        [&self.public, &self.sentries, &self.internal]
            .into_iter()
            .flatten()
            .copied()
    }
}

/// Silence, or a TLS alert; never HTTP.
fn sec_037_plaintext_is_refused(found: &Found) -> Result<()> {
    const ALERT: u8 = 21;
    for address in found.all() {
        let answer = outside::plaintext(address)?;
        let refused = answer.is_empty() || (answer[0] == ALERT && !contains(&answer, b"HTTP"));
        ensure!(refused, "{address} answers {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Internally TLS 1.3 only; the public ports nothing below 1.2.
fn sec_038_old_protocols_are_refused(found: &Found) -> Result<()> {
    let speaks = |address: SocketAddr, version: &str| {
        let said = outside::handshake(address, &[version, "-cipher", "ALL:@SECLEVEL=0"])?;
        anyhow::Ok(said.contains("BEGIN CERTIFICATE"))
    };
    for address in found.all() {
        for version in ["-tls1", "-tls1_1"] {
            ensure!(!speaks(address, version)?, "{address} speaks {version}");
        }
    }
    for address in found.internal.iter().chain(&found.sentries) {
        ensure!(!speaks(*address, "-tls1_2")?, "{address} speaks TLS 1.2");
    }
    Ok(())
}

/// Without a certificate, and with one that anybody can make.
fn sec_039_strangers_are_refused_before_a_byte_of_http(system: &System, found: &Found) -> Result<()> {
    let up: Value = serde_json::from_slice(&std::fs::read(system.data().join("up.json"))?)?;
    let region = up["region_id"].as_str().context("no region id")?;
    let id = format!("spiffe://{region}.palladium.internal/ns/palladium/gateway");
    let forged = outside::forge(system.home(), &id)?;
    let forged = forged.to_str().context("path")?;
    let gateway = (Ipv4Addr::LOCALHOST, system.ports.gateway()).into();
    let open = outside::tls(gateway, &["-alpn", "http/1.1"])?;
    ensure!(
        contains(&open, b"HTTP/1.1 401"),
        "where everybody may ask, the same gets {open:?}"
    );
    for alpn in ["http/1.1", "h2"] {
        for address in &found.internal {
            let answer = outside::tls(*address, &["-alpn", alpn])?;
            ensure!(
                answer.is_empty(),
                "{address} answers {:?}",
                String::from_utf8_lossy(&answer)
            );
        }
        for address in found.internal.iter().chain(&found.sentries) {
            let answer = outside::tls(*address, &["-alpn", alpn, "-cert", forged, "-key", forged])?;
            ensure!(answer.is_empty(), "{address} takes a forged certificate");
        }
    }
    Ok(())
}

/// One SPIFFE ID inside, none outside, and the users' CA file vouches for nothing inside.
fn certificates_are_of_their_zone(system: &System, found: &Found) -> Result<()> {
    let ca = system.ca_file();
    let ca = ca.to_str().context("path")?;
    let stream = system.ports.stream();
    for address in found.all() {
        let said = outside::handshake(address, &["-CAfile", ca, "-servername", "localhost"])?;
        let trusted = said.contains("Verify return code: 0 (ok)") || said.contains("Verification: OK");
        let edge = found.public.contains(&address) && address.port() != stream;
        ensure!(trusted == edge, "{address}: {said}");
    }
    Ok(())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
