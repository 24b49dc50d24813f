//! How a failed conversation is told.
//!
//! One idea: words and codes are Dapr's. Must never hold a message.

use palladium_engine_report::{Report, code};

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationError {
    /// There is no component of that name.
    NotFound {
        /// The name.
        component: String,
    },
    /// Nothing is said.
    Nothing {
        /// The component.
        component: String,
    },
    /// The request cannot be.
    Invalid {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
    /// The driver failed.
    Failed {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
}

impl ConversationError {
    /// What the caller is told.
    pub fn report(&self) -> Report {
        let (http_status, grpc_code, tag, message) = match self {
            Self::NotFound { component } => (
                400,
                code::INVALID_ARGUMENT,
                "ERR_CONVERSATION_NOT_FOUND",
                format!("failed finding conversation component {component}"),
            ),
            Self::Nothing { component } => (
                400,
                code::INVALID_ARGUMENT,
                "ERR_CONVERSATION_MISSING_INPUTS",
                format!("failed conversing with component {component}: missing inputs in request"),
            ),
            Self::Invalid { component, reason } => (
                400,
                code::INVALID_ARGUMENT,
                "ERR_CONVERSATION_INVALID_PARMS",
                format!("failed conversing with component {component}: invalid params: {reason}"),
            ),
            Self::Failed { component, reason } => (
                500,
                code::INTERNAL,
                "ERR_CONVERSATION_INVOKE",
                format!("failed conversing with component {component}: {reason}"),
            ),
        };
        Report {
            http_status,
            grpc_code,
            tag: tag.to_owned(),
            message,
            details: Vec::new(),
        }
    }
}
