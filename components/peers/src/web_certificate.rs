//! A certificate for `localhost` under an authority of its own, for servers that are to speak TLS.
//!
//! One idea: made by `openssl`, as a person would make it. Must never be trusted by anything but the test that made it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The files, in a folder that goes away with them.
#[derive(Debug)]
pub struct WebCertificate(TempDir);

impl Default for WebCertificate {
    fn default() -> Self {
        Self::new()
    }
}

impl WebCertificate {
    /// Makes them.
    ///
    /// # Panics
    /// When there is no `openssl`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for certificates");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let is_authority = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign",
        ];
        let authority = [
            "req",
            "-x509",
            "-subj",
            "/CN=authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        openssl(folder.path(), &[&authority[..], &key, &is_authority].concat());
        for (name, subject) in [("server", "/CN=localhost"), ("client", "/CN=app")] {
            let (key_file, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
            let ask = ["req", "-new", "-subj", subject, "-keyout", &key_file, "-out", &request];
            openssl(folder.path(), &[&ask[..], &key].concat());
            std::fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost\n").expect("a file");
            let sign = [
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
            ];
            let names = ["-extfile", "names", "-days", "2", "-out", &out];
            openssl(folder.path(), &[&sign[..], &names].concat());
        }
        for file in ["server.key", "client.key"] {
            // A server that gives up root reads it afterwards.
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(folder.path().join(file), open).expect("its owner");
        }
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("its owner");
        Self(folder)
    }

    /// The authority, as PEM text.
    ///
    /// # Panics
    /// When its file is gone.
    pub fn authority(&self) -> String {
        self.text("ca.pem")
    }

    /// A client's certificate and its key, as PEM texts.
    ///
    /// # Panics
    /// When the files are gone.
    pub fn client(&self) -> (String, String) {
        (self.text("client.pem"), self.text("client.key"))
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.path().join(file)).expect("the file was made")
    }

    /// File of the authority.
    pub fn authority_file(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// File of the server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("server.pem")
    }

    /// File of its key.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("server.key")
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).current_dir(folder).output();
    let done = done.unwrap_or_else(|error| panic!("`apt-get install openssl`: {error}"));
    assert!(
        done.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
