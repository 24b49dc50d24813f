//! Finds other Dapr Servers on the network by multicast DNS, and says that this one is here. Drop-in form only.
//!
//! One idea: one task owns the socket; what it hears about App IDs that were asked for goes into a list that callers read
//! without asking again. An instance that is not heard of for a minute is forgotten. IPv4, the interface of the default
//! route for sending, every multicast interface for hearing. Must never be started in platform mode, where only the agent
//! says who is where.

mod packet;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use palladium_tasks::Shutdown;
use simple_dns::{Packet, PacketFlag};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

pub use packet::Announcement;

const PORT: u16 = 5353;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// How long the first answer about an App ID may take.
const FIRST: Duration = Duration::from_secs(1);
/// When the question is asked again within that time.
const AGAIN: Duration = Duration::from_millis(250);
/// How long an instance is believed after it was heard of.
const BELIEVED: Duration = Duration::from_secs(60);
/// How often all that were asked for are asked for again.
const REFRESH: Duration = Duration::from_secs(30);
/// App IDs that are remembered, and addresses of each.
const MAX_APPS: usize = 4096;
const MAX_ADDRESSES: usize = 64;
/// When an instance says unasked that it is here.
const ANNOUNCEMENTS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1)];

/// Who is where.
#[derive(Clone)]
pub struct Mdns(Arc<Shared>);

struct Shared {
    apps: Mutex<HashMap<String, Vec<Heard>>>,
    /// Grows with every change of `apps`.
    changes: watch::Sender<u64>,
    version: AtomicU64,
    questions: mpsc::Sender<Vec<u8>>,
}

struct Heard {
    address: SocketAddr,
    until: Instant,
}

impl Mdns {
    /// Opens the socket. Run the task that comes with it until the end of the process.
    ///
    /// # Errors
    /// When the operating system refuses the socket; without a network there is one that hears nobody.
    pub fn open(
        own: Option<Announcement>,
        shutdown: Shutdown,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let socket = socket()?;
        let (questions, asked) = mpsc::channel(64);
        let mdns = Self(Arc::new(Shared {
            apps: Mutex::default(),
            changes: watch::Sender::new(0),
            version: AtomicU64::new(0),
            questions,
        }));
        let task = run(mdns.clone(), socket, own, asked, shutdown);
        Ok((mdns, task))
    }

    /// Grows whenever an address comes or goes.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// The instances of an App ID that are known now.
    pub fn known(&self, app_id: &str) -> Vec<SocketAddr> {
        let apps = self.apps();
        apps.get(app_id)
            .map(|heard| heard.iter().map(|heard| heard.address).collect())
            .unwrap_or_default()
    }

    /// The instances of an App ID; asks the network when none is known. Empty: nobody answered within a second.
    pub async fn resolve(&self, app_id: &str) -> Vec<SocketAddr> {
        {
            let mut apps = self.apps();
            if !apps.contains_key(app_id) {
                if apps.len() >= MAX_APPS {
                    apps.retain(|_, heard| !heard.is_empty());
                }
                if apps.len() < MAX_APPS {
                    apps.insert(app_id.to_owned(), Vec::new());
                }
            }
        }
        let mut changes = self.0.changes.subscribe();
        let known = self.known(app_id);
        if !known.is_empty() {
            return known;
        }
        let Some(question) = packet::question(app_id) else {
            return Vec::new();
        };
        let until = tokio::time::Instant::now() + FIRST;
        loop {
            // A full queue means that enough is being asked; this one is asked again soon.
            let _ = self.0.questions.try_send(question.clone());
            let again = tokio::time::Instant::now() + AGAIN;
            while let Ok(Ok(())) = timeout(again - tokio::time::Instant::now(), changes.changed()).await {
                let known = self.known(app_id);
                if !known.is_empty() {
                    return known;
                }
            }
            if tokio::time::Instant::now() >= until {
                return Vec::new();
            }
        }
    }

    /// Forgets an address that does not answer, until it is heard of again.
    pub fn forget(&self, app_id: &str, address: &str) {
        let mut apps = self.apps();
        if let Some(heard) = apps.get_mut(app_id) {
            let before = heard.len();
            heard.retain(|heard| heard.address.to_string() != address);
            if heard.len() != before {
                drop(apps);
                self.changed();
            }
        }
    }

