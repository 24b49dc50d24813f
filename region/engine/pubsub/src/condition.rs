//! A routing rule's condition: an expression of the Common Expression Language over `event`.
//!
//! One idea: a condition is compiled once, when the subscription starts, within bounds of length and nesting; a message
//! only evaluates it. Numbers are doubles, as Dapr's reading of JSON makes them. Answers are those of Dapr's own engine
//! (a test holds the list). Known differences: an expression whose types can never fit (`event.n + 'x' == 1`) is refused by
//! Dapr when it is read and here when it is evaluated; a regular expression is of Rust's `regex`, not of Go's. Must never
//! let a panic of the library out: expressions come from applications.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Program, Value};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::Event;

/// Bytes of the longest expression.
const LONGEST: usize = 8 * 1024;
/// How deep data is looked into.
const DEEPEST: usize = 64;

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// A compiled condition.
pub struct Condition {
    text: String,
    program: Program,
}

/// A condition that cannot be compiled or has no answer. The words never hold data of a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConditionError {
    /// Not an expression.
    #[error("the match expression {text:?} cannot be compiled: {reason}")]
    Compile {
        /// As it was written.
        text: String,
        /// Why.
        reason: String,
    },
    /// Not a truth value.
    #[error("the result of match expression {0} was not a boolean")]
    NotBoolean(String),
    /// No answer for this event.
    #[error("the match expression {text:?} has no answer: {reason}")]
    Evaluate {
        /// As it was written.
        text: String,
        /// Why.
        reason: &'static str,
    },
}

impl Condition {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is none, or too long.
    pub fn compile(text: &str) -> Result<Self, ConditionError> {
        let failed = |reason: String| ConditionError::Compile {
            text: text.chars().take(200).collect(),
            reason,
        };
        if text.len() > LONGEST {
            return Err(failed(format!("it is longer than {LONGEST} bytes")));
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            STANDARD.compile(text).map_err(|error| error.to_string())
        }));
        let program = compiled
            .unwrap_or_else(|_| Err("it is not understood".into()))
            .map_err(failed)?;
        Ok(Condition {
            text: text.into(),
            program,
        })
    }

    /// Whether an event fits.
    ///
    /// # Errors
    /// When the expression has no answer for it: a member is missing, types do not fit.
    pub fn fits(&self, event: &Value) -> Result<bool, ConditionError> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(STANDARD.clone());
            context.add_variable_from_value("event", event.clone());
            self.program.execute(&context).map_err(|error| kind(&error))
        }));
        match evaluated {
            Ok(Ok(Value::Bool(fits))) => Ok(fits),
            Ok(Ok(_)) => Err(ConditionError::NotBoolean(self.text.clone())),
            Ok(Err(reason)) => Err(self.unanswered(reason)),
            Err(_) => Err(self.unanswered("it is not understood")),
        }
    }

    fn unanswered(&self, reason: &'static str) -> ConditionError {
        ConditionError::Evaluate {
            text: self.text.clone(),
            reason,
        }
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

/// What went wrong, without the values: they are a message's.
fn kind(error: &cel::ExecutionError) -> &'static str {
    use cel::ExecutionError as Error;
    match error {
        Error::NoSuchKey(_) => "no such key",
        Error::NoSuchOverload(_) => "no such overload",
        Error::UndeclaredReference(_) => "undeclared reference",
        Error::IndexOutOfBounds(_) => "index out of bounds",
        Error::DivisionByZero(_) | Error::RemainderByZero(_) => "division by zero",
        _ => "evaluation failed",
    }
}

/// An event as expressions see it.
pub(crate) fn variable(event: &Event) -> Value {
    let members = event.members_without(&[]);
    let members: HashMap<String, Value> = members.map(|(name, value)| (name.to_owned(), json(value))).collect();
    members.into()
}

fn json(value: &RawValue) -> Value {
    let parsed = serde_json::from_str::<serde_json::Value>(value.get());
    parsed.map_or(Value::Null, |parsed| convert(parsed, 0))
}

fn convert(value: serde_json::Value, depth: usize) -> Value {
    use serde_json::Value as Json;
    if depth > DEEPEST {
        return Value::Null;
    }
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::String(Arc::new(text)),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| convert(item, depth + 1));
            Value::List(Arc::new(items.collect()))
        }
        Json::Object(members) => {
            let members = members
                .into_iter()
                .map(|(name, value)| (name, convert(value, depth + 1)));
            members.collect::<HashMap<String, Value>>().into()
        }
    }
}

#[cfg(test)]
mod tests;
