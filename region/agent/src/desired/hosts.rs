//! Which hosts a component's settings name, for the guard rails.
//!
//! One idea: on the side of caution. URLs, `host:port` lists and settings whose name says host, address or endpoint all
//! count; a setting that must name a host and in which none can be read has an unknown one, which no guard rail allows.
//! Only plain values are looked at by name; secret values are looked at too, and never quoted.

use std::net::IpAddr;

use url::Url;

/// A setting's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// As [`canonical`] writes it.
    Host(String),
    /// It names one, but not in a form that is understood here.
    Unknown,
}

/// Settings whose name says that the value is a host.
const HOSTS: &[&str] = &[
    "host", "address", "addr", "endpoint", "server", "broker", "nodes", "peers", "proxy",
];
/// Settings whose value holds a host among other things.
const CONNECTIONS: &[&str] = &["url", "uri", "connectionstring", "dsn", "datasource"];
/// Keys of `key=value` texts whose value is a host.
const KEYS: &[&str] = &[
    "server", "host", "address", "addr", "source", "endpoint", "url", "uri", "proxy",
];

/// Settings whose value may be a URL, or the thing itself that lies there.
const PERHAPS: &[&str] = &["issuer", "jwks"];

/// Whether a setting of this name says, or may say, where the component connects to.
pub(crate) fn points(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = HOSTS.iter().chain(CONNECTIONS).chain(PERHAPS);
    words.any(|word| name.contains(word))
}

/// Hosts in one setting's value.
pub(crate) fn in_setting(name: &str, value: &str) -> Vec<Found> {
    let name = name.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let value = value.trim();
    if value.is_empty() {
        return Vec::new();
    }
    if is_half_a_url(value) {
        return vec![Found::Unknown];
    }
    // Behind a URL any further part may be one's host.
    let named = is(HOSTS) || is(CONNECTIONS) || value.contains("://");
    let mut found = Vec::new();
    if is_pairs(value) {
        let separators: &[char] = if value.contains(';') {
            &[';']
        } else {
            &[' ', '\t', '\n', '\r']
        };
        for pair in value.split(separators).map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) => in_pair(key, value, &mut found),
                None => in_list(pair, named, &mut found),
            }
        }
    } else {
        in_list(value, named, &mut found);
    }
    if found.is_empty() && (is(HOSTS) || is(CONNECTIONS)) {
        found.push(Found::Unknown);
    }
    found
}

/// `http:host` and `http:\\host`, which URL parsers read as `http://host`, with or without what they skip.
fn is_half_a_url(value: &str) -> bool {
    let read: String = value.chars().filter(|c| !c.is_ascii_control()).collect();
    let is_whole = read.split_once(':').is_none_or(|(_, rest)| rest.starts_with("//"));
    !is_whole && Url::parse(&read).is_ok_and(|url| url.is_special() && url.has_host())
}

/// `Server=db;User=x` or `host=db user=x`, and not a URL that happens to have a query.
fn is_pairs(value: &str) -> bool {
    let key = value.split(['=', ';']).next().unwrap_or_default();
    value.contains('=') && !key.contains("://") && !key.contains('@')
}

fn in_pair(key: &str, value: &str, found: &mut Vec<Found>) {
    let key = key.trim().to_ascii_lowercase();
    if !KEYS.iter().any(|word| key.contains(word)) {
        // `Password=http://…` is none, but what looks like an address is looked at, and what may be read as one by a
        // driver that knows no pairs, or separates them otherwise, is unknown.
        if value.contains("://") {
            in_list(value, true, found);
        } else if value.trim_end_matches('=').contains(['@', '(', '='])
            || value.rsplit_once(':').is_some_and(|(_, port)| is_port(Some(port)))
        {
            found.push(Found::Unknown);
        }
        return;
    }
    let value = value.trim();
    let value = value.strip_prefix("tcp:").unwrap_or(value);
    // SQL Server writes the port behind a comma.
    match value.split_once(',') {
        Some((host, port)) if !key.contains("host") && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            in_list(host, true, found);
        }
        _ => in_list(value, true, found),
    }
}

/// Addresses with commas, semicolons or blanks between them.
fn in_list(value: &str, named: bool, found: &mut Vec<Found>) {
    let parts = value.split([',', ';', ' ', '\t', '\n', '\r']);
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once("://") {
            Some(_) => in_url(part, found),
            None => found.extend(in_address(part, named)),
        }
    }
}

fn in_url(text: &str, found: &mut Vec<Found>) {
    let Ok(url) = Url::parse(text) else {
        found.push(Found::Unknown);
        return;
    };
    found.push(url.host_str().map_or(Found::Unknown, known));
    // PostgreSQL's drivers, for one, let the query overrule the host.
    for (key, value) in url.query_pairs() {
        if KEYS.iter().any(|word| key.to_ascii_lowercase().contains(word)) {
            in_list(&value, true, found);
        }
    }
}

/// `user:password@host:port/path`, and less of it.
fn in_address(text: &str, named: bool) -> Option<Found> {
    let ends: &[char] = &['/', '?', '#', '\\'];
    let unknown = named.then_some(Found::Unknown);
    let bare = match text.rsplit_once('@') {
        // Whether the host stands in front of it or behind it depends on who reads it.
        Some((user, _)) if user.contains(ends) => return unknown,
        Some((_, host)) => host,
        None => text,
    };
    // Go's MySQL form.
    let bare = bare
        .strip_prefix("tcp(")
        .map_or(bare, |inner| inner.split(')').next().unwrap_or_default());
    let bare = bare.split(ends).next().unwrap_or_default();
    if let Some(rest) = bare.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || is_port(port.strip_prefix(':')) => Some(known(host)),
            _ => unknown,
        };
    }
    if ip(bare).is_some() {
        return Some(known(bare));
    }
    match bare.rsplit_once(':') {
        Some((host, port)) if is_port(Some(port)) && !host.is_empty() => Some(known(host)),
        Some(_) => unknown,
        None if named => Some(known(bare)),
        None => None,
    }
}

fn is_port(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.parse::<u16>().is_ok())
}

fn known(host: &str) -> Found {
    let host = canonical(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if ip(&host).is_some() || !host.is_empty() && host.bytes().all(plain) && !is_number(&host) {
        Found::Host(host)
    } else {
        Found::Unknown
    }
}

/// Whether resolvers may take it for an IPv4 address in one of its old forms: `2130706433`, `0x7f000001`, `0177.0.0.1`, `127.1`.
fn is_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(hexadecimal)
}

/// One way to write a host: lower case, no brackets, no final dot, no zone, and an IPv4 address in IPv6 clothes as itself.
pub(crate) fn canonical(host: &str) -> String {
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    match ip(host) {
        Some(address) => address.to_string(),
        None => host.trim_end_matches('.').to_ascii_lowercase(),
    }
}

/// An address, whatever zone it claims.
fn ip(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
