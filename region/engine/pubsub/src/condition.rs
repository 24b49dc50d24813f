//! A routing rule's condition: an expression of the Common Expression Language over `event`.
//!
//! One idea: a condition is compiled once, when the subscription starts, within bounds of length and nesting; a message
//! only evaluates it, and only if that cannot take too much work ([`cost`]): the library has no bound of its own. Numbers
//! are doubles, as Dapr's reading of JSON makes them. Answers are those of Dapr's own engine (a test holds the list). Known
//! differences: an expression whose types can never fit (`event.n + 'x' == 1`) is refused by Dapr when it is read and here
//! when it is evaluated; a regular expression is of Rust's `regex`, not of Go's, and has a bound. Must never let a panic of
//! the library out: expressions come from applications.

mod cost;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::common::types::{CelBool, CelString, STRING_TYPE};
use cel::common::value::CowVal;
use cel::{Context, Env, ExecutionError, Value};
use regex::RegexBuilder;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::Event;
use cost::Size;

/// Bytes of the longest expression.
const LONGEST: usize = 8 * 1024;
/// How deep data is looked into.
const DEEPEST: usize = 64;
/// How deep an expression may be nested: the library calls itself as often. A sum of many parts is as deep as it is long.
const LEVELS: usize = 200;
/// How deep loops may be nested, chains of them among it.
const LOOPS: usize = 3;
/// The most work that one evaluation may take, in looks at a value: a fraction of a second.
const MOST: f64 = 5e6;
/// Bytes of the largest compiled regular expression, and of the longest text that is looked at by one.
const PATTERN: usize = 256 << 10;
const TEXT: usize = 256 << 10;

/// The name under which `matches` is called: no expression can write it.
const MATCHES: &str = "@matches";

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    let texts = vec![STRING_TYPE, STRING_TYPE];
    if let Err(error) = env.add_overload(MATCHES, MATCHES, texts, matches) {
        tracing::error!("regular expressions are not available in conditions: {error}");
    }
    Arc::new(env)
});

/// `matches` of the library, within bounds.
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let failed = |message: &str| ExecutionError::FunctionError {
        function: "matches".to_owned(),
        message: message.to_owned(),
    };
    let text = |at: usize| {
        let argument = arguments
            .get(at)
            .and_then(|value| value.downcast_ref::<CelString<'_>>());
        argument
            .map(CelString::inner)
            .ok_or_else(|| failed("two texts are needed"))
    };
    let (text, pattern) = (text(0)?, text(1)?);
    if text.len() > TEXT {
        return Err(failed("the text is too long"));
    }
    let pattern = RegexBuilder::new(pattern).size_limit(PATTERN).build();
    let pattern = pattern.map_err(|_| failed("not a regular expression, or one that is too large"))?;
    Ok(CowVal::owned(CelBool::from(pattern.is_match(text))))
}

/// A compiled condition.
pub struct Condition {
    text: String,
    expression: IdedExpr,
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
    /// An answer for this event could take too long.
    #[error("the match expression {0:?} takes too much work for an event of this size")]
    TooCostly(String),
    /// It was not evaluated in time: too many others were.
    #[error("the match expressions were not evaluated within {0:?}")]
    Late(Duration),
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
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            STANDARD.parser().parse(text).map_err(|error| error.to_string())
        }));
        let mut expression = parsed
            .unwrap_or_else(|_| Err("it is not understood".into()))
            .map_err(failed)?;
        match cost::loops(&expression, LEVELS) {
            None => return Err(failed(format!("it is nested more than {LEVELS} deep"))),
            Some(loops) if loops > LOOPS => return Err(failed(format!("its loops are nested more than {LOOPS} deep"))),
            Some(_) => {}
        }
        bound_patterns(&mut expression);
        Ok(Condition {
            text: text.into(),
            expression,
        })
    }

    /// The most work that an evaluation takes.
    pub(crate) fn work(&self, event: &Seen) -> f64 {
        cost::work(&self.expression, event.size)
    }

    /// Whether an event fits.
    ///
    /// # Errors
    /// When the expression has no answer for it: a member is missing, types do not fit, or it takes too much work.
    pub(crate) fn fits(&self, event: &Seen) -> Result<bool, ConditionError> {
        // Also when it is no number at all.
        if !matches!(
            self.work(event).partial_cmp(&MOST),
            Some(Ordering::Less | Ordering::Equal)
        ) {
            return Err(ConditionError::TooCostly(self.text.clone()));
        }
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(STANDARD.clone());
            context.add_variable_from_value("event", event.value.clone());
            Value::resolve(&self.expression, &context).map_err(|error| kind(&error))
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
fn kind(error: &ExecutionError) -> &'static str {
    use ExecutionError as Error;
    match error {
        Error::NoSuchKey(_) => "no such key",
        Error::NoSuchOverload(_) => "no such overload",
        Error::UndeclaredReference(_) => "undeclared reference",
        Error::IndexOutOfBounds(_) => "index out of bounds",
        Error::DivisionByZero(_) | Error::RemainderByZero(_) => "division by zero",
        _ => "evaluation failed",
    }
}

/// Lets regular expressions be looked for by the function that has a bound.
fn bound_patterns(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            if call.func_name == "matches" {
                MATCHES.clone_into(&mut call.func_name);
                let target = call.target.take();
                call.args.splice(0..0, target.map(|target| *target));
            }
            call.target.as_deref_mut().into_iter().for_each(bound_patterns);
            call.args.iter_mut().for_each(bound_patterns);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(bound_patterns),
        Expr::Select(select) => bound_patterns(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| within(&mut entry.expr)),
        Expr::Struct(new) => new.entries.iter_mut().for_each(|entry| within(&mut entry.expr)),
        Expr::Comprehension(comprehension) => {
            bound_patterns(&mut comprehension.iter_range);
            bound_patterns(&mut comprehension.accu_init);
            bound_patterns(&mut comprehension.loop_cond);
            bound_patterns(&mut comprehension.loop_step);
            bound_patterns(&mut comprehension.result);
        }
    }
}

fn within(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => bound_patterns(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            bound_patterns(&mut entry.key);
            bound_patterns(&mut entry.value);
        }
    }
}

/// An event as expressions see it.
pub(crate) struct Seen {
    value: Value,
    size: Size,
}

impl Seen {
    /// Reads all of an event.
    pub(crate) fn new(event: &Event) -> Self {
        let mut size = Size::text(0);
        let members = event.members_without(&[]);
        let members = members.map(|(name, value)| {
            size = size.and(Size::text(name.len()));
            (name.to_owned(), json(value, &mut size))
        });
        let members: HashMap<String, Value> = members.collect();
        Self {
            value: members.into(),
            size,
        }
    }
}

fn json(value: &RawValue, size: &mut Size) -> Value {
    let parsed = serde_json::from_str::<serde_json::Value>(value.get());
    parsed.map_or(Value::Null, |parsed| convert(parsed, 0, size))
}

fn convert(value: serde_json::Value, depth: usize, size: &mut Size) -> Value {
    use serde_json::Value as Json;
    if depth > DEEPEST {
        return Value::Null;
    }
    let own = match &value {
        Json::String(text) => text.len(),
        _ => 0,
    };
    *size = size.and(Size::text(own));
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::String(Arc::new(text)),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| convert(item, depth + 1, size));
            Value::List(Arc::new(items.collect()))
        }
        Json::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                *size = size.and(Size::text(name.len()));
                (name, convert(value, depth + 1, size))
            });
            members.collect::<HashMap<String, Value>>().into()
        }
    }
}

#[cfg(test)]
mod tests;
