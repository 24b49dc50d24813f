//! Certificates of peers, as every handshake inside of a zone judges them.
//!
//! One idea: whoever is let in has exactly one SPIFFE ID, of a trust domain whose root has signed it, and is no authority;
//! that is found out a second time, by a plain reading of the bytes. A certificate that is in order is let in. Must never
//! depend on the clock: the instant is fixed.

use std::sync::LazyLock;
use std::time::Duration;

use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tls::{Bundle, Leaf, Rules, Side, TrustBundles, pem_certificates, verify_svid};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::der::{
    self, BIT_STRING, BOOLEAN, CONSTRAINTS, DNS, INTEGER, IP, KEY_USAGE, NAMES, OID, PURPOSES, SEQUENCE, URI, UTC_TIME,
    put,
};
use crate::signer;

static ROOT: &[u8] = include_bytes!("../fixtures/root.der");
const DOMAIN: &str = "fuzz.test";
/// 2027, while the root is valid.
const NOW: u64 = 1_800_000_000;
const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

static TRUSTED: LazyLock<TrustBundles> = LazyLock::new(|| {
    let root = Bundle::from_der([CertificateDer::from(ROOT)]).expect("a root");
    let trusted = TrustBundles::new();
    trusted.set(TrustDomain::parse(DOMAIN).expect("a name"), root);
    trusted
});

/// The first byte says what the rest is: a certificate, or a part of one that is completed and signed here.
pub(crate) fn run(input: &[u8]) {
    let Some((&form, rest)) = input.split_first() else {
        return;
    };
    let der = match form % 5 {
        0 => {
            for certificate in pem_certificates(rest).unwrap_or_default() {
                judged(&certificate);
            }
            return;
        }
        1 => rest.to_vec(),
        2 => signer::signed(rest),
        3 => signer::signed(&document(rest)),
        _ => signer::signed(&document(&extensions(rest))),
    };
    let let_in = judged(&der);
    if form % 5 == 4 {
        assert!(
            let_in.is_some() || !in_order(rest),
            "a certificate that is in order is refused"
        );
    }
}

/// Asks the product, and holds its answer against the bytes. Gives who is let in as a client.
fn judged(der: &[u8]) -> Option<SpiffeId> {
    let strict = Leaf::read(der);
    let lenient = Leaf::read_by(der, Rules::Dapr);
    if let Ok(leaf) = &strict {
        assert_eq!(lenient.as_ref(), Ok(leaf), "Dapr's rules refuse what SPIFFE's do not");
    }
    if let Ok(leaf) = &lenient {
        assert_eq!(SpiffeId::parse(leaf.id.as_str()).as_ref(), Ok(&leaf.id));
    }
    let certificate = CertificateDer::from(der);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let [client, _] = [Side::Client, Side::Server].map(|side| {
        let root = [CertificateDer::from(ROOT)];
        let verified = verify_svid(&certificate, &root, &TRUSTED, now, side).ok()?;
        assert_eq!(
            Some(&verified),
            strict.as_ref().ok(),
            "who is let in is not who is named"
        );
        // Reading alone lets nobody in, and the library that reads is generous about tags.
        let said = said(der).expect("a certificate was taken that cannot be read");
        let [(URI, uri)] = said.uris.as_slice() else {
            panic!("{} SPIFFE IDs in {verified:?}", said.uris.len());
        };
        assert_eq!(uri, &verified.id.as_str().as_bytes(), "another name was taken");
        assert!(!said.ca, "an authority was taken for a workload");
        assert_eq!(verified.id.trust_domain().as_str(), DOMAIN);
        assert!(verified.id.is_workload());
        assert!(
            signer::holds(der, &signer::public_key()),
            "let in without a signature of the root"
        );
        Some(verified.id)
    });
    client
}

struct Said<'a> {
    uris: Vec<(u8, &'a [u8])>,
    ca: bool,
}

