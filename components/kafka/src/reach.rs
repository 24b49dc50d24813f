//! How a cluster is reached: its brokers, TLS, credentials.
//!
//! One idea: a component has one [`Reach`] and makes as many connections of it as it needs, because what is published must not
//! wait behind what is received: a broker answers one request of a connection after the other. Must never give a password to
//! anything that shows itself.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use krafka::Kafka;
use krafka::auth::{AuthConfig, TlsConfig};
use palladium_component::{MetadataError, OpenError};
use palladium_components_dial::{Certificates, Target};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{ANSWER, Fault, KafkaMetadata};

/// How long connecting to one broker may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// Bytes of a client's name, as many as a topic's may have.
const NAME: usize = 249;

/// How a cluster is reached.
#[derive(Clone)]
pub struct Reach {
    brokers: String,
    client: String,
    security: AuthConfig,
    pub(crate) refresh: Duration,
    keep_alive: Duration,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reach({})", self.brokers)
    }
}

fn wrong(field: &str, reason: &str, remedy: &str) -> OpenError {
    MetadataError::new(field, reason, remedy).into()
}

/// A text, unless it is empty.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}

fn secret(text: Option<&SecretString>) -> Option<&str> {
    text.map(|text| text.expose_secret()).filter(|text| !text.is_empty())
}

