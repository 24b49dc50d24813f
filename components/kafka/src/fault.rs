//! How a call of the cluster fails.
//!
//! One idea: what the cluster refused will be refused again; what was lost on the way may be tried again. Must never carry a
//! password: the library's own words have none.

use krafka::KrafkaError;
use krafka::error::ErrorCode;
use palladium_component::CallError;
use thiserror::Error;

/// A call that failed.
#[derive(Debug, Clone, Error)]
pub enum Fault {
    /// The cluster said no.
    #[error("{0}")]
    Refused(String),
    /// The cluster cannot be reached, or did not answer in time: whether it has a record is unknown.
    #[error("{0}")]
    Lost(String),
    /// The request cannot be put into the protocol, or is larger than allowed.
    #[error("{0}")]
    Invalid(String),
}

impl Fault {
    /// Whether it will be the same however often it is tried.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Fault::Refused(_) | Fault::Invalid(_))
    }

    /// As a call's failure, which a publish/subscribe component's is made of; `what` says whose.
    pub fn call(self, what: &str) -> CallError {
        let words = format!("{what}: {self}");
        match self {
            Fault::Invalid(_) => CallError::Invalid(words),
            Fault::Lost(_) => CallError::Unavailable(words),
            Fault::Refused(_) => CallError::Other(words),
        }
    }
}

impl From<KrafkaError> for Fault {
    fn from(error: KrafkaError) -> Self {
        let words = error.to_string();
        match &error {
            KrafkaError::Broker { code, .. } if is_about_the_record(code) => Fault::Invalid(words),
            KrafkaError::Config { .. } | KrafkaError::Serialization { .. } => Fault::Invalid(words),
            KrafkaError::Broker { .. } | KrafkaError::Protocol { .. } if !error.is_retriable() => Fault::Refused(words),
            KrafkaError::Auth { .. } | KrafkaError::UnknownTopic { .. } => Fault::Refused(words),
            _ => Fault::Lost(words),
        }
    }
}

fn is_about_the_record(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidTopic | ErrorCode::InvalidRecord
    )
}

#[cfg(test)]
mod tests {
    use palladium_component::PubsubError;

    use super::*;

    #[test]
    fn what_may_be_tried_again_is_told_apart() {
        let of = |error: KrafkaError| Fault::from(error);
        assert!(matches!(of(KrafkaError::timeout("fetch")), Fault::Lost(_)));
        assert!(matches!(of(KrafkaError::unknown_topic("t")), Fault::Refused(_)));
        let refused = KrafkaError::broker(ErrorCode::TopicAuthorizationFailed, "no");
        assert!(matches!(of(refused), Fault::Refused(_)));
        let lost = KrafkaError::broker(ErrorCode::NotEnoughReplicas, "wait");
        assert!(matches!(of(lost), Fault::Lost(_)));
        let large = KrafkaError::broker(ErrorCode::MessageTooLarge, "large");
        assert!(matches!(of(large), Fault::Invalid(_)));
        let all = [
            KrafkaError::unknown_topic("t"),
            KrafkaError::config("wrong"),
            KrafkaError::timeout("fetch"),
        ];
        assert_eq!(all.map(|error| of(error).is_final()), [true, true, false]);
    }

    #[test]
    fn whoever_called_is_told_whose_failure_it_is() {
        let lost = Fault::Lost("away".into());
        let (call, bus) = (
            lost.clone().call("kafka binding"),
            PubsubError::from(lost.call("kafka pub/sub")),
        );
        assert!(matches!(&call, CallError::Unavailable(words) if words == "kafka binding: away"));
        assert!(matches!(&bus, PubsubError::Unavailable(words) if words == "kafka pub/sub: away"));
    }
}
