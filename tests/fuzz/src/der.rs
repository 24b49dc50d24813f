//! A small reader and writer of DER, to hold the product's libraries against and to build what is signed.
//!
//! One idea: tags, lengths and nothing else; whoever asks knows what should be where. Must never share code with the
//! libraries that the product reads certificates with.

/// One value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    /// With its tag and its length.
    pub(crate) whole: &'a [u8],
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Object identifiers of extensions, encoded.
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
pub(crate) const NAMES: &[u8] = &[0x55, 0x1d, 0x11];
pub(crate) const CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(crate) const PURPOSES: &[u8] = &[0x55, 0x1d, 0x25];

/// Kinds of names.
pub(crate) const DNS: u8 = 0x82;
pub(crate) const URI: u8 = 0x86;
pub(crate) const IP: u8 = 0x87;

/// The first value, and what follows it.
pub(crate) fn next(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    // A small number in the form for great ones, which the product's library takes.
    let (tag, rest) = match (tag & 0x1f, rest) {
        (0x1f, [number @ 0..0x1f, rest @ ..]) => (tag & 0xe0 | number, rest),
        _ => (tag, rest),
    };
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (value, left) = rest.split_at_checked(length)?;
    let whole = &bytes[..bytes.len() - left.len()];
    (tag & 0x1f != 0x1f).then_some((Tlv { tag, value, whole }, left))
}

/// All values, one after the other; `None` when they are not whole.
pub(crate) fn all(bytes: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (one, left) = next(rest)?;
        found.push(one);
        rest = left;
    }
    Some(found)
}

/// A value of these parts.
pub(crate) fn put(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out.push(short);
    } else {
        let digits = length.to_be_bytes();
        let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap_or(0)..];
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0x7f));
        out.extend_from_slice(digits);
    }
    out.extend(parts.iter().flat_map(|part| part.iter()));
    out
}

/// An extension.
pub(crate) fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { put(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    put(SEQUENCE, &[&put(OID, &[id]), &critical, &put(OCTET_STRING, &[value])])
}

/// The contents of all extensions of one kind in a list of extensions. What follows a value within its extension is left
/// alone, as the product's library does; webpki, which decides about a peer, refuses it.
pub(crate) fn extensions<'a>(list: &'a [u8], id: &[u8]) -> Option<Vec<&'a [u8]>> {
    let mut found = Vec::new();
    for one in all(list)? {
        let (name, rest) = next(one.value)?;
        let (mut content, rest) = next(rest)?;
        if content.tag == BOOLEAN {
            content = next(rest)?.0;
        }
        if (name.tag, name.value) == (OID, id) && content.tag == OCTET_STRING {
            found.push(content.value);
        }
    }
    Some(found)
}

/// The names in the content of an extension that holds names.
pub(crate) fn names(content: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let (list, rest) = next(content)?;
    (rest.is_empty() && list.tag == SEQUENCE).then(|| all(list.value))?
}

/// The kind of a name. The product's library only looks at a tag's number, and so must who compares.
pub(crate) fn kind(tag: u8) -> u8 {
    0x80 | (tag & 0x1f)
}

/// Names from the bytes of an input: kind, length, content, and so on.
pub(crate) fn written_names(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    const KINDS: [u8; 8] = [URI, URI, DNS, IP, 0x81, 0x88, 0xa0, 0xa4];
    let mut found = Vec::new();
    while let [kind, length, rest @ ..] = bytes {
        let (name, left) = rest.split_at(usize::from(*length).min(rest.len()));
        found.push((KINDS[usize::from(kind % 8)], name));
        bytes = left;
    }
    found
}

/// The extension that holds them.
pub(crate) fn names_extension(names: &[(u8, &[u8])], critical: bool) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(kind, name)| put(*kind, &[name])).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    extension(NAMES, critical, &put(SEQUENCE, &names))
}
