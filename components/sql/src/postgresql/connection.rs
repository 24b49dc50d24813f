//! From a component's settings to the options of a connection.
//!
//! One idea: both spellings of a connection string become one list of settings, the component's own fields go over it, and
//! only what is known here is passed on. Must never quote a connection string in an error, nor, in platform mode, let a
//! path through.

use std::collections::BTreeMap;
use std::time::Duration;

use palladium_component::metadata::parse_duration;
use palladium_component::{Hosting, MetadataError, OpenError};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::metadata::PostgresMetadata;
use crate::PoolSize;

const FIELD: &str = "connectionString";
type Settings = BTreeMap<String, String>;

/// Options of one connection, and how many there may be.
pub(super) fn options(
    metadata: &PostgresMetadata,
    hosting: &Hosting,
) -> Result<(PgConnectOptions, PoolSize), OpenError> {
    let mut settings = match &metadata.connection_string {
        Some(text) => read(text.expose_secret())?,
        None => Settings::new(),
    };
    let password = metadata.password.as_ref().map(|text| text.expose_secret().to_owned());
    for (name, value) in [
        ("host", &metadata.host),
        ("hostaddr", &metadata.host_addr),
        ("port", &metadata.port),
        ("dbname", &metadata.database),
        ("user", &metadata.user),
        ("password", &password),
        ("sslrootcert", &metadata.ssl_root_cert),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            settings.insert(name.into(), value.clone());
        }
    }
    if settings.is_empty() {
        let remedy = "add 'connectionString', or 'host', 'user' and 'password', to the component's metadata";
        return Err(MetadataError::new(FIELD, "it is missing", remedy).into());
    }
    if hosting.is_platform() {
        confine(&settings)?;
    }
    let mut size = PoolSize::default();
    let mut options = PgConnectOptions::new_without_pgpass();
    if let Some(host) = settings.remove("hostaddr").or_else(|| settings.remove("host")) {
        settings.remove("host");
        options = options.host(&host);
    }
    let mut mode = None;
    let mut root = None;
    for (name, value) in settings {
        options = match name.as_str() {
            "port" => options.port(number(&name, &value)?),
            "dbname" => options.database(&value),
            "user" => options.username(&value),
            "password" => options.password(&value),
            "application_name" => options.application_name(&value),
            "sslmode" => {
                mode = Some(ssl_mode(&value)?);
                options
            }
            "sslrootcert" => {
                root = Some(value);
                options
            }
            "sslcert" => options.ssl_client_cert(&value),
            "sslkey" => options.ssl_client_key(&value),
            "pool_max_conns" => {
                size.connections = number(&name, &value)?;
                options
            }
            "pool_max_conn_idle_time" => {
                size.idle = span(&name, &value)?;
                options
            }
            // Bounds of the pool and of connecting are the driver's own.
            "connect_timeout"
            | "pool_min_conns"
            | "pool_max_conn_lifetime"
            | "pool_health_check_period"
            | "pool_max_conn_lifetime_jitter"
            | "sslsni"
            | "target_session_attrs" => options,
            "search_path" | "statement_timeout" | "timezone" | "role" => options.options([(name, value)]),
            // Not quoted: a blank in a password makes a name of what comes after it.
            _ => return Err(wrong("it has a setting that is not known").into()),
        };
    }
    if let Some(root) = &root {
        options = match root.contains("-----BEGIN") {
            true => options.ssl_root_cert_from_pem(root.clone().into_bytes()),
            false => options.ssl_root_cert(root),
        };
    }
    options = options.ssl_mode(match (mode, root.is_some()) {
        // As libpq does it: with an authority at hand its word is asked for.
        (Some(PgSslMode::Require), true) => PgSslMode::VerifyCa,
        (Some(mode), _) => mode,
        (None, _) => PgSslMode::Prefer,
    });
    if metadata.max_conns > 1 {
        size.connections = metadata.max_conns.unsigned_abs();
    }
    if let Some(idle) = metadata.connection_max_idle_time.filter(|idle| !idle.is_zero()) {
        size.idle = idle;
    }
    Ok((options.disable_statement_logging(), size))
}

