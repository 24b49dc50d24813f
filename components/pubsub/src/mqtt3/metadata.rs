//! Metadata of `pubsub.mqtt3`, under Dapr's names and with its defaults.
//!
//! One idea: the address decides about TLS, and everything it says is used or refused. Must never show the address, which
//! holds a password.

use palladium_component::{ComponentMetadata, MetadataError, OpenError};
use palladium_components_dial::{Certificates, Target};
use percent_encoding::percent_decode_str;
use rumqttc::QoS;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub(super) struct MqttMetadata {
    /// Address of the broker: 'tcp://user:password@host:port' or 'mqtt://…', by TLS 'ssl://…' or 'mqtts://…'.
    #[metadata(sensitive)]
    url: SecretString,
    /// How sure a message arrives: 0 = perhaps, 1 = at least once, 2 = exactly once between broker and client.
    #[metadata(default = "1", allowed = "0", allowed = "1", allowed = "2")]
    qos: u16,
    /// Whether the broker keeps the last message of a topic for those who come later; a message's own word counts more.
    #[metadata(default = "false")]
    pub(super) retain: bool,
    /// Whether the broker forgets this client, its topics and messages that wait for it, when the connection ends.
    #[metadata(default = "false")]
    pub(super) clean_session: bool,
    /// How often a message that could not be handled is tried again while the connection lasts; -1 = until it is handled.
    /// What is given up comes again with the next connection.
    #[metadata(default = "-1")]
    back_off_max_retries: i32,
    /// Certificate (PEM) of the authority that the broker's certificate must be under; the system's authorities when absent.
    ca_cert: Option<String>,
    /// Client certificate (PEM).
    #[metadata(sensitive)]
    client_cert: Option<SecretString>,
    /// Key of the client certificate (PEM).
    #[metadata(sensitive)]
    client_key: Option<SecretString>,
}

/// A broker, and whom it is called as.
pub(super) struct Broker {
    pub(super) target: Target,
    pub(super) user: String,
    pub(super) password: SecretString,
}

impl MqttMetadata {
    pub(super) fn qos(&self) -> QoS {
        match self.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// How often a message is tried again; `None` = for ever.
    pub(super) fn retries(&self) -> Option<u32> {
        u32::try_from(self.back_off_max_retries).ok()
    }

    /// Where the broker is.
    pub(super) async fn broker(&self) -> Result<Broker, OpenError> {
        let wrong =
            |reason: &str| MetadataError::new("url", reason, "write 'tcp://user:password@host:port' or 'ssl://…'");
        let text = self.url.expose_secret().trim();
        if text.contains(char::is_whitespace) {
            return Err(wrong("an address holds no blanks").into());
        }
        let url = Url::parse(text).map_err(|_| wrong("it is no address"))?;
        let tls = match url.scheme() {
            "tcp" | "mqtt" => false,
            "ssl" | "tls" | "mqtts" | "tcps" | "mqtt+ssl" => true,
            "ws" | "wss" => return Err(wrong("WebSockets are not supported").into()),
            _ => return Err(wrong("its scheme is not one of MQTT").into()),
        };
        if url.query().is_some() || url.fragment().is_some() || !url.path().trim_matches('/').is_empty() {
            return Err(wrong("there is something behind the port").into());
        }
        let host = url.host_str().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it has no host").into());
        }
        let decoded = |part: &str| {
            let decoded = percent_decode_str(part).decode_utf8();
            decoded
                .map(|text| text.into_owned())
                .map_err(|_| wrong("it is not UTF-8"))
        };
        let certificates = Certificates {
            authority: self.ca_cert.as_deref(),
            client: self.client_cert.as_ref(),
            key: self.client_key.as_ref(),
        };
        let port = url.port().unwrap_or(if tls { 8883 } else { 1883 });
        Ok(Broker {
            user: decoded(url.username())?,
            password: decoded(url.password().unwrap_or_default())?.into(),
            target: Target::new(host, port, tls, certificates).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn broker(url: &str) -> Result<Broker, String> {
        let metadata = MqttMetadata::parse(&[("url", url)].into_iter().collect()).unwrap();
        metadata.broker().await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn addresses_as_dapr_reads_them() {
        for (url, expected, tls) in [
            ("tcp://h:1", "h:1", false),
            ("mqtt://u:p%40@h", "h:1883", false),
            ("ssl://h", "h:8883", true),
            ("mqtts://[2001:db8::1]:7", "[2001:db8::1]:7", true),
        ] {
            let broker = broker(url).await.unwrap();
            assert_eq!(
                (broker.target.to_string().as_str(), broker.target.is_tls()),
                (expected, tls),
                "{url}"
            );
        }
        let broker = broker("tcp://u:p%40@h").await.unwrap();
        assert_eq!((broker.user.as_str(), broker.password.expose_secret()), ("u", "p@"));
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_and_not_quoted() {
        for url in [
            "hunter2",
            "http://u:hunter2@h",
            "ws://u:hunter2@h",
            "tcp://u:hunter2@",
            "tcp://u:hunter2@h/x",
        ] {
            let error = broker(url).await.err().unwrap();
            assert!(error.contains("'url'") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn defaults_are_daprs() {
        let metadata = MqttMetadata::parse(&[("url", "tcp://h")].into_iter().collect()).unwrap();
        assert_eq!(
            (metadata.qos(), metadata.retain, metadata.clean_session),
            (QoS::AtLeastOnce, false, false)
        );
        assert_eq!(metadata.retries(), None);
        let wrong = MqttMetadata::parse(&[("url", "tcp://h"), ("qos", "3")].into_iter().collect());
        assert_eq!(wrong.unwrap_err().field, "qos");
    }
}
