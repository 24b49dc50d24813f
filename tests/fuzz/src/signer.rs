//! Signs what the fuzzer makes up, so that it gets behind the check of a signature.
//!
//! One idea: mutations break signatures, and then nothing behind them would ever be looked at; one key that is in the
//! checkout, and that nobody trusts anywhere else, signs whatever comes. Verifies, too, by the cryptographic library alone.
//! Must never be used outside of these targets.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA384_ASN1, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::der::{self, BIT_STRING, OID, SEQUENCE, put};

/// The algorithm of a P-256 key.
pub(crate) const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

thread_local! {
    static KEY: EcdsaKeyPair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, include_bytes!("../fixtures/key.pk8")).expect("a key");
}

/// DER of the key's SubjectPublicKeyInfo.
pub(crate) fn public_key() -> Vec<u8> {
    let point = KEY.with(|key| put(BIT_STRING, &[&[0], key.public_key().as_ref()]));
    put(SEQUENCE, &[P256, &point])
}

/// The algorithm by which everything is signed here.
pub(crate) fn algorithm() -> Vec<u8> {
    put(SEQUENCE, &[&put(OID, &[&ECDSA_SHA256])])
}

/// A signed document: what is signed, the algorithm, the signature.
pub(crate) fn signed(document: &[u8]) -> Vec<u8> {
    let signature = KEY.with(|key| key.sign(&SystemRandom::new(), document).expect("signing works"));
    let signature = put(BIT_STRING, &[&[0], signature.as_ref()]);
    put(SEQUENCE, &[document, &algorithm(), &signature])
}

/// Whether a signed document has a valid signature of this P-256 key.
pub(crate) fn holds(whole: &[u8], public_key: &[u8]) -> bool {
    let verified = || {
        let (outer, _) = der::next(whole)?;
        let parts = der::all(outer.value)?;
        let [document, algorithm, signature] = parts.as_slice() else {
            return None;
        };
        let name = der::next(algorithm.value)?.0.value;
        let algorithm = match name {
            name if name == ECDSA_SHA256 => &ECDSA_P256_SHA256_ASN1,
            name if name == ECDSA_SHA384 => &ECDSA_P256_SHA384_ASN1,
            _ => return None,
        };
        let (_, point) = der::next(der::next(public_key)?.0.value)?;
        let point = der::next(point)?.0.value.strip_prefix(&[0])?;
        let signature = signature.value.strip_prefix(&[0])?;
        UnparsedPublicKey::new(algorithm, point)
            .verify(document.whole, signature)
            .ok()
    };
    verified().is_some()
}

/// As PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text.into_bytes()
}