/// In platform mode: a host on the network, and no file of the machine.
fn confine(settings: &Settings) -> Result<(), OpenError> {
    let given = |name: &str| settings.get(name).filter(|value| !value.is_empty());
    let host = given("hostaddr").or_else(|| given("host"));
    if host.is_none_or(|host| host.starts_with(['/', '@'])) {
        return Err(OpenError::NotAllowed(
            "PostgreSQL's host must be a server's, not a socket of the machine".into(),
        ));
    }
    for name in ["sslcert", "sslkey", "sslrootcert"] {
        if given(name).is_some_and(|value| !value.contains("-----BEGIN")) {
            let reason = format!("{name} would read a file of the machine; give the PEM text instead");
            return Err(OpenError::NotAllowed(reason));
        }
    }
    Ok(())
}

/// The settings of a connection string, under libpq's names.
pub(super) fn read(text: &str) -> Result<Settings, MetadataError> {
    let text = text.trim();
    let is_url = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let settings = if is_url { read_url(text) } else { read_pairs(text) }?;
    let own_name = |name: String| match name.as_str() {
        "database" => "dbname".to_owned(),
        _ => name,
    };
    Ok(settings
        .into_iter()
        .map(|(name, value)| (own_name(name), value))
        .collect())
}

fn read_url(text: &str) -> Result<Settings, MetadataError> {
    let url = url::Url::parse(text).map_err(|_| wrong("it is no URL"))?;
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded
            .map(|text| text.into_owned())
            .map_err(|_| wrong("it is not UTF-8"))
    };
    let mut settings = Settings::new();
    let mut put = |name: &str, value: &str| -> Result<(), MetadataError> {
        if !value.is_empty() {
            settings.insert(name.into(), decoded(value)?);
        }
        Ok(())
    };
    let host = url.host_str().unwrap_or_default();
    put(
        "host",
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host),
    )?;
    put("user", url.username())?;
    put("password", url.password().unwrap_or_default())?;
    put("dbname", url.path().trim_start_matches('/'))?;
    if let Some(port) = url.port() {
        settings.insert("port".into(), port.to_string());
    }
    settings.extend(
        url.query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned())),
    );
    Ok(settings)
}

/// `name=value` with blanks between; a value may stand in single quotes, and `\` takes the next character as it is.
fn read_pairs(text: &str) -> Result<Settings, MetadataError> {
    let mut settings = Settings::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(settings);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=') {
            name.push(c);
        }
        if chars.next().is_none() {
            return Err(wrong("a setting has no '='"));
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_ascii_whitespace() => break,
                Some('\\') => value.push(chars.next().ok_or_else(|| wrong("it ends with '\\'"))?),
                Some(c) => value.push(c),
                None if quoted => return Err(wrong("a quote does not end")),
                None => break,
            }
        }
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty() {
            return Err(wrong("a setting has no name"));
        }
        settings.insert(name, value);
    }
}

fn ssl_mode(value: &str) -> Result<PgSslMode, MetadataError> {
    Ok(match value {
        "disable" => PgSslMode::Disable,
        "allow" => PgSslMode::Allow,
        "prefer" | "" => PgSslMode::Prefer,
        "require" => PgSslMode::Require,
        "verify-ca" => PgSslMode::VerifyCa,
        "verify-full" => PgSslMode::VerifyFull,
        _ => return Err(wrong("its sslmode is not known")),
    })
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, MetadataError> {
    value
        .trim()
        .parse()
        .map_err(|_| wrong(&format!("its {name} is no number")))
}

fn span(name: &str, value: &str) -> Result<Duration, MetadataError> {
    parse_duration(value, Duration::from_secs(1)).map_err(|_| wrong(&format!("its {name} is no duration")))
}

fn wrong(reason: &str) -> MetadataError {
    MetadataError::new(
        FIELD,
        reason,
        "use 'host=… port=… user=… password=… dbname=…' or 'postgres://user:password@host:port/database'",
    )
}
