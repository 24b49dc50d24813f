//! Routing rules: expressions that applications write, evaluated over events that strangers publish.
//!
//! One idea: whatever is written and whatever arrives, compiling and evaluating take a bounded time and no more stack than a
//! thread of the product has, and the same event gets the same answer. Work that was estimated to be little must be little:
//! an estimate below the truth is how a message stops a process. Must never measure by the clock of a busy machine: only the
//! time of the own thread counts.

use palladium_engine_pubsub::{Event, Message};
use rustix::time::{ClockId, clock_gettime};

use crate::engine_pubsub::condition::{Condition, ConditionError, Seen};

/// For inputs that bring none.
const EVENT: &str = r#"{"id":"1","type":"order.paid","data":{"n":7,"items":["a","bb",{"k":null}],"s":"x y"},"time":"2026-01-01T00:00:00Z"}"#;

/// Seconds that any work may take, and those that each look at a value may take on top. A machine that is ten times slower
/// than ours, with instrumentation, is within them; an estimate that forgets something is not.
const ALWAYS: f64 = 0.3;
const EACH: f64 = 1e-6;

/// An expression; behind its last line feed an event, if there is one.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (expression, event) = text.rsplit_once('\n').unwrap_or((text, EVENT));
    let began = seconds();
    let compiled = Condition::compile(expression);
    let took = seconds() - began;
    assert!(took < 1.0, "compiling took {took:.2} s");
    let Ok(condition) = compiled else { return };
    let Some(event) = read(event).or_else(|| read(EVENT)) else {
        return;
    };
    let seen = Seen::new(&event);
    let work = condition.work(&seen);
    assert!(work >= 0.0 || work.is_nan(), "less than no work: {work}");

    let began = seconds();
    let answer = condition.fits(&seen);
    let took = seconds() - began;
    let allowed = if matches!(answer, Err(ConditionError::TooCostly(_))) {
        ALWAYS
    } else {
        ALWAYS + work * EACH
    };
    assert!(
        took < allowed,
        "{took:.3} s for an estimate of {work} looks: {expression:.200}"
    );
    // Another reading of the same event has its maps in another order.
    let again = condition.fits(&Seen::new(&event));
    assert_eq!(
        answer.as_ref().ok(),
        again.as_ref().ok(),
        "the same event has two answers"
    );
}

fn read(text: &str) -> Option<Event> {
    let message = Message {
        data: text.to_owned().into(),
        ..Message::default()
    };
    Event::read(&message, false, "topic", "pubsub").ok()
}

/// Of this thread's own work.
fn seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of one process")]
    let seconds = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9;
    seconds
}
