//! Where a server is and who calls it, as a component says it.
//!
//! One idea: the host is read by the same rules as whoever judges addresses reads it; what Dapr's library would take from the
//! address' query is refused by name unless it is done. Must never show the password, nor read a file that an address names.

use std::fmt;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use palladium_component::MetadataError;
use palladium_components_dial::Target;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// A server, and whom it is called as.
#[derive(Clone)]
pub struct Address {
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Name or address of the server, without brackets.
    pub host: String,
    port: u16,
    vhost: String,
    user: String,
    password: SecretString,
    /// Seconds, if the address says so.
    pub heartbeat: Option<u16>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Target::plain(&self.host, self.port).fmt(f)
    }
}

impl Address {
    /// Reads `amqp://user:password@host:port/vhost`. `field`: the setting that it comes from.
    ///
    /// # Errors
    /// When it is none, or asks for what is not done. The message holds nothing of the text.
    pub fn parse(field: &str, text: &str) -> Result<Self, MetadataError> {
        let wrong = |reason: &str| {
            MetadataError::new(
                field,
                reason,
                "write 'amqp://user:password@host:port/vhost', or 'amqps://…'",
            )
        };
        if text.contains(char::is_whitespace) {
            return Err(wrong("an address holds no blanks"));
        }
        let url = Url::parse(text).map_err(|_| wrong("it is no address"))?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(wrong("its scheme is neither amqp nor amqps")),
        };
        let decoded = |part: &str| {
            let decoded = percent_decode_str(part).decode_utf8();
            decoded
                .map(|text| text.into_owned())
                .map_err(|_| wrong("it is not UTF-8"))
        };
        let host = url.host_str().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bare.unwrap_or(host) {
            "" => "localhost",
            host => host,
        };
        let vhost = match decoded(url.path().strip_prefix('/').unwrap_or_default())? {
            empty if empty.is_empty() => "/".to_owned(),
            vhost => vhost,
        };
        let mut address = Address {
            tls,
            host: host.to_owned(),
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            vhost,
            user: "guest".into(),
            password: "guest".into(),
            heartbeat: None,
        };
        if !url.username().is_empty() {
            address.user = decoded(url.username())?;
        }
        if let Some(password) = url.password() {
            address.password = decoded(password)?.into();
        }
        for (key, value) in url.query_pairs() {
            if key != "heartbeat" {
                let reason = "it asks for something in its query that is not supported";
                return Err(MetadataError::new(field, reason, "use the component's own settings"));
            }
            address.heartbeat = Some(
                value
                    .parse()
                    .map_err(|_| wrong("its heartbeat is no number of seconds"))?,
            );
        }
        Ok(address)
    }

    /// From host (with or without port) and user apart.
    ///
    /// # Errors
    /// When the host is none.
    pub fn of_parts(
        tls: bool,
        hostname: &str,
        user: Option<&str>,
        password: Option<&SecretString>,
    ) -> Result<Self, MetadataError> {
        if hostname.contains(['@', '/', '?', '#', '\\']) {
            let remedy = "write 'host' or 'host:port', and user and password in their own settings";
            return Err(MetadataError::new("hostname", "it is not a host", remedy));
        }
        let scheme = if tls { "amqps" } else { "amqp" };
        let mut address = Self::parse("hostname", &format!("{scheme}://{hostname}"))?;
        // As Dapr does: a password without a user counts for nothing.
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            address.user = user.to_owned();
            if let Some(password) = password.filter(|password| !password.expose_secret().is_empty()) {
                address.password = password.clone();
            }
        }
        Ok(address)
    }

    /// For the library.
    pub(crate) fn uri(&self, heartbeat: u16) -> AMQPUri {
        AMQPUri {
            scheme: if self.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.user.clone(),
                    password: self.password.expose_secret().to_owned(),
                },
                host: self.host.clone(),
                port: self.port,
            },
            vhost: self.vhost.clone(),
            query: AMQPQueryString {
                // The library's buffers have room for 64 frames.
                frame_max: Some(FRAME),
                heartbeat: Some(heartbeat),
                ..AMQPQueryString::default()
            },
        }
    }

    /// Port of the server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Bytes of the largest frame.
const FRAME: u32 = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, MetadataError> {
        Address::parse("connectionString", text)
    }

    #[test]
    fn addresses_as_dapr_reads_them() {
        let address = parse("amqp://localhost").unwrap();
        assert_eq!(
            (address.to_string().as_str(), address.vhost.as_str()),
            ("localhost:5672", "/")
        );
        assert_eq!(
            (address.user.as_str(), address.password.expose_secret()),
            ("guest", "guest")
        );
        let address = parse("amqps://me%40x:p%2Fw@h/%2fv?heartbeat=7").unwrap();
        assert_eq!((address.to_string().as_str(), address.vhost.as_str()), ("h:5671", "/v"));
        assert_eq!(
            (address.user.as_str(), address.password.expose_secret()),
            ("me@x", "p/w")
        );
        assert_eq!((address.tls, address.heartbeat), (true, Some(7)));
        let address = parse("amqp://h:1/").unwrap();
        assert_eq!((address.to_string().as_str(), address.vhost.as_str()), ("h:1", "/"));
    }

    #[test]
    fn sec_119_an_ipv6_address_is_called_and_nothing_else() {
        let address = parse("amqp://[2001:db8::1]:99").unwrap();
        assert_eq!(address.uri(0).authority.host, "2001:db8::1");
        assert_eq!(address.to_string(), "[2001:db8::1]:99");
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_quoted() {
        for text in [
            "hunter2",
            "http://h",
            "amqp://u:hunter2@h:x",
            "amqp://u:hunter2@h h",
            "amqp://u:hunter2@h?cacertfile=/etc/passwd",
            "amqp://u:hunter2@h?heartbeat=x",
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.field == "connectionString" && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
        assert!(!format!("{:?}", parse("amqp://u:hunter2@h").unwrap()).contains("hunter2"));
    }

    #[test]
    fn parts_make_an_address() {
        let password = SecretString::from("p:w@");
        let address = Address::of_parts(false, "h:7", Some("u"), Some(&password)).unwrap();
        assert_eq!((address.to_string().as_str(), address.user.as_str()), ("h:7", "u"));
        assert_eq!(address.password.expose_secret(), "p:w@");
        assert_eq!(
            Address::of_parts(true, "h", None, Some(&password)).unwrap().user,
            "guest"
        );
        assert!(Address::of_parts(true, "u@h", None, None).is_err());
    }
}
