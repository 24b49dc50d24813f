//! The bytes that are signed or hashed in the region stream. Each begins with its own label, so that no signature over
//! one thing can be presented as a signature over another.
//!
//! Must never change a label or an order of bytes that a release has used: regions would refuse their own log.

use palladium_proto::region::{LogHeader, SnapshotObject};
use palladium_sealing::sha256;
use prost::Message as _;

/// What the control plane's log key signs for one log entry; `header` is the exact serialized [`LogHeader`].
pub fn log_entry(header: &[u8]) -> Vec<u8> {
    [b"palladium-log-v1\0".as_slice(), header].concat()
}

/// What the control plane's log key signs for a snapshot; `manifest` is the exact serialized manifest.
pub fn snapshot(manifest: &[u8]) -> Vec<u8> {
    [b"palladium-snapshot-v1\0".as_slice(), manifest].concat()
}

/// What the region's key signs in a `Renew` call. `nonce` has 16 bytes.
pub fn renewal(region_id: &str, csr_pem: &[u8], issued_at_unix_ms: i64, nonce: &[u8]) -> Vec<u8> {
    let mut out = b"palladium-renew-v1\0".to_vec();
    out.extend_from_slice(region_id.as_bytes());
    out.push(0);
    out.extend_from_slice(&sha256(csr_pem));
    out.extend_from_slice(&issued_at_unix_ms.to_be_bytes());
    out.extend_from_slice(nonce);
    out
}

/// The value of `prev` in the entry after one with this header.
pub fn head(header: &[u8]) -> [u8; 32] {
    sha256(header)
}

/// The value of `objects_sha256` in a manifest over these objects, in this order.
pub fn objects(objects: &[SnapshotObject]) -> [u8; 32] {
    let mut digests = Vec::with_capacity(objects.len() * 32);
    for object in objects {
        digests.extend_from_slice(&sha256(&object.encode_to_vec()));
    }
    sha256(&digests)
}

/// The header of an object inside a snapshot: the object's own, without a place in the log.
pub fn snapshot_header(header: &LogHeader) -> LogHeader {
    LogHeader {
        seq: 0,
        prev: bytes::Bytes::new(),
        ..header.clone()
    }
}