impl Reach {
    /// By a component's metadata; `app_id` is its name where it says none.
    pub(crate) async fn read(metadata: &KafkaMetadata, app_id: &str) -> Result<Self, OpenError> {
        let or = |duration: Duration, other: u64| match duration.is_zero() {
            true => Duration::from_secs(other),
            false => duration,
        };
        Ok(Reach {
            brokers: brokers(&metadata.brokers)?,
            client: client(metadata.client_id.as_ref(), app_id)?,
            security: security(metadata).await?,
            refresh: or(metadata.client_connection_topic_metadata_refresh_interval, 8 * 60),
            keep_alive: or(metadata.client_connection_keep_alive_interval, 60),
        })
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Kafka, Fault> {
        let connecting = Kafka::builder(&*self.brokers)
            .client_id(&*self.client)
            .security(self.security.clone())
            .connect_timeout(CONNECTING)
            .request_timeout(ANSWER)
            .metadata_max_age(self.refresh)
            .tcp_keepalive(Some(self.keep_alive))
            // As with Dapr's driver; the brokers must allow it, too.
            .allow_auto_create_topics(true)
            .connect();
        match tokio::time::timeout(2 * ANSWER, connecting).await {
            Ok(connected) => connected.map_err(|error| {
                let words = format!("cannot be reached at {}: {error}", self.brokers);
                match Fault::from(error) {
                    Fault::Lost(_) => Fault::Lost(words),
                    Fault::Refused(_) | Fault::Invalid(_) => Fault::Refused(words),
                }
            }),
            Err(_) => Err(Fault::Lost(format!(
                "no answer from {} within {:?}",
                self.brokers,
                2 * ANSWER
            ))),
        }
    }
}

/// The connections' name. It stands in the first frame to whatever address a broker advertises, so it must not be able to hold
/// lines of other protocols. An App ID is a name already.
fn client(said: Option<&String>, app_id: &str) -> Result<String, OpenError> {
    match given(said).map(str::trim) {
        None => Ok(app_id.to_owned()),
        Some(name) if name.len() <= NAME && name.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(name.to_owned()),
        Some(_) => Err(wrong(
            "clientID",
            "it has more than 249 bytes, or a blank, or something else that is no visible ASCII character",
            "use letters, digits, '.', '_' and '-'",
        )),
    }
}

/// Whether it is `host:port` and can be read as nothing else: whoever judges hosts must see the one that is called. An address
/// with a user or a scheme is no broker; it may hold a password. IPv6 stands in brackets, or its end would pass for a port.
fn is_broker(one: &str) -> bool {
    let Some((host, port)) = one.rsplit_once(':') else {
        return false;
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_plain),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The list as the library reads it.
fn brokers(text: &str) -> Result<String, OpenError> {
    let all: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    for one in &all {
        if !is_broker(one) {
            return Err(wrong(
                "brokers",
                "an entry is not 'host:port'",
                "write 'host:port' with commas between",
            ));
        }
    }
    match all.is_empty() {
        true => Err(wrong("brokers", "it is empty", "name at least one 'host:port'")),
        false => Ok(all.join(",")),
    }
}

/// The kind of authentication, the old form understood.
fn kind(metadata: &KafkaMetadata) -> Result<String, OpenError> {
    if let Some(said) = given(metadata.auth_type.as_ref()) {
        return Ok(said.trim().to_ascii_lowercase());
    }
    match metadata.auth_required {
        Some(true) if secret(metadata.sasl_password.as_ref()).is_some() => Ok("password".to_owned()),
        Some(true) => Ok("mtls".to_owned()),
        Some(false) => Ok("none".to_owned()),
        None => Err(wrong(
            "authType",
            "it is missing",
            "use 'none', 'password', 'mtls' or 'certificate'",
        )),
    }
}

async fn security(metadata: &KafkaMetadata) -> Result<AuthConfig, OpenError> {
    let kind = kind(metadata)?;
    let authority = given(metadata.ca_cert.as_ref());
    match kind.as_str() {
        "oidc" | "oidc_private_key_jwt" | "awsiam" => {
            let reason = format!("'{kind}' is not available");
            return Err(wrong(
                "authType",
                &reason,
                "use 'none', 'password', 'mtls' or 'certificate'",
            ));
        }
        "mtls" if metadata.disable_tls => {
            return Err(wrong("disableTls", "authType 'mtls' is TLS", "remove it"));
        }
        "certificate" if authority.is_none() => {
            let reason = "it is missing, and authType is 'certificate'";
            return Err(wrong("caCert", reason, "give the authority's certificate"));
        }
        _ => {}
    }
    let by_tls = kind != "none" && !metadata.disable_tls;
    let own = kind == "mtls";
    if own && (secret(metadata.client_cert.as_ref()).is_none() || secret(metadata.client_key.as_ref()).is_none()) {
        let reason = "authType 'mtls' needs clientCert and clientKey";
        return Err(wrong("clientKey", reason, "give both"));
    }
    // The library would say what is wrong with them only by failing to connect.
    let certificates = Certificates {
        authority,
        client: metadata.client_cert.as_ref(),
        key: metadata.client_key.as_ref(),
    };
    Target::new("broker", 1, by_tls, certificates).await?;
    let plain = match kind.as_str() {
        "password" => password(metadata)?,
        _ => AuthConfig::plaintext(),
    };
    if !by_tls {
        return Ok(plain);
    }
    let mut tls = match (metadata.skip_verify, authority) {
        (true, _) => {
            tracing::warn!("skipVerify is set: any server is taken for the cluster");
            TlsConfig::insecure()
        }
        (false, Some(authority)) => TlsConfig::new().with_ca_cert_pem(authority),
        (false, None) => TlsConfig::new().with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (
        secret(metadata.client_cert.as_ref()),
        secret(metadata.client_key.as_ref()),
    ) {
        tls = tls.with_client_cert_pem(certificate, key.as_bytes().to_vec());
    }
    Ok(plain.with_tls(tls))
}

fn password(metadata: &KafkaMetadata) -> Result<AuthConfig, OpenError> {
    let missing = |field: &str| wrong(field, "it is missing, and authType is 'password'", "give it");
    let user = given(metadata.sasl_username.as_ref()).ok_or_else(|| missing("saslUsername"))?;
    let password = secret(metadata.sasl_password.as_ref()).ok_or_else(|| missing("saslPassword"))?;
    match metadata.sasl_mechanism.trim().to_ascii_uppercase().as_str() {
        "" | "PLAINTEXT" | "PLAIN" => Ok(AuthConfig::sasl_plain(user, password)),
        "SHA-256" | "SCRAM-SHA-256" => Ok(AuthConfig::sasl_scram_sha256(user, password)),
        "SHA-512" | "SCRAM-SHA-512" => Ok(AuthConfig::sasl_scram_sha512(user, password)),
        _ => Err(wrong(
            "saslMechanism",
            "it is unknown",
            "use 'PLAINTEXT', 'SHA-256' or 'SHA-512'",
        )),
    }
}