fn said(bytes: &[u8]) -> Option<Said<'_>> {
    let (outer, _) = der::next(bytes)?;
    let document = der::all(outer.value)?.first().copied()?;
    let mut said = Said {
        uris: Vec::new(),
        ca: false,
    };
    // The library only looks at the number of this tag; webpki, which decides about a peer, looks at all of it.
    let behind_key = der::all(document.value)?.into_iter().skip(6);
    for part in behind_key.filter(|part| part.tag & 0x1f == 3) {
        let list = der::next(part.value)?.0.value;
        for content in der::extensions(list, NAMES)? {
            let names = der::names(content)?.into_iter();
            said.uris.extend(
                names
                    .map(|name| (der::kind(name.tag), name.value))
                    .filter(|(kind, _)| *kind == URI),
            );
        }
        for content in der::extensions(list, CONSTRAINTS)? {
            let first = der::all(der::next(content)?.0.value)?.first().copied();
            said.ca |= first.is_some_and(|first| first.tag == BOOLEAN && first.value == [0xff]);
        }
    }
    Some(said)
}

/// What is signed, with these extensions.
fn document(extensions: &[u8]) -> Vec<u8> {
    let version = put(0xa0, &[&put(INTEGER, &[&[2]])]);
    let (from, to) = (put(UTC_TIME, &[b"260101000000Z"]), put(UTC_TIME, &[b"490101000000Z"]));
    let parts = [
        version,
        put(INTEGER, &[&[7]]),
        signer::algorithm(),
        subject_of_root(),
        put(SEQUENCE, &[&from, &to]),
        put(SEQUENCE, &[]),
        signer::public_key(),
        put(0xa3, &[&put(SEQUENCE, &[extensions])]),
    ];
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    put(SEQUENCE, &parts)
}

fn subject_of_root() -> Vec<u8> {
    let subject = || {
        let (outer, _) = der::next(ROOT)?;
        let document = der::all(outer.value)?.first().copied()?;
        Some(der::all(document.value)?.get(5)?.whole.to_vec())
    };
    subject().expect("the root has a subject")
}

/// Flags, then names.
fn extensions(bytes: &[u8]) -> Vec<u8> {
    let (&flags, names) = bytes.split_first().unwrap_or((&0, &[]));
    let mut list = Vec::new();
    match flags & 3 {
        1 => list.extend(der::extension(CONSTRAINTS, true, &put(SEQUENCE, &[]))),
        2 => list.extend(der::extension(
            CONSTRAINTS,
            true,
            &put(SEQUENCE, &[&put(BOOLEAN, &[&[0xff]])]),
        )),
        _ => {}
    }
    if let Some(usage) = [None, Some([7, 0x80]), Some([2, 0x84]), Some([1, 0x82])][usize::from(flags >> 2 & 3)] {
        list.extend(der::extension(KEY_USAGE, true, &put(BIT_STRING, &[&usage])));
    }
    if flags & 16 != 0 {
        let second = if flags & 32 != 0 {
            put(OID, &[SERVER])
        } else {
            Vec::new()
        };
        list.extend(der::extension(
            PURPOSES,
            false,
            &put(SEQUENCE, &[&put(OID, &[CLIENT]), &second]),
        ));
    }
    let names = der::written_names(names);
    if !names.is_empty() {
        list.extend(der::names_extension(&names, flags & 64 != 0));
    }
    list
}

/// Whether flags and names make a certificate that has to be let in.
fn in_order(bytes: &[u8]) -> bool {
    let (&flags, names) = bytes.split_first().unwrap_or((&0, &[]));
    let names = der::written_names(names);
    let uris: Vec<&[u8]> = names
        .iter()
        .filter(|(kind, _)| *kind == URI)
        .map(|(_, name)| *name)
        .collect();
    let id = match uris[..] {
        [uri] => std::str::from_utf8(uri).ok().and_then(|uri| SpiffeId::parse(uri).ok()),
        _ => None,
    };
    let plain = |(kind, name): &(u8, &[u8])| match *kind {
        URI => true,
        DNS => name.is_ascii(),
        IP => matches!(name.len(), 4 | 16),
        _ => false,
    };
    let ours = id.is_some_and(|id| id.is_workload() && id.trust_domain().as_str() == DOMAIN);
    ours && names.iter().all(plain) && flags & 3 != 2 && flags >> 2 & 3 == 1
}
