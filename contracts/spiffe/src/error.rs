//! Why a string is not a SPIFFE ID, a trust domain or a path pattern.
//!
//! The messages name the rule, never the offending text: that text comes from strangers and ends up in logs.

/// The rule that a string breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Does not begin with exactly `spiffe://`.
    #[error("the scheme must be exactly `spiffe://`")]
    Scheme,
    /// More than [`crate::MAX_ID_BYTES`].
    #[error("a SPIFFE ID is at most 2048 bytes long")]
    TooLong,
    /// Empty trust domain.
    #[error("the trust domain is empty")]
    EmptyTrustDomain,
    /// More than [`crate::MAX_TRUST_DOMAIN_BYTES`].
    #[error("a trust domain is at most 255 bytes long")]
    TrustDomainTooLong,
    /// User information, port, upper case, percent-encoding or anything else outside `[a-z0-9._-]`.
    #[error("a trust domain holds only a-z, 0-9, '.', '_' and '-'")]
    TrustDomainCharacter,
    /// `//` inside the path.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// Ends in `/`.
    #[error("the path ends with a slash")]
    TrailingSlash,
    /// A `.` or `..` segment.
    #[error("the path has a relative segment")]
    DotSegment,
    /// Query, fragment, percent-encoding or anything else outside `[a-zA-Z0-9._-]`.
    #[error("a path segment holds only letters, digits, '.', '_' and '-'")]
    PathCharacter,
    /// A path must begin with `/`.
    #[error("the path must begin with a slash")]
    PathStart,
    /// `*` anywhere but as the last character of a pattern.
    #[error("a pattern may hold one '*', as its last character")]
    Pattern,
}
