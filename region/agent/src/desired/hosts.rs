//! Which hosts a component's settings name, for the guard rails.
//!
//! One idea: on the side of caution. URLs, `host:port` lists and settings whose name says host, address or endpoint all
//! count; a text that is none of these has no host. Only plain values are looked at by name; secret values are looked at
//! too, and never quoted.

use url::Url;

/// Hosts in one setting's value.
pub(crate) fn in_setting(name: &str, value: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let named = [
        "host",
        "address",
        "endpoint",
        "server",
        "broker",
        "url",
        "uri",
        "connectionstring",
        "nodes",
        "peers",
    ]
    .iter()
    .any(|word| lower.contains(word));
    value
        .split([',', ';', ' ', '\n'])
        .filter_map(|part| host(part.trim(), named))
        .collect()
}

fn host(part: &str, named: bool) -> Option<String> {
    // `Server=tcp:db.example` and the like.
    let part = match part.split_once('=') {
        Some((key, value)) if !part.contains("://") => {
            let named =
                ["server", "host", "data source", "endpoint"].contains(&key.trim().to_ascii_lowercase().as_str());
            return if named {
                host(value.trim_start_matches("tcp:"), true)
            } else {
                None
            };
        }
        _ => part,
    };
    if part.is_empty() {
        return None;
    }
    if part.contains("://") {
        return Url::parse(part)
            .ok()
            .and_then(|url| url.host_str().map(ToOwned::to_owned));
    }
    let bare = part
        .rsplit_once('@')
        .map_or(part, |(_, host)| host)
        .split('/')
        .next()
        .unwrap_or_default();
    match bare.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.is_empty() => Some(host.to_owned()),
        _ if bare.parse::<std::net::IpAddr>().is_ok() => Some(bare.to_owned()),
        _ if named
            && bare
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) =>
        {
            Some(bare.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_all_their_forms() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("redisHost", "redis.example:6379", &["redis.example"]),
            ("redisHost", "localhost", &["localhost"]),
            ("brokers", "k1:9092,k2:9092", &["k1", "k2"]),
            ("connectionString", "postgres://u:p@db.example/x", &["db.example"]),
            (
                "connectionString",
                "Server=tcp:db.example,1433;Password=x",
                &["db.example", "1433"],
            ),
            ("connectionString", "host=db.example user=x", &["db.example"]),
            ("anything", "10.0.0.1", &["10.0.0.1"]),
            ("anything", "http://169.254.169.254/latest", &["169.254.169.254"]),
            ("redisDB", "0", &[]),
            ("keyPrefix", "name", &[]),
        ];
        for (name, value, expected) in cases {
            assert_eq!(in_setting(name, value), *expected, "{name}={value}");
        }
    }
}
