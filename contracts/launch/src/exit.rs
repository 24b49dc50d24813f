//! Exit codes that a parent understands. The numbers follow sysexits.h where it has a word for the case.
//!
//! Must never be used for anything but ending a process.

use palladium_identity::IdentityError;

/// An ordered stop.
pub const STOPPED: u8 = 0;
/// Configuration or command line is wrong; starting again will not help.
pub const USAGE: u8 = 64;
/// A port is taken, a folder cannot be written, a disk is full.
pub const UNAVAILABLE: u8 = 69;
/// Anything that went wrong inside the process.
pub const SOFTWARE: u8 = 70;
/// The process has no valid SVID any more and wants to be started again, at once, with a fresh attestation.
pub const ATTEST_AGAIN: u8 = 75;

/// What it means to the parent that a process has no identity.
pub fn without_identity(error: &IdentityError) -> u8 {
    match error {
        error if error.wants_attestation() => ATTEST_AGAIN,
        IdentityError::Files { .. } => UNAVAILABLE,
        IdentityError::Key => SOFTWARE,
        _ => USAGE,
    }
}
