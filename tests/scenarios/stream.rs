//! What passes between a region and its control plane, seen from the wire, and who begins it.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    app::App,
    system::{AGENT, CONTROL_PLANE, System},
    until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SOON: Duration = Duration::from_secs(30);
/// Calls of the application, and bytes of each: some megabytes in all, of which nothing may pass.
const CALLS: usize = 60;
const BYTES: usize = 64 * 1024;
/// What statuses and keep-alives may take meanwhile.
const TALK: usize = 256 * 1024;

/// A wire that is listened to. It leads from the agent to the control plane and to nowhere else.
#[derive(Clone, Default)]
struct Wire {
    calls: Arc<AtomicUsize>,
    /// To the control plane, and from it.
    seen: [Arc<Mutex<Vec<u8>>>; 2],
}

impl Wire {
    async fn between(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let (wire, listener) = (Self::default(), TcpListener::bind(from).await?);
        let own = wire.clone();
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                own.calls.fetch_add(1, Relaxed);
                let [up, down] = own.seen.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(to).await?;
                    let ((ar, aw), (sr, sw)) = (agent.into_split(), server.into_split());
                    tokio::select! {
                        done = pass(ar, sw, up) => done,
                        done = pass(sr, aw, down) => done,
                    }
                });
            }
        });
        Ok(wire)
    }

    fn bytes(&self) -> [usize; 2] {
        [0, 1].map(|way| lock(&self.seen[way]).len())
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    seen: Arc<Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        lock(&seen).extend_from_slice(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Definitions pass, what applications say does not: megabytes of it leave no trace in the volume of either direction,
/// which no encryption hides. And the control plane calls nobody in the region.
#[tokio::test]
async fn sec_141_nothing_that_applications_say_passes_to_the_control_plane() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let tap = local(system.ports.extra(0));
    let wire = Wire::between(tap, local(system.ports.stream())).await?;
    lead_the_agent_to(&system, tap).await?;
    until(SOON, "the agent calls", async || {
        ensure!(wire.calls.load(Relaxed) > 0);
        Ok(())
    })
    .await?;
    let before = wire.bytes();
    let app = App::create(&system, "shop", "orders").await?;
    let made = wire.bytes();
    // The one wire there is, and it is seen.
    ensure!(made[0] > before[0] && made[1] > before[1], "{before:?} {made:?}");

    let canary: String = text(7).chars().take(32).collect();
    for call in 0..CALLS {
        let value = json!(text(call as u64));
        app.save("kvstore", &format!("k{call}"), &value).await?.good()?;
        let load = app.gateway.bare(Method::GET, &format!("/v1.0/state/kvstore/k{call}"));
        let load = load.header("dapr-api-token", &app.token).header("x-canary", &canary);
        let loaded = palladium_tests::api::Api::answer(load).await?.good()?;
        ensure!(loaded == value, "another value");
    }
    // Reports come late.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = wire.bytes();
    for way in [0, 1] {
        let talk = after[way] - made[way];
        ensure!(
            talk < TALK,
            "{talk} bytes passed in direction {way} during {CALLS} calls"
        );
        let seen = lock(&wire.seen[way]).clone();
        for text in [&app.token, &canary] {
            let found = memchr::memmem::find(&seen, text.as_bytes()).is_some();
            ensure!(!found, "{text} passes in clear");
        }
    }
    the_control_plane_calls_nobody_in_the_region(&system)?;
    system.finish().await
}

/// As an operator would who puts a device in between.
async fn lead_the_agent_to(system: &System, address: SocketAddr) -> Result<()> {
    let file = system.data().join("region/config/agent.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    ensure!(config["control_plane_address"].is_string(), "{config}");
    config["control_plane_address"] = address.to_string().into();
    fs::write(&file, config.to_string())?;
    let old = system.kill(AGENT)?;
    system.replaced(AGENT, old, SOON).await?;
    Ok(())
}

/// Every connection of the control plane came to it, but for those to its own zone's certificate authority.
fn the_control_plane_calls_nobody_in_the_region(system: &System) -> Result<()> {
    let ports: Value = serde_json::from_slice(&fs::read(system.data().join("ports.json"))?)?;
    let port = |name: &str| ports[name].as_u64().with_context(|| format!("no port {name}"));
    let own = [port("control_plane")?, port("stream")?];
    let pid = system.pid(CONTROL_PLANE)?;
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        if let Ok(target) = fs::read_link(entry?.path()) {
            sockets.insert(target.display().to_string());
        }
    }
    let (mut came, mut went) = (0, BTreeSet::new());
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().context("another form");
        let port = |address: &str| {
            let (_, port) = address.split_once(':').context("no port")?;
            anyhow::Ok(u64::from_str_radix(port, 16)?)
        };
        let (near, far, inode) = (port(field(1)?)?, port(field(2)?)?, field(9)?);
        if far == 0 || !sockets.contains(&format!("socket:[{inode}]")) {
            continue;
        }
        if own.contains(&near) {
            came += 1;
        } else {
            went.insert(far);
        }
    }
    ensure!(came > 0, "not even the agent's connection was found");
    went.remove(&port("control_sentry")?);
    ensure!(went.is_empty(), "the control plane called ports {went:?}");
    Ok(())
}

/// Text that nothing makes shorter.
fn text(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state % 44) as u8)
    };
    std::iter::repeat_with(digit).take(BYTES).collect()
}
