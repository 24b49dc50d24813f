//! The connection string of Go's MySQL driver: `user:password@tcp(host:3306)/?tls=true`.
//!
//! One idea: user and password end at the last `@` before the last `/`, as Go's driver has it, and a parameter is either
//! obeyed, known to say nothing here, or refused. Must never quote a connection string in an error, nor, in platform mode,
//! let a path through.

use palladium_component::{Hosting, MetadataError, OpenError};
use secrecy::ExposeSecret as _;
use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use super::metadata::MySqlMetadata;

/// Parameters about what Go's driver does inside, and what this one does anyway.
const SILENT: &[&str] = &[
    "allowNativePasswords",
    "checkConnLiveness",
    "charset",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "readTimeout",
    "rejectReadOnly",
    "timeout",
    "writeTimeout",
];

/// Options of one connection, without a database.
pub(super) fn options(metadata: &MySqlMetadata, hosting: &Hosting) -> Result<MySqlConnectOptions, OpenError> {
    let text = metadata.connection_string.expose_secret().trim();
    let (server, rest) = text.rsplit_once('/').ok_or_else(|| wrong("it has no '/'"))?;
    let (database, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if !database.is_empty() {
        return Err(wrong("it names a database, which 'schemaName' does").into());
    }
    let (credentials, address) = server.rsplit_once('@').unwrap_or(("", server));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let hosted = hosting.is_platform();
    let mut options = MySqlConnectOptions::new().username(if user.is_empty() { "root" } else { user });
    if !password.is_empty() {
        options = options.password(password);
    }
    options = match place(address)? {
        Place::Host(host, port) => options.host(&host).port(port),
        Place::Socket(_) if hosted => {
            return Err(OpenError::NotAllowed("state.mysql needs the host of a server".into()));
        }
        Place::Socket(path) => options.socket(path),
    };
    let mut mode = None;
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter
            .split_once('=')
            .ok_or_else(|| wrong("a parameter has no '='"))?;
        match name {
            "tls" => mode = Some(tls(value)?),
            _ if SILENT.contains(&name) => {}
            _ => return Err(wrong("it has a parameter that is not known").into()),
        }
    }
    let pem_path = metadata.pem_path.as_deref().filter(|path| !path.is_empty());
    let pem = metadata.pem_contents.as_deref().filter(|pem| !pem.is_empty());
    options = match (pem, pem_path) {
        (Some(pem), _) => options.ssl_ca_from_pem(pem.as_bytes().to_vec()),
        (None, Some(_)) if hosted => {
            let reason = "pemPath would read a file of the machine; use 'pemContents' instead";
            return Err(OpenError::NotAllowed(reason.into()));
        }
        (None, Some(path)) => options.ssl_ca(path),
        (None, None) => options,
    };
    let has_authority = pem.is_some() || pem_path.is_some();
    let mode = match mode {
        Some(Tls::Custom) if !has_authority => {
            return Err(MetadataError::new("pemPath", "tls=custom needs it", "add 'pemPath' or 'pemContents'").into());
        }
        Some(Tls::Custom | Tls::Checked) => MySqlSslMode::VerifyIdentity,
        Some(Tls::Unchecked) => MySqlSslMode::Required,
        Some(Tls::IfThere) => MySqlSslMode::Preferred,
        Some(Tls::Never) if has_authority => return Err(wrong("it switches TLS off, and 'pemPath' is given").into()),
        // Whoever names an authority wants it asked.
        None if has_authority => MySqlSslMode::VerifyIdentity,
        Some(Tls::Never) | None => MySqlSslMode::Disabled,
    };
    Ok(options
        .ssl_mode(mode)
        .pipes_as_concat(false)
        .disable_statement_logging())
}

#[derive(Clone, Copy)]
enum Tls {
    Never,
    Checked,
    Custom,
    Unchecked,
    IfThere,
}

fn tls(value: &str) -> Result<Tls, MetadataError> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "false" | "0" => Tls::Never,
        "true" | "1" => Tls::Checked,
        "custom" => Tls::Custom,
        "skip-verify" => Tls::Unchecked,
        "preferred" => Tls::IfThere,
        _ => return Err(wrong("its 'tls' is not known")),
    })
}

enum Place {
    Host(String, u16),
    Socket(String),
}

/// `tcp(host:port)`, `unix(/path)`, or nothing at all.
fn place(address: &str) -> Result<Place, MetadataError> {
    if address.is_empty() || address == "tcp" {
        return Ok(Place::Host("127.0.0.1".into(), 3306));
    }
    let inside = |protocol: &str| address.strip_prefix(protocol)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(path) = inside("unix") {
        return Ok(Place::Socket(path.into()));
    }
    let address = inside("tcp").ok_or_else(|| wrong("it has no 'tcp(host:port)'"))?;
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong("its port is no number"))?),
        _ => (address, 3306),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() || host.contains(['(', ')', '@', '/', ',']) {
        return Err(wrong("its host cannot be read"));
    }
    Ok(Place::Host(host.into(), port))
}

fn wrong(reason: &str) -> MetadataError {
    MetadataError::new("connectionString", reason, "use 'user:password@tcp(host:3306)/'")
}
