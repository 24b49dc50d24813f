//! The packets by which Dapr Servers find each other on a network.
//!
//! One idea: the original's own form, not DNS-SD's: the App ID alone is the service, `<app id>.local`; an instance is
//! `<host>:<pid>.<app id>.local`, its text the App ID once more. Both sides of the wire are here, so that they cannot differ.
//! Must never believe a packet about an App ID whose text says another one.

use std::net::{IpAddr, SocketAddr};

use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

const DOMAIN: &str = "local";
/// Names all services.
const SERVICES: &str = "_services._dns-sd._udp.local";
/// How long others may remember an instance, in seconds.
const TTL: u32 = 3200;
/// How long its address.
const ADDRESS_TTL: u32 = 120;

/// What this process announces.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Its App ID.
    pub app_id: String,
    /// Host name and process id, made unique by the latter.
    pub instance: String,
    /// The host's name.
    pub host: String,
    /// Where its internal port is.
    pub address: SocketAddr,
}

/// An instance that a packet tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its App ID.
    pub app_id: String,
    /// Where it is.
    pub address: SocketAddr,
    /// It says that it goes.
    pub gone: bool,
}

/// A question that this process can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The answer.
    pub answer: Vec<u8>,
    /// Whether only the one who asked wants it.
    pub unicast: bool,
}

