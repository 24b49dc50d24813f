//! A PEM file with the system's roots and those of an installation.
//!
//! Must never hold anything but certificates: where it is copied from may hold keys as well.

use std::path::{Path, PathBuf};

use crate::Error;

/// Where systems keep all their roots in one file; the first that exists is taken.
const SYSTEM: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of `own`, then those of the file that `SSL_CERT_FILE` names (a company's proxy may need it) or the system's.
pub fn with_system_roots(own: &Path) -> Result<Vec<u8>, Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Error::File {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    };
    let own = read(own)?;
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let system = named.into_iter().chain(SYSTEM.iter().map(PathBuf::from));
    let system = system.filter(|path| path.is_file()).find_map(|path| read(&path).ok());
    Ok(merged(&[own, system.unwrap_or_default()]))
}

/// Every certificate once, in the order of the files: this may read what it wrote itself.
fn merged(files: &[Vec<u8>]) -> Vec<u8> {
    let mut seen = std::collections::HashSet::new();
    let mut out = String::new();
    for file in files {
        let text = String::from_utf8_lossy(file);
        for block in text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)) {
            let body = block.0.trim();
            if seen.insert(body.to_owned()) {
                out.push_str(&format!("{BEGIN}\n{body}\n{END}\n"));
            }
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_come_once_and_nothing_else_comes_along() {
        let pem = |body: &str| format!("# {body}\n{BEGIN}\n{body}\n{END}\n");
        let key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
        let own = format!("{key}{}", pem("own")).into_bytes();
        let system = format!("{}{}{}", pem("a"), pem("own"), pem("b")).into_bytes();
        let once = merged(&[own.clone(), system]);
        let text = String::from_utf8(once.clone()).expect("text");
        assert_eq!(text.matches(BEGIN).count(), 3);
        assert!(text.starts_with(&format!("{BEGIN}\nown")) && !text.contains("secret") && !text.contains('#'));
        assert_eq!(
            merged(&[own, once.clone()]),
            once,
            "its own output does not make it grow"
        );
    }
}
