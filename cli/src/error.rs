//! What can go wrong on the command line, always with what to do about it.
//!
//! Must never contain a key, a token or a request body.

use std::path::PathBuf;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody said which control plane, and none runs here.
    #[error("no control plane is known")]
    NoControlPlane,
    /// No API key anywhere.
    #[error("no API key for {api}")]
    NoApiKey {
        /// The control plane.
        api: String,
    },
    /// The API answered, with an error.
    #[error("{title}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Short name of the error.
        title: String,
        /// What the server says about it.
        detail: String,
    },
    /// No answer.
    #[error("cannot reach {target}: {reason}")]
    Unreachable {
        /// Scheme, host and port.
        target: String,
        /// What the network says.
        reason: String,
    },
    /// An answer that is not what the contract says.
    #[error("{target} gave an answer that is not understood: {reason}")]
    Answer {
        /// Scheme, host and port.
        target: String,
        /// Why.
        reason: String,
    },
    /// A file of the user's.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value on the command line.
    #[error("{argument}: {reason}")]
    Argument {
        /// Name of the flag or argument.
        argument: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// `--wait` gave up.
    #[error("{what} is still {status} after {seconds} s{messages}")]
    Waited {
        /// Kind and name.
        what: String,
        /// Last status word.
        status: String,
        /// How long.
        seconds: u64,
        /// What the platform says about it.
        messages: String,
    },
    /// Reconciliation ended in an error.
    #[error("{what} is in error{messages}")]
    InError {
        /// Kind and name.
        what: String,
        /// What the platform says about it.
        messages: String,
    },
    /// The region does it only when a person agrees.
    #[error("{what} is held by the region{messages}")]
    Held {
        /// Kind and name.
        what: String,
        /// What the platform says about it.
        messages: String,
    },
    /// Nothing chosen, nothing given.
    #[error("no project given")]
    NoProject,
    /// Destructive, and not confirmed.
    #[error("{consequence}")]
    NotConfirmed {
        /// What would be done.
        consequence: String,
    },
    /// The person at the terminal said no.
    #[error("nothing was deleted")]
    Declined,
    /// A change that changes nothing.
    #[error("nothing to change was given")]
    NothingToChange,
}

impl Error {
    /// What the person can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoControlPlane => {
                "start one with `palladium up`; one with a folder of its own is found by --data-dir DIR (or PALLADIUM_DATA_DIR); \
                 another machine's is named by `palladium login --api URL --api-key - --ca-file FILE`"
                    .to_owned()
            }
            Self::NoApiKey { .. } => {
                "give --api-key -, set PALLADIUM_API_KEY, or run `palladium login`; for a control plane of this machine name its \
                 folder: --data-dir DIR (or PALLADIUM_DATA_DIR)"
                    .to_owned()
            }
            Self::Refused { status: 401, .. } => {
                "the API key is wrong, expired or revoked; `palladium login` saves another one".to_owned()
            }
            Self::Refused { status: 403, .. } => "`palladium whoami` shows your role and its scope".to_owned(),
            Self::Refused { status: 400, detail, .. } if detail.contains("must be entered again") => {
                "`component update NAME --metadata SETTING=-` asks for the secret; or apply a file that holds it".to_owned()
            }
            Self::Refused { title, .. } if title == "ERR_STATE_STORE_NOT_FOUND" => {
                "`palladium component list` shows the components and which App IDs may use them; -c NAME chooses one".to_owned()
            }
            Self::Refused { detail, .. } if detail.contains("etag mismatch") => {
                "`call state get KEY --show-etag` shows the present one; read, change, and save with it".to_owned()
            }
            Self::Refused { status: 404, .. } => {
                "check the name with the `list` command, and the project with -p".to_owned()
            }
            Self::Refused {
                status: 409, detail, ..
            } => conflict_hint(detail)?.to_owned(),
            Self::Refused { status: 502..=504, .. } => {
                "`get` or `list` shows whether it was done all the same; repeat it if not".to_owned()
            }
            Self::Unreachable { reason, .. } if reason.contains("certificate") => {
                "--ca-file FILE names the roots to trust; a local installation's are DATA_DIR/ca.pem".to_owned()
            }
            Self::Unreachable { .. } => {
                "is it running, and is this its address? `palladium up` starts a local one".to_owned()
            }
            Self::Waited { .. } => "`get` shows its state; a longer --timeout waits longer".to_owned(),
            Self::NoProject => "give -p PROJECT, or choose one with `palladium project use PROJECT`".to_owned(),
            Self::NotConfirmed { .. } => "repeat it with --yes".to_owned(),
            Self::NothingToChange => "--help lists what can be changed".to_owned(),
            _ => return None,
        })
    }
}

/// What helps against a conflict; the server's own remedy comes after a semicolon.
fn conflict_hint(detail: &str) -> Option<&'static str> {
    let detail = detail.to_ascii_lowercase();
    if detail.contains("; ") {
        None
    } else if detail.contains("api key") && detail.contains("already exists") {
        Some("choose another name, or `palladium apikey delete` that one first")
    } else if detail.contains("already exists") {
        Some(
            "`update` changes it, `apply` replaces it, and `create --ignore-if-exists` is content with it where it can be",
        )
    } else if detail.contains("being deleted") {
        Some("wait until it is gone (`delete --wait` does), then create it again")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_answered_by_its_own_remedy() {
        let hint = |detail| conflict_hint(detail).unwrap_or_default();
        assert!(hint("Component redis already exists").contains("`apply` replaces"));
        assert!(hint("API key ci already exists").contains("apikey delete"));
        assert!(hint("the object is being deleted and cannot be changed").contains("until it is gone"));
        assert_eq!(
            hint("the object was changed meanwhile; read it again and repeat the change"),
            ""
        );
    }
}