    fn apps(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Heard>>> {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
        self.0.changes.send_modify(|count| *count += 1);
    }

    fn hear(&self, packet: &Packet<'_>) {
        let mut apps = self.apps();
        let found = packet::found(packet, |app_id| apps.contains_key(app_id));
        let until = Instant::now() + BELIEVED;
        let mut changed = false;
        for one in found {
            let Some(heard) = apps.get_mut(&one.app_id) else {
                continue;
            };
            let at = heard.iter().position(|known| known.address == one.address);
            match at {
                Some(at) if one.gone => {
                    heard.swap_remove(at);
                    changed = true;
                }
                Some(at) => heard[at].until = until,
                None if one.gone || heard.len() >= MAX_ADDRESSES => {}
                None => {
                    heard.push(Heard {
                        address: one.address,
                        until,
                    });
                    changed = true;
                }
            }
        }
        drop(apps);
        if changed {
            self.changed();
        }
    }

    /// Forgets who was not heard of for long; gives the questions to ask again.
    fn refresh(&self) -> Vec<Vec<u8>> {
        let now = Instant::now();
        let mut apps = self.apps();
        let mut changed = false;
        for heard in apps.values_mut() {
            let before = heard.len();
            heard.retain(|heard| heard.until > now);
            changed |= heard.len() != before;
        }
        let questions = apps
            .iter()
            .filter(|(_, heard)| !heard.is_empty())
            .filter_map(|(app_id, _)| packet::question(app_id))
            .collect();
        drop(apps);
        if changed {
            self.changed();
        }
        questions
    }
}

/// One that other programs' responders on this machine share the port with.
fn socket() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT).into())?;
    let mut joined = 0;
    for index in multicast_interfaces() {
        let interface = InterfaceIndexOrAddress::Index(index);
        joined += usize::from(socket.join_multicast_v4_n(&GROUP, &interface).is_ok());
    }
    if joined == 0 {
        // No network: those on this machine still find each other.
        let _ = socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST);
        let _ = socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST);
    }
    socket.set_multicast_loop_v4(true)?;
    UdpSocket::from_std(socket.into())
}

/// Numbers of the interfaces that are up and know multicast.
fn multicast_interfaces() -> Vec<u32> {
    const UP_AND_MULTICAST: u32 = 0x1 | 0x1000;
    let Ok(interfaces) = std::fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let read = |folder: &std::path::Path, name: &str| std::fs::read_to_string(folder.join(name)).ok();
    interfaces
        .filter_map(|interface| {
            let folder = interface.ok()?.path();
            let flags = u32::from_str_radix(read(&folder, "flags")?.trim().strip_prefix("0x")?, 16).ok()?;
            let index = read(&folder, "ifindex")?.trim().parse().ok()?;
            (flags & UP_AND_MULTICAST == UP_AND_MULTICAST).then_some(index)
        })
        .collect()
}

async fn run(
    mdns: Mdns,
    socket: UdpSocket,
    own: Option<Announcement>,
    mut asked: mpsc::Receiver<Vec<u8>>,
    shutdown: Shutdown,
) {
    let everybody = SocketAddr::from((GROUP, PORT));
    let start = tokio::time::Instant::now();
    let mut announcements = ANNOUNCEMENTS.iter();
    let mut next = own.as_ref().and_then(|_| announcements.next());
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; 9000];
    loop {
        let announcing = async {
            match next {
                Some(after) => sleep_until(start + *after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.wait() => break,
            () = announcing => {
                if let Some(bytes) = own.as_ref().and_then(|own| own.announce(false)) {
                    send(&socket, &bytes, everybody).await;
                }
                next = announcements.next();
            }
            Some(question) = asked.recv() => send(&socket, &question, everybody).await,
            _ = refresh.tick() => {
                for question in mdns.refresh() {
                    send(&socket, &question, everybody).await;
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, from)) = received else {
                    // The network may have gone; it may come back.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let Ok(packet) = Packet::parse(&buffer[..length]) else { continue };
                if packet.has_flags(PacketFlag::RESPONSE) {
                    mdns.hear(&packet);
                } else if let Some(own) = &own {
                    for answer in own.answers(&packet) {
                        let to = if answer.unicast { from } else { everybody };
                        send(&socket, &answer.answer, to).await;
                    }
                }
            }
        }
    }
    if let Some(bytes) = own.and_then(|own| own.announce(true)) {
        send(&socket, &bytes, everybody).await;
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(bytes, to).await {
        tracing::debug!(%error, "multicast DNS could not be sent");
    }
}
