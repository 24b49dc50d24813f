//! A policy, and how it is evaluated.
//!
//! One idea: the library stops an evaluation that takes too long, but only between its steps, and it has no bound for a
//! single one; so policies have threads of their own, few of them, and whoever waits for one waits for so long and no
//! longer. Without a thread there is no decision, which means no. Must never evaluate on a thread of the server, nor let the
//! language read or call anything outside of the input.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use palladium_component::{MetadataError, OpenError};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::calls;
use super::input::{Included, Shown};

/// Greatest policy, in bytes.
const MAX_POLICY: usize = 128 << 10;
/// How long reading a policy may take.
const READING: Duration = Duration::from_secs(20);
/// How long one evaluation may take, and how long it is waited for.
const EVALUATION: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(5);
/// Steps between two looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::new(64).expect("not zero");
/// Room for the rules that may stand on each other, with the most brackets each.
const STACK: usize = 32 << 20;
/// Policies that are evaluated at a time in this process, and those that are read.
static EVALUATING: Semaphore = Semaphore::const_new(4);
static BEING_READ: Semaphore = Semaphore::const_new(1);

/// The rule that decides.
const RULE: &str = "data.http.allow";

/// A policy that can be evaluated.
pub(super) struct Policy(Arc<Engine>);

impl Policy {
    /// Reads and looks through a policy.
    pub(super) async fn read(rego: String) -> Result<Self, OpenError> {
        let wrong = |reason: String| MetadataError::new("rego", reason, "correct the policy");
        if rego.len() > MAX_POLICY {
            return Err(wrong(format!("the policy has more than {MAX_POLICY} bytes")).into());
        }
        calls::check_nesting(&rego).map_err(wrong)?;
        let read = on_a_thread(&BEING_READ, READING, move || prepared(rego)).await;
        let engine = read.map_err(OpenError::Unavailable)?.map_err(wrong)?;
        Ok(Self(Arc::new(engine)))
    }

    /// What `data.http.allow` is for this input, which is made on the policy's thread too: its making takes longer the more
    /// a caller sends. An error says where the policy stands, and nothing of the request.
    pub(super) async fn allow(&self, input: impl FnOnce() -> Value + Send + 'static) -> Result<Value, String> {
        let engine = self.0.clone();
        on_a_thread(&EVALUATING, WAIT, move || {
            let mut engine = Engine::clone(&engine);
            engine.set_input(input());
            evaluated(&mut engine).map_err(|said| place_alone(&said))
        })
        .await?
    }
}

/// The engine with everything that is done once.
fn prepared(rego: String) -> Result<Engine, String> {
    let mut engine = Engine::new();
    // As the library that Dapr uses reads policies.
    engine.set_rego_v0(true);
    engine.set_strict_builtin_errors(false);
    // What a policy prints goes nowhere, as in Dapr.
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: EVALUATION,
        check_interval: STEPS,
    });
    let decode = |mut given: Vec<Value>| {
        Ok(given
            .pop()
            .and_then(|token| decoded(&token))
            .unwrap_or(Value::Undefined))
    };
    let added = engine.add_extension("io.jwt.decode".to_owned(), 1, Box::new(decode));
    added.map_err(|error| words(&error.to_string()))?;
    let added = engine.add_policy("inline.rego".to_owned(), rego);
    added.map_err(|error| words(&error.to_string()))?;
    let tree = engine.get_ast_as_json().map_err(|error| words(&error.to_string()))?;
    calls::check(&tree)?;
    // Once, for what is found out only then; what depends on the input is the policy's own business. Nobody's request is in
    // this one, so the library's reason can be told.
    let (head, ()) = http::Request::new(()).into_parts();
    let mut tried = engine.clone();
    tried.set_input(Shown::new(&head, Bytes::new(), &Included::new("")).document());
    match evaluated(&mut tried).map_err(|said| words(&said)) {
        Err(reason) if reason.contains("is unsafe") || reason.contains("could not find function") => Err(reason),
        _ => Ok(engine),
    }
}

/// The rule's value, or all that the library says of why there is none: that may quote values of the input.
fn evaluated(engine: &mut Engine) -> Result<Value, String> {
    let results = engine.eval_query(RULE.to_owned(), false);
    let results = results.map_err(|error| error.to_string())?;
    let first = results.result.into_iter().next();
    let value = first.and_then(|result| result.expressions.into_iter().next());
    Ok(value.map_or(Value::Undefined, |expression| expression.value))
}

/// The library's words without the lines of the policy that it quotes.
fn words(said: &str) -> String {
    let reason = said.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    match (place(said), reason) {
        (Some((line, column)), Some(reason)) => format!("line {line}, column {column}: {reason}"),
        (_, reason) => reason.or(said.lines().next_back()).unwrap_or_default().to_owned(),
    }
}

/// The library's words without its reason, which may quote what a request holds.
fn place_alone(said: &str) -> String {
    let reason = if said.starts_with("execution exceeded time limit") {
        "it takes too long"
    } else {
        "it cannot be evaluated"
    };
    match place(said) {
        Some((line, column)) => format!("line {line}, column {column}: {reason}"),
        None => reason.to_owned(),
    }
}

/// Line and column of the policy that the library names.
fn place(said: &str) -> Option<(u32, u32)> {
    said.lines().rev().find_map(|line| {
        let place = line.trim().strip_prefix("--> inline.rego:")?;
        let (line, column) = place.split_once(':')?;
        Some((line.parse().ok()?, column.parse().ok()?))
    })
}

/// A token's header, its claims and its signature, as the language has them; nothing is verified.
fn decoded(token: &Value) -> Option<Value> {
    let token = token.as_string().ok()?;
    let mut parts = token.split('.');
    let mut next = || URL_SAFE_NO_PAD.decode(parts.next()?.trim_end_matches('=')).ok();
    let (header, claims, signature) = (next()?, next()?, next()?);
    if parts.next().is_some() {
        return None;
    }
    let read = |bytes: &[u8]| {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
        Some(Value::from(serde_json::Value::Object(object)))
    };
    let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Value::from(vec![
        read(&header)?,
        read(&claims)?,
        Value::from(signature),
    ]))
}

/// Work on a thread of its own, which keeps its place until it has ended, whoever still waits for it.
async fn on_a_thread<T: Send + 'static>(
    places: &'static Semaphore,
    longest: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let place = timeout(longest, places.acquire()).await;
    // Never closed, so a place always comes.
    let Ok(Ok(place)) = place else {
        return Err("all places for policies are taken".to_owned());
    };
    let (tell, told) = oneshot::channel();
    let thread = thread::Builder::new().name("policy".to_owned()).stack_size(STACK);
    let started = thread.spawn(move || {
        let done = work();
        drop(place);
        let _ = tell.send(done);
    });
    started.map_err(|error| format!("a thread cannot be started: {error}"))?;
    match timeout(longest, told).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err("the policy cannot be evaluated".to_owned()),
        Err(_) => Err(format!("the policy takes longer than {longest:?}")),
    }
}
