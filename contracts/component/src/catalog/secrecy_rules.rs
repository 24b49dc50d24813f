//! Which names and values are secrets when no driver has declared them.
//!
//! The one idea: a wrong "yes" hides a harmless value, a wrong "no" leaks a password: so names decide generously.
//! Upstream's own flags are incomplete (for instance `connectionString` of SQL stores, `clientKey` of Redis).
//!
//! Must never quote what it judged.

/// Parts of names that make a secret, compared without case, dashes and underscores.
const PARTS: [&str; 20] = [
    "password",
    "passphrase",
    "passwd",
    "secret",
    "token",
    "privatekey",
    "accesskey",
    "apikey",
    "accountkey",
    "masterkey",
    "authkey",
    "clientkey",
    "encryptionkey",
    "assertionkey",
    "sharedkey",
    "connectionstring",
    "credential",
    "certificatepassword",
    "jwt",
    "sastoken",
];

/// Whole names that are secrets.
const WHOLE: [&str; 7] = [
    "key",
    "sas",
    "dsn",
    "cfaccountid",
    "azurecertificate",
    "clientcert",
    "pwd",
];

/// Names that contain such a part and are none: reviewed one by one.
const HARMLESS: [&str; 6] = [
    "maxtokens",
    "oidctokenendpoint",
    "tokenendpoint",
    "tokenurl",
    "secretstore",
    "apitokenheader",
];

/// Whether a metadata name is that of a secret.
pub fn looks_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    !HARMLESS.contains(&plain.as_str())
        && (WHOLE.contains(&plain.as_str()) || PARTS.iter().any(|part| plain.contains(part)))
}

/// Whether a value carries credentials inside: a URL with a password, a connection string with one, a PEM key.
pub fn carries_credentials(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    if is_private_key(&lower) {
        return true;
    }
    // With a scheme or without one: `redis://user:password@host`, `user:password@host:6379`, `user:password@tcp(host)/db`.
    let in_address = lower
        .split([',', ';', ' '])
        .chain(lower.split("://").skip(1))
        .flat_map(|address| {
            let (before, after) = address.split_once("://").unwrap_or(("", address));
            [before, after]
        })
        .any(|rest| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority
                .rsplit_once('@')
                .is_some_and(|(userinfo, _)| userinfo.contains(':'))
        });
    let packed: String = lower.split_whitespace().collect();
    in_address
        || ["password=", "pwd=", "accountkey=", "sharedaccesskey="]
            .iter()
            .any(|part| packed.contains(part))
}

/// Whether free text (an annotation, a description) holds credentials beyond doubt: a URL with a password, a connection string with
/// one, a PEM key. Such text is refused, so unlike [`carries_credentials`] this must not be wrong about ordinary text.
pub fn holds_credentials(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    is_private_key(&lower) || lower.split("://").skip(1).any(is_address_with_password) || is_connection_string(&lower)
}

fn is_private_key(lower: &str) -> bool {
    lower.contains("-----begin") && lower.contains("private key-----")
}

/// `rest` = what follows the `://`.
fn is_address_with_password(rest: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "/?#\"'<>`,;()\\".contains(c);
    let authority = rest.split(ends).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .and_then(|(userinfo, _)| userinfo.split_once(':'))
        .is_some_and(|(_, password)| is_real(password))
}

/// `server=…;password=…`, `host=… password=…`; a single `password=…` is any text.
fn is_connection_string(lower: &str) -> bool {
    let pairs = lower.split([';', '&', '?', ' ', '\n']);
    let pairs: Vec<_> = pairs.filter_map(|part| part.trim().split_once('=')).collect();
    pairs.len() > 1
        && pairs
            .iter()
            .any(|(name, value)| ["password", "pwd", "accountkey", "sharedaccesskey"].contains(name) && is_real(value))
}

/// Not a placeholder: `${PASSWORD}`, `{{password}}`, `<password>`, `***`.
fn is_real(password: &str) -> bool {
    !password.is_empty() && !password.starts_with(['$', '{', '<', '[', '%', '*'])
}
