//! `state.redis`: a Redis server, in the layout of Dapr's own driver, so that daprd and this driver can share one.
//!
//! The one idea: every write is one script that checks and writes in one step ([`scripts`]); etags are the hash's
//! `version`. As in Dapr, an explicit last-write ignores an etag, and a write without a TTL keeps the key's. One
//! multiplexed connection, re-made by itself; only calls that certainly never reached the server, and reads, are repeated.

mod metadata;
mod scripts;
mod store;

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo,
    TlsCertificates,
};
use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, StateDriver, Status};
use secrecy::ExposeSecret as _;

use metadata::RedisMetadata;
use store::{RedisStore, Retry};

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.redis",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: RedisMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = RedisMetadata::parse(&context.properties)?;
    metadata.check()?;
    let (host, port) = metadata.address()?;
    let client = client(&metadata, &host, port)?;
    let retry = Retry {
        times: u32::try_from(metadata.redis_max_retries).unwrap_or(0).min(100),
        min: metadata.redis_min_retry_interval.0.unwrap_or_default(),
        max: metadata.redis_max_retry_interval.0.unwrap_or_default(),
    };
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(retry.times as usize)
        .set_min_delay(retry.min.max(Duration::from_millis(1)))
        .set_max_delay(retry.max.max(Duration::from_millis(1)))
        .set_connection_timeout(metadata.dial_timeout.0)
        .set_response_timeout(metadata.read_timeout.0);
    let unavailable = |error: ::redis::RedisError| {
        OpenError::Unavailable(format!(
            "redis store: error connecting to redis at {host}:{port}: {error}"
        ))
    };
    let connection = ConnectionManager::new_with_config(client, config)
        .await
        .map_err(unavailable)?;
    let store = RedisStore::new(connection, retry, metadata.default_ttl)
        .await
        .map_err(unavailable)?;
    Ok(Arc::new(store))
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

    #[tokio::test]
    async fn no_server_is_a_clear_error_without_secrets() {
        let pairs = [
            ("redisHost", "127.0.0.1:1"),
            ("redisPassword", "hunter2"),
            ("redisMaxRetries", "0"),
        ];
        let error = open(OpenContext::new("c", "app", pairs.into_iter().collect()))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }
}
