//! The way to a Redis server, for the drivers of all building blocks.
//!
//! One idea: what a component says about its server is read, judged and turned into a client in one place, so that every
//! building block on Redis takes the same settings and refuses the same ones. Must never keep a connection or know what is
//! kept on the server.

mod metadata;

use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, RedisError,
    TlsCertificates,
};
use palladium_component::{MetadataError, OpenError};
use secrecy::ExposeSecret as _;

pub use metadata::RedisMetadata;

impl RedisMetadata {
    /// How often a call that never reached the server is repeated.
    pub fn tries(&self) -> u32 {
        u32::try_from(self.redis_max_retries).unwrap_or(0).min(100)
    }

    /// How connections are made, and made again.
    pub fn connection(&self) -> ConnectionManagerConfig {
        let pause = |pause: Option<Duration>| pause.unwrap_or_default().max(Duration::from_millis(1));
        ConnectionManagerConfig::new()
            .set_number_of_retries(self.tries() as usize)
            .set_min_delay(pause(self.redis_min_retry_interval.0))
            .set_max_delay(pause(self.redis_max_retry_interval.0))
            .set_connection_timeout(self.dial_timeout.0)
            .set_response_timeout(self.read_timeout.0)
    }

    /// A client, a connection, and what an error of the server means while the component opens. `what`: how its words begin.
    ///
    /// # Errors
    /// When a setting is not supported or cannot be used, or the server cannot be reached.
    pub async fn connect(
        &self,
        what: &'static str,
    ) -> Result<(Client, ConnectionManager, impl Fn(RedisError) -> OpenError), OpenError> {
        self.check()?;
        let (host, port) = self.address()?;
        let client = client(self, &host, port)?;
        let unavailable = move |error: RedisError| OpenError::Unavailable(format!("{what} at {host}:{port}: {error}"));
        let connection = ConnectionManager::new_with_config(client.clone(), self.connection()).await;
        let connection = connection.map_err(&unavailable)?;
        Ok((client, connection, unavailable))
    }
}

fn client(metadata: &RedisMetadata, host: &str, port: u16) -> Result<Client, OpenError> {
    let mut settings = RedisConnectionInfo::default().set_db(metadata.database.into());
    if let Some(name) = metadata.redis_username.as_deref().filter(|name| !name.is_empty()) {
        settings = settings.set_username(name);
    }
    if let Some(password) = metadata
        .redis_password
        .as_ref()
        .map(|password| password.expose_secret())
        .filter(|text| !text.is_empty())
    {
        settings = settings.set_password(password);
    }
    let address = match metadata.enable_tls {
        false => ConnectionAddr::Tcp(host.into(), port),
        true => ConnectionAddr::TcpTls {
            host: host.into(),
            port,
            insecure: false,
            tls_params: None,
        },
    };
    // The library's messages about a bad certificate or key may quote it: only the field is named.
    let wrong = |field: &str| {
        OpenError::from(MetadataError::new(
            field,
            "it cannot be used",
            "check host, certificate and key",
        ))
    };
    let info: ConnectionInfo = address
        .into_connection_info()
        .map_err(|_| wrong("redisHost"))?
        .set_redis_settings(settings);
    if !metadata.enable_tls {
        return Client::open(info).map_err(|_| wrong("redisHost"));
    }
    let pem = |secret: &secrecy::SecretString| secret.expose_secret().as_bytes().to_vec();
    let client_tls = metadata.client_cert.as_ref().zip(metadata.client_key.as_ref());
    let client_tls = client_tls.map(|(cert, key)| ClientTlsConfig {
        client_cert: pem(cert),
        client_key: pem(key),
    });
    Client::build_with_tls(
        info,
        TlsCertificates {
            client_tls,
            root_cert: None,
        },
    )
    .map_err(|_| wrong("clientCert"))
}

#[cfg(test)]
mod tests {
    use palladium_component::ComponentMetadata as _;

    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<RedisMetadata, MetadataError> {
        let metadata = RedisMetadata::parse(&pairs.iter().copied().collect())?;
        metadata.check()?;
        Ok(metadata)
    }

    #[test]
    fn addresses_as_dapr_reads_them() {
        let address = |host: &str, port: &str| parse(&[("redisHost", host), ("redisPort", port)]).unwrap().address();
        assert_eq!(address("h", "").unwrap(), ("h".into(), 6379));
        assert_eq!(address("h:1", "").unwrap(), ("h".into(), 1));
        assert_eq!(address("h", "2").unwrap(), ("h".into(), 2));
        assert_eq!(address("[::1]:3", "3").unwrap(), ("::1".into(), 3));
        assert_eq!(address("::1", "").unwrap(), ("::1".into(), 6379));
        for (host, port) in [("h:1", "2"), ("redis://h", ""), ("user@h", ""), ("h:x", ""), (" ", "")] {
            assert!(address(host, port).is_err(), "{host}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (pairs, field) in [
            (&[("redisType", "cluster")][..], "redisType"),
            (&[("failover", "true")][..], "failover"),
            (&[("useEntraID", "true")][..], "useEntraID"),
            (&[("useAzureAD", "true")][..], "useEntraID"),
            (&[("useOIDC", "true")][..], "useOIDC"),
            (
                &[("enableTLS", "true"), ("insecureSkipTLSVerify", "true")][..],
                "insecureSkipTLSVerify",
            ),
            (&[("clientCert", "x")][..], "clientKey"),
        ] {
            let all: Vec<(&str, &str)> = pairs.iter().copied().chain([("redisHost", "h")]).collect();
            assert_eq!(parse(&all).unwrap_err().field, field);
        }
        assert_eq!(parse(&[("redisHost", "a:1,b:2")]).unwrap_err().field, "redisHost");
    }

    #[test]
    fn durations_count_in_milliseconds() {
        let metadata = parse(&[("redisHost", "h"), ("dialTimeout", "250"), ("readTimeout", "-1")]).unwrap();
        assert_eq!(
            (metadata.dial_timeout.0, metadata.read_timeout.0),
            (Some(Duration::from_millis(250)), None)
        );
    }
}