/// Asks for all instances of an App ID.
pub fn question(app_id: &str) -> Option<Vec<u8>> {
    let service = format!("{app_id}.{DOMAIN}");
    let mut packet = Packet::new_query(0);
    packet.questions.push(Question::new(
        Name::new(&service).ok()?,
        QTYPE::TYPE(TYPE::PTR),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

impl Announcement {
    /// Says unasked that this instance is here, or that it goes.
    pub fn announce(&self, gone: bool) -> Option<Vec<u8>> {
        self.records(|records| {
            let mut packet = reply();
            packet
                .answers
                .extend([records.server, records.text, records.instance, records.service]);
            packet.answers.push(records.address);
            for answer in &mut packet.answers {
                if gone {
                    answer.ttl = 0;
                }
                answer.cache_flush = !matches!(answer.rdata, RData::PTR(_));
            }
            packet.build_bytes_vec_compressed().ok()
        })
    }

    /// Answers the questions of a packet that are about this instance.
    pub fn answers(&self, query: &Packet<'_>) -> Vec<Asked> {
        if !query.name_servers.is_empty() {
            // A probe, not a question.
            return Vec::new();
        }
        let service = format!("{}.{DOMAIN}", self.app_id);
        let instance = format!("{}.{service}", self.instance);
        let known = query
            .answers
            .iter()
            .any(|known| matches!(&known.rdata, RData::PTR(PTR(name)) if is(name, &instance)) && known.ttl >= TTL / 2);
        let mut asked = Vec::new();
        for question in &query.questions {
            let answer = self.records(|records| {
                let mut packet = reply();
                if is(&question.qname, &service) && !known {
                    packet.answers.push(records.instance);
                    packet
                        .additional_records
                        .extend([records.server, records.text, records.address]);
                } else if is(&question.qname, &instance) {
                    packet
                        .answers
                        .extend([records.server, records.text, records.instance, records.address]);
                } else if is(&question.qname, SERVICES) {
                    packet.answers.push(records.service);
                } else {
                    return None;
                }
                packet.build_bytes_vec_compressed().ok()
            });
            if let Some(answer) = answer {
                asked.push(Asked {
                    answer,
                    unicast: question.unicast_response,
                });
            }
        }
        asked
    }

    fn records<T>(&self, with: impl FnOnce(Records<'_>) -> Option<T>) -> Option<T> {
        let service = format!("{}.{DOMAIN}", self.app_id);
        let instance = format!("{}.{service}", self.instance);
        let host = format!("{}.{DOMAIN}", self.host.trim_end_matches('.'));
        let (service, instance, host) = (
            Name::new(&service).ok()?,
            Name::new(&instance).ok()?,
            Name::new(&host).ok()?,
        );
        let all = Name::new(SERVICES).ok()?;
        let address = match self.address.ip() {
            IpAddr::V4(ip) => RData::A(A { address: ip.into() }),
            IpAddr::V6(ip) => RData::AAAA(AAAA { address: ip.into() }),
        };
        let server = SRV {
            priority: 0,
            weight: 0,
            port: self.address.port(),
            target: host.clone(),
        };
        let record = |name: &Name<'_>, ttl, data| ResourceRecord::new(name.clone().into_owned(), CLASS::IN, ttl, data);
        with(Records {
            instance: record(&service, TTL, RData::PTR(PTR(instance.clone()))),
            server: record(&instance, TTL, RData::SRV(server)),
            text: record(&instance, TTL, RData::TXT(TXT::new().with_string(&self.app_id).ok()?)),
            service: record(&all, TTL, RData::PTR(PTR(service.clone()))),
            address: record(&host, ADDRESS_TTL, address),
        })
    }
}

struct Records<'a> {
    instance: ResourceRecord<'a>,
    server: ResourceRecord<'a>,
    text: ResourceRecord<'a>,
    service: ResourceRecord<'a>,
    address: ResourceRecord<'a>,
}

fn reply<'a>() -> Packet<'a> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet
}

/// The instances that an answer tells of, as far as `wanted` names their App IDs.
pub fn found(packet: &Packet<'_>, wanted: impl Fn(&str) -> bool) -> Vec<Found> {
    let records = || {
        packet
            .answers
            .iter()
            .chain(&packet.name_servers)
            .chain(&packet.additional_records)
    };
    let mut found = Vec::new();
    for record in records() {
        let RData::SRV(server) = &record.rdata else { continue };
        let Some(app_id) = service_of(&record.name).filter(|app_id| wanted(app_id)) else {
            continue;
        };
        let says_so = records().any(|text| match &text.rdata {
            RData::TXT(words) if text.name == record.name => words
                .iter_raw()
                .next()
                .is_some_and(|(word, rest)| word == app_id.as_bytes() && rest.is_none()),
            _ => false,
        });
        if !says_so {
            continue;
        }
        for address in records().filter(|address| address.name == server.target) {
            let ip: IpAddr = match &address.rdata {
                RData::A(a) => IpAddr::V4(a.address.into()),
                RData::AAAA(aaaa) => IpAddr::V6(aaaa.address.into()),
                _ => continue,
            };
            let address = SocketAddr::new(ip, server.port);
            if found.iter().all(|known: &Found| known.address != address) {
                found.push(Found {
                    app_id: app_id.clone(),
                    address,
                    gone: record.ttl == 0,
                });
            }
        }
    }
    found
}

/// The App ID in the name of an instance: the label before the domain.
fn service_of(name: &Name<'_>) -> Option<String> {
    let labels: Vec<&[u8]> = name.as_bytes().collect();
    match labels.as_slice() {
        [.., _, app_id, domain] if domain.eq_ignore_ascii_case(DOMAIN.as_bytes()) => {
            String::from_utf8(app_id.to_vec()).ok()
        }
        _ => None,
    }
}

/// Compares letter by letter: App IDs are told apart by case.
fn is(name: &Name<'_>, text: &str) -> bool {
    name.as_bytes().eq(text.split('.').map(str::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            app_id: "Orders-1".into(),
            instance: "my.host:7".into(),
            host: "my.host".into(),
            address: "127.0.0.1:4000".parse().expect("address"),
        }
    }

    #[test]
    fn what_is_announced_is_found_and_what_goes_is_gone() {
        for gone in [false, true] {
            let bytes = announcement().announce(gone).expect("built");
            let packet = Packet::parse(&bytes).expect("well formed");
            let expected = Found {
                app_id: "Orders-1".into(),
                address: "127.0.0.1:4000".parse().expect("address"),
                gone,
            };
            assert_eq!(found(&packet, |_| true), [expected]);
            assert_eq!(found(&packet, |app_id| app_id == "orders-1"), []);
        }
    }

    #[test]
    fn questions_are_answered_by_the_one_they_are_about() {
        let bytes = question("Orders-1").expect("built");
        let asked = announcement().answers(&Packet::parse(&bytes).expect("well formed"));
        assert_eq!(asked.len(), 1);
        assert!(!asked[0].unicast);
        let answer = Packet::parse(&asked[0].answer).expect("well formed");
        assert!(matches!(answer.answers[0].rdata, RData::PTR(_)));
        assert_eq!(found(&answer, |_| true).len(), 1);
        let other = question("orders-1").expect("built");
        assert_eq!(announcement().answers(&Packet::parse(&other).expect("well formed")), []);
    }

    #[test]
    fn an_instance_of_another_app_id_is_not_believed() {
        let mut liar = announcement();
        liar.app_id = "stock".into();
        let bytes = liar.announce(false).expect("built");
        let mut packet = Packet::parse(&bytes).expect("well formed");
        for record in &mut packet.answers {
            if let RData::TXT(text) = &mut record.rdata {
                *text = TXT::new().with_string("orders").expect("short");
            }
        }
        assert_eq!(found(&packet, |_| true), []);
    }
}
