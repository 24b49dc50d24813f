//! The launch envelope: one line of JSON on standard input, written once by the parent, then end of file.
//!
//! It is the only way a secret reaches a process at its start. Must never be logged, stored or passed on.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, stdin},
    time::timeout,
};
use zeroize::Zeroizing;

const MAX_BYTES: u64 = 64 * 1024;
/// A parent writes it before it does anything else.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the parent hands to a process that it starts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Proof for Sentry of who this process is: an ES256 JWT, single use, valid for at most 60 seconds.
    pub attestation_jwt: SecretString,
}

/// Why the envelope cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Standard input failed.
    #[error("cannot read the launch envelope from standard input: {0}")]
    Read(#[from] std::io::Error),
    /// Standard input stays open, and nothing comes.
    #[error("no launch envelope on standard input within {} s", DEADLINE.as_secs())]
    Late,
    /// Nothing came.
    #[error("no launch envelope on standard input; a role is started by its supervisor, not by hand")]
    Empty,
    /// Not the agreed form. What was read is not repeated here: it may be secret.
    #[error("the launch envelope on standard input is not of the agreed form (line {line}, column {column})")]
    Form {
        /// Line of the first mistake.
        line: usize,
        /// Column of the first mistake.
        column: usize,
    },
}

impl Envelope {
    /// Reads what the parent wrote to standard input, for at most ten seconds.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub async fn from_parent() -> Result<Self, EnvelopeError> {
        timeout(DEADLINE, Self::read(stdin()))
            .await
            .map_err(|_| EnvelopeError::Late)?
    }

    /// Reads to the end of `input`. The caller sets the deadline.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub async fn read(input: impl AsyncRead + Unpin) -> Result<Self, EnvelopeError> {
        let mut text = Zeroizing::new(Vec::new());
        input.take(MAX_BYTES).read_to_end(&mut text).await?;
        if text.is_empty() {
            return Err(EnvelopeError::Empty);
        }
        serde_json::from_slice(&text).map_err(|error| EnvelopeError::Form {
            line: error.line(),
            column: error.column(),
        })
    }

    /// The bytes for a child's standard input.
    pub fn encode(attestation_jwt: &str) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(
            serde_json::json!({ "attestation_jwt": attestation_jwt })
                .to_string()
                .into_bytes(),
        );
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn what_is_encoded_is_read_back() {
        let envelope = Envelope::read(Envelope::encode("a.b.c").as_slice())
            .await
            .expect("own form");
        assert_eq!(envelope.attestation_jwt.expose_secret(), "a.b.c");
        assert!(!format!("{envelope:?}").contains("a.b.c"));
    }

    #[tokio::test]
    async fn errors_never_repeat_what_was_read() {
        let error = Envelope::read(&b"{\"attestation_jwt\":\"canary"[..])
            .await
            .expect_err("cut short");
        assert!(!error.to_string().contains("canary"));
        assert!(matches!(Envelope::read(&b""[..]).await, Err(EnvelopeError::Empty)));
    }
}
