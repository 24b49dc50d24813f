//! Keys for tests, made anew each time, in the forms that cryptography components and Dapr's own daprd read.
//!
//! One idea: the same keys as a set and as a folder. Must never be kept beyond a test.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tempfile::TempDir;
use x509_parser::der_parser::der::parse_der;

/// A symmetric key of 256 bits and an RSA key.
pub struct Keys {
    symmetric: [u8; 32],
    /// PKCS #8.
    rsa: Vec<u8>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys {
    /// New ones.
    ///
    /// # Panics
    /// When there is no randomness.
    pub fn new() -> Self {
        let mut symmetric = [0; 32];
        aws_lc_rs::rand::fill(&mut symmetric).expect("randomness");
        let rsa = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("a key");
        let rsa = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).expect("a key");
        Keys {
            symmetric,
            rsa: rsa.as_ref().to_vec(),
        }
    }

    /// As a JSON Web Key Set, under the names that the files have.
    pub fn set(&self) -> String {
        format!(
            r#"{{"keys":[{},{},{}]}}"#,
            self.symmetric_jwk("symmetric"),
            self.symmetric_jwk("copy.json"),
            self.rsa_jwk()
        )
    }

    /// As files: `symmetric`, `copy.json`, `rsa.pem`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("symmetric", &format!("{}\n", STANDARD.encode(self.symmetric)));
        write("copy.json", &self.symmetric_jwk("copy"));
        let text = STANDARD.encode(&self.rsa);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let label = "PRIVATE KEY";
        write(
            "rsa.pem",
            &format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")),
        );
        folder
    }

    fn symmetric_jwk(&self, id: &str) -> String {
        let key = URL_SAFE_NO_PAD.encode(self.symmetric);
        format!(r#"{{"kty":"oct","kid":"{id}","k":"{key}"}}"#)
    }

    fn rsa_jwk(&self) -> String {
        // PKCS #8 is a version, an algorithm, and PKCS #1 in an octet string: a version and eight numbers.
        let (_, outer) = parse_der(&self.rsa).unwrap();
        let inner = outer.as_sequence().unwrap()[2].as_slice().unwrap();
        let (_, inner) = parse_der(inner).unwrap();
        let numbers = inner.as_sequence().unwrap()[1..9].iter().map(|number| {
            let bytes = number.as_slice().unwrap().iter().copied().skip_while(|byte| *byte == 0);
            URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<u8>>())
        });
        let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
        let members: Vec<String> = names
            .iter()
            .zip(numbers)
            .map(|(name, number)| format!(r#""{name}":"{number}""#))
            .collect();
        format!(r#"{{"kty":"RSA","kid":"rsa.pem",{}}}"#, members.join(","))
    }
}
