//! A control plane under test: signs entries and snapshots, honest or not, and a region that takes them.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bytes::Bytes;
use palladium_launch::IdentityConfig;
use palladium_proto::region::{LogEntry, LogHeader, Op, Snapshot, SnapshotManifest, SnapshotObject};
use palladium_sealing::{KekConfig, SealedValue, sha256};
use palladium_stream::signed;
use prost::Message as _;
use serde_json::{Value, json};

use crate::desired::{LogKey, Position};
use crate::joined::Joined;
use crate::region::Region;
use crate::{Config, PortRange};

pub const REGION: &str = "reg-aaaaaaaaaaaa";
pub const DOMAIN: &str = "reg-aaaaaaaaaaaa.palladium.internal";
pub const PROJECT: &str = "prj-pppppppppppp";

/// One object as a test wants it.
#[derive(Clone)]
pub struct Wanted {
    pub kind: &'static str,
    pub project: String,
    pub name: String,
    pub uid: String,
    pub generation: u64,
    pub body: Value,
    pub sealed: Vec<SealedValue>,
}

impl Wanted {
    pub fn new(kind: &'static str, name: &str, uid: &str, body: Value) -> Self {
        let (project, name, uid) = (PROJECT.to_owned(), name.to_owned(), uid.to_owned());
        Self {
            kind,
            project,
            name,
            uid,
            generation: 1,
            body,
            sealed: Vec::new(),
        }
    }

    pub fn project() -> Self {
        Self::new("Project", "shop", "u-project", json!({ "spec": {} }))
    }

    pub fn app(name: &str) -> Self {
        Self::new("AppIdentity", name, &format!("u-{name}"), json!({ "spec": {} }))
    }

    pub fn component(name: &str, body: Value) -> Self {
        Self::new("Component", name, &format!("u-{name}"), body)
    }

    pub fn generation(mut self, generation: u64, body: Value) -> Self {
        (self.generation, self.body) = (generation, body);
        self
    }

    pub fn payload(&self) -> Bytes {
        let mut payload = self.body.clone();
        payload["apiVersion"] = "cra.diagrid.io/v1beta1".into();
        payload["kind"] = self.kind.into();
        payload["metadata"] = json!({
            "name": self.name, "uid": self.uid, "generation": self.generation, "projectId": self.project,
            "projectName": "shop",
        });
        if !self.sealed.is_empty() {
            payload["sealed"] = serde_json::to_value(&self.sealed).unwrap();
        }
        payload.to_string().into_bytes().into()
    }

    fn header(&self, op: Op, payload: &[u8]) -> LogHeader {
        LogHeader {
            region_id: REGION.to_owned(),
            epoch: 0,
            seq: 0,
            prev: Bytes::new(),
            op: op.into(),
            kind: self.kind.to_owned(),
            project_id: self.project.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            generation: self.generation,
            payload_sha256: Bytes::copy_from_slice(&sha256(payload)),
        }
    }
}

/// Signs.
pub struct Control {
    key: Ed25519KeyPair,
    pub position: Position,
}

