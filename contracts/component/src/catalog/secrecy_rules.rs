//! Which names and values are secrets when no driver has declared them.
//!
//! The one idea: a wrong "yes" hides a harmless value, a wrong "no" leaks a password: so names decide generously.
//! Upstream's own flags are incomplete (for instance `connectionString` of SQL stores, `clientKey` of Redis).

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
const HARMLESS: [&str; 5] = [
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
    if lower.contains("-----begin") && lower.contains("private key-----") {
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
