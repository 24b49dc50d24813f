//! Keys as they lie in files: JSON Web Keys, PEM, or the bytes themselves, also in base64.
//!
//! One idea: the form is what the file's name says, and otherwise what the text looks like, by the rules of Dapr's own
//! drivers. Must never put a piece of the text into an error.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, PrivateDecryptingKey, PublicEncryptingKey, PublicKey};
use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use x509_parser::prelude::{FromDer as _, Pem, SubjectPublicKeyInfo, X509Certificate};
use zeroize::Zeroizing;

use super::{Jwk, Key, KeyError, Material};

/// RSA encryption, the one kind of asymmetric key that wraps others.
const RSA: &str = "1.2.840.113549.1.1.1";

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Jwk,
    Pem,
    /// Not said.
    Unknown,
}

/// Reads a key.
pub(crate) fn parse(text: &[u8], form: Form) -> Result<Key, KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    match form {
        Form::Jwk => Jwk::read(text)?.key(),
        Form::Pem => pem(text),
        // A text as long as a key of AES is one.
        Form::Unknown if text.starts_with(b"{") && ![16, 24, 32].contains(&text.len()) => Jwk::read(text)?.key(),
        Form::Unknown if text.len() > 10 && text.starts_with(b"-----") => pem(text),
        Form::Unknown => symmetric(text),
    }
}

fn symmetric(text: &[u8]) -> Result<Key, KeyError> {
    let end = text
        .iter()
        .rposition(|byte| !b"\n=".contains(byte))
        .map_or(0, |last| last + 1);
    // Go's decoders step over ends of lines.
    let packed: Zeroizing<Vec<u8>> =
        Zeroizing::new(text[..end].iter().copied().filter(|c| !b"\r\n".contains(c)).collect());
    let decoded = [&STANDARD, &URL_SAFE]
        .into_iter()
        .find_map(|alphabet| decoder(alphabet).decode(&*packed).ok());
    Key::symmetric(decoded.unwrap_or_else(|| text.to_vec()))
}

fn decoder(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

fn pem(text: &[u8]) -> Result<Key, KeyError> {
    let first = Pem::iter_from_buffer(text).next();
    let pem = first.and_then(Result::ok).ok_or(KeyError::NotPem)?;
    let der = Zeroizing::new(pem.contents);
    match pem.label.as_str() {
        "PRIVATE KEY" => match PrivateDecryptingKey::from_pkcs8(&der) {
            Ok(private) => Key::rsa_private(private),
            Err(_) if holds_rsa(&der) => Err(KeyError::Rsa),
            Err(_) => Ok(Key::new(Material::Other)),
        },
        "RSA PRIVATE KEY" => {
            let pair = KeyPair::from_der(&der).map_err(|_| KeyError::Rsa)?;
            let pkcs8 = pair.as_der().map_err(|_| KeyError::Rsa)?;
            let private = PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref()).map_err(|_| KeyError::Rsa)?;
            Key::rsa_private(private)
        }
        "RSA PUBLIC KEY" => {
            let public = PublicKey::from_der(&der).map_err(|_| KeyError::Rsa)?;
            public_info(public.as_der().map_err(|_| KeyError::Rsa)?.as_ref())
        }
        "PUBLIC KEY" => public_info(&der),
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| KeyError::NotPem)?;
            public_info(certificate.public_key().raw)
        }
        "EC PRIVATE KEY" => Ok(Key::new(Material::Other)),
        _ => Err(KeyError::NotPem),
    }
}

/// A public key with its algorithm (SubjectPublicKeyInfo).
fn public_info(der: &[u8]) -> Result<Key, KeyError> {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::NotPem)?;
    if info.algorithm.algorithm.to_id_string() != RSA {
        return Ok(Key::new(Material::Other));
    }
    Key::rsa_public(PublicEncryptingKey::from_der(der).map_err(|_| KeyError::Rsa)?)
}

/// Whether a PKCS #8 key says that it is one of RSA: its algorithm's name in DER is in its head.
fn holds_rsa(der: &[u8]) -> bool {
    const NAME: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    der.get(..40.min(der.len()))
        .is_some_and(|head| head.windows(NAME.len()).any(|window| window == NAME))
}