impl Control {
    pub fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self {
            key,
            position: Position {
                epoch: 1,
                ..Position::default()
            },
        }
    }

    pub fn log_key(&self) -> LogKey {
        LogKey(Bytes::copy_from_slice(self.key.public_key().as_ref()))
    }

    /// Signs a header as it is.
    pub fn sign(&self, header: &LogHeader, payload: Bytes) -> LogEntry {
        let header = header.encode_to_vec();
        let signature = self.key.sign(&signed::log_entry(&header));
        LogEntry {
            signature: Bytes::copy_from_slice(signature.as_ref()),
            header: header.into(),
            payload,
        }
    }

    fn next(&mut self, op: Op, wanted: &Wanted, payload: Bytes) -> LogEntry {
        let mut header = wanted.header(op, &payload);
        (header.epoch, header.seq) = (self.position.epoch, self.position.seq + 1);
        header.prev = self.position.head.clone();
        let entry = self.sign(&header, payload);
        self.position.seq += 1;
        self.position.head = Bytes::copy_from_slice(&signed::head(&entry.header));
        entry
    }

    pub fn put(&mut self, wanted: &Wanted) -> LogEntry {
        self.next(Op::Put, wanted, wanted.payload())
    }

    pub fn put_bytes(&mut self, wanted: &Wanted, payload: Bytes) -> LogEntry {
        self.next(Op::Put, wanted, payload)
    }

    pub fn delete(&mut self, wanted: &Wanted) -> LogEntry {
        self.next(Op::Delete, wanted, Bytes::new())
    }

    pub fn snapshot(&self, wanted: &[Wanted]) -> Snapshot {
        self.snapshot_for(REGION, wanted)
    }

    pub fn snapshot_for(&self, region: &str, wanted: &[Wanted]) -> Snapshot {
        let objects: Vec<SnapshotObject> = wanted
            .iter()
            .map(|wanted| {
                let payload = wanted.payload();
                let mut header = wanted.header(Op::Put, &payload);
                (header.epoch, header.region_id) = (self.position.epoch, region.to_owned());
                SnapshotObject {
                    header: header.encode_to_vec().into(),
                    payload,
                }
            })
            .collect();
        let manifest = SnapshotManifest {
            region_id: region.to_owned(),
            epoch: self.position.epoch,
            seq: self.position.seq,
            head: self.position.head.clone(),
            objects_sha256: Bytes::copy_from_slice(&signed::objects(&objects)),
        };
        let manifest = manifest.encode_to_vec();
        let signature = self.key.sign(&signed::snapshot(&manifest));
        Snapshot {
            signature: Bytes::copy_from_slice(signature.as_ref()),
            manifest: manifest.into(),
            objects,
        }
    }

    /// What joining this control plane would have written.
    pub fn join(&self, folder: &Path) {
        let joined = Joined {
            address: "127.0.0.1:1".into(),
            organization_id: "org-oooooooooooo".into(),
            control_trust_domain: "org-oooooooooooo.palladium.internal".into(),
            control_roots: String::new(),
            log_public_key: self.log_key().0.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        palladium_os::files::private_folder(folder).unwrap();
        joined.write(folder).unwrap();
    }
}

pub fn config(folder: &Path) -> Config {
    let address = "127.0.0.1:0".parse().unwrap();
    Config {
        region_id: REGION.into(),
        identity: IdentityConfig {
            spiffe_id: format!("spiffe://{DOMAIN}/ns/palladium/agent"),
            sentry_address: address,
            sentry_id: format!("spiffe://{DOMAIN}/ns/palladium/dapr-sentry"),
            roots_file: folder.join("ca.crt"),
            edge_address: None,
        },
        listen: address,
        metrics: None,
        data_folder: folder.join("agent"),
        kek: KekConfig::KeyFile {
            path: folder.join("kek"),
        },
        guard_rails_file: folder.join("guard-rails.yaml"),
        join_token_file: None,
        control_plane_address: None,
        trust_folder: folder.join("trust"),
        apps_folder: folder.join("apps"),
        app_ports: PortRange {
            from: 20_000,
            to: 30_000,
        },
        supervisor_socket: folder.join("supervisor.sock"),
        store_address: None,
        gateway_url: "https://localhost:8443".into(),
        ingress_domain: None,
        token_overlap_seconds: 3600,
        app_memory_limit_bytes: 0,
        app_open_files_limit: 0,
        log: palladium_telemetry::LogConfig::default(),
    }
}

/// A joined region with one project.
pub fn region(folder: &Path, control: &Control) -> Region {
    control.join(&folder.join("agent"));
    let region = Region::open(config(folder)).unwrap();
    region.take_snapshot(&control.snapshot(&[Wanted::project()])).unwrap();
    region
}
