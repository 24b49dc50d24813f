//! Certificate signing requests, as Sentry reads them.
//!
//! One idea: a request that is taken has proven its key, and tells everything that it asks for, so that whoever asks for
//! more than it is can be refused. Both are found out a second time, by a plain reading of the bytes. Must never say what a
//! request may ask for: that is Sentry's.

use std::net::IpAddr;

use crate::der::{self, BOOLEAN, CONSTRAINTS, DNS, INTEGER, IP, KEY_USAGE, NAMES, OID, SEQUENCE, SET, URI, put};
use crate::sentry_csr::Csr;
use crate::signer;

/// The attribute that asks for extensions.
const REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "CERTIFICATE"];

/// The first byte says what the rest is: PEM, DER, or a part of a request that is completed and signed here.
pub(crate) fn run(input: &[u8]) {
    let Some((&form, rest)) = input.split_first() else {
        return;
    };
    let der = match form % 5 {
        0 => {
            let _ = Csr::parse(rest);
            return;
        }
        1 => rest.to_vec(),
        2 => signer::signed(rest),
        3 => signer::signed(&info(rest)),
        _ => signer::signed(&info(&asking(&named(rest)))),
    };
    let label = LABELS[usize::from(form / 5 % 2)];
    if let Ok(csr) = Csr::parse(&signer::pem(label, &der)) {
        taken(&csr, &der);
    } else {
        assert!(form % 5 != 4 || !is_plain(rest), "a plain request is refused");
    }
}

/// What is signed, with these attributes.
fn info(attributes: &[u8]) -> Vec<u8> {
    let version = put(INTEGER, &[&[0]]);
    let subject = put(SEQUENCE, &[]);
    put(
        SEQUENCE,
        &[&version, &subject, &signer::public_key(), &put(0xa0, &[attributes])],
    )
}

fn asking(extensions: &[u8]) -> Vec<u8> {
    let list = put(SEQUENCE, &[extensions]);
    put(SEQUENCE, &[&put(OID, &[REQUEST]), &put(SET, &[&list])])
}

/// Flags, then names.
fn named(bytes: &[u8]) -> Vec<u8> {
    let (&flags, names) = bytes.split_first().unwrap_or((&0, &[]));
    let mut extensions = Vec::new();
    if flags & 1 != 0 {
        let is_ca = put(BOOLEAN, &[&[0xff]]);
        extensions.extend(der::extension(CONSTRAINTS, true, &put(SEQUENCE, &[&is_ca])));
    }
    if flags & 2 != 0 {
        extensions.extend(der::extension(
            KEY_USAGE,
            true,
            &put(der::BIT_STRING, &[&[flags >> 4 & 7, flags]]),
        ));
    }
    let names = der::written_names(names);
    if !names.is_empty() {
        extensions.extend(der::names_extension(&names, flags & 4 != 0));
    }
    extensions
}

/// Nothing but names that are text.
fn is_plain(bytes: &[u8]) -> bool {
    let (&flags, names) = bytes.split_first().unwrap_or((&0, &[]));
    let text = |(kind, name): &(u8, &[u8])| matches!(*kind, URI | DNS) && name.is_ascii();
    flags & 2 == 0 && der::written_names(names).iter().all(text)
}

/// What was taken is what the bytes say.
fn taken(csr: &Csr, bytes: &[u8]) {
    let read = || {
        let (outer, rest) = der::next(bytes)?;
        let document = der::all(outer.value)?.first().copied()?;
        let parts = der::all(document.value)?;
        Some((
            rest,
            *parts.get(2)?,
            parts.get(3).map(|part| part.value).unwrap_or_default(),
        ))
    };
    let Some((rest, key, attributes)) = read() else {
        panic!("a request was taken that cannot be read");
    };
    assert!(rest.is_empty(), "something follows the request");
    assert_eq!(csr.public_key, key.whole, "another key was taken");
    let p256 = der::next(&csr.public_key).is_some_and(|(key, _)| key.value.starts_with(signer::P256));
    assert_eq!(csr.is_p256, p256, "the key is not of the kind that was said");
    assert!(
        !p256 || signer::holds(bytes, &csr.public_key),
        "possession of the key is not proven"
    );

    let asked = asked(attributes);
    let Some(asked) = asked else {
        assert!(
            csr.other_names,
            "what a request asks for was not understood, and left out"
        );
        return;
    };
    for (kind, name) in asked.names {
        let text = String::from_utf8_lossy(name).into_owned();
        let told = match kind {
            URI => csr.uris.contains(&text),
            DNS => csr.dns.contains(&text),
            IP if name.len() == 4 => <[u8; 4]>::try_from(name).is_ok_and(|ip| csr.ips.contains(&IpAddr::from(ip))),
            IP if name.len() == 16 => <[u8; 16]>::try_from(name).is_ok_and(|ip| csr.ips.contains(&IpAddr::from(ip))),
            _ => csr.other_names,
        };
        assert!(
            told || csr.other_names,
            "a name that was asked for is left out: {kind:#x} {text:?}"
        );
    }
    assert!(!asked.ca || csr.wants_ca, "a wish to be an authority is left out");
}

struct Asked<'a> {
    names: Vec<(u8, &'a [u8])>,
    ca: bool,
}

/// Everything that is asked for, in however many attributes and extensions; `None` when it cannot be read.
fn asked(attributes: &[u8]) -> Option<Asked<'_>> {
    let mut asked = Asked {
        names: Vec::new(),
        ca: false,
    };
    for attribute in der::all(attributes)? {
        let parts = der::all(attribute.value)?;
        if parts.first()?.value != REQUEST {
            continue;
        }
        for list in der::all(parts.get(1)?.value)? {
            for content in der::extensions(list.value, NAMES)? {
                let names = der::names(content)?;
                asked
                    .names
                    .extend(names.iter().map(|name| (der::kind(name.tag), name.value)));
            }
            for content in der::extensions(list.value, CONSTRAINTS)? {
                let constraints = der::next(content)?.0;
                let first = der::all(constraints.value)?.first().copied();
                asked.ca |= first.is_some_and(|first| first.tag == BOOLEAN && first.value == [0xff]);
            }
        }
    }
    Some(asked)
}
