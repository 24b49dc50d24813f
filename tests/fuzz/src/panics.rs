//! Sees panics that somebody else catches: a task of the runtime, or the product itself.
//!
//! One idea: a hook counts them for each thread, so that a target can say "nothing panicked meanwhile" although the runtime
//! swallows what its tasks do. Must never decide whether a panic is a finding: targets do.

use std::cell::{Cell, RefCell};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

static WATCHING: Once = Once::new();

fn note(info: &PanicHookInfo<'_>) {
    COUNT.set(COUNT.get() + 1);
    LAST.with_borrow_mut(|last| *last = info.to_string());
}

/// Counts panics from now on; whoever was told of them before is told still.
pub fn watch() {
    WATCHING.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
    });
}

/// Counts panics from now on, and tells nobody: neither libFuzzer, which would end the process, nor the terminal.
pub fn watch_silently() {
    WATCHING.call_once(|| {
        drop(take_hook());
        set_hook(Box::new(note));
    });
}

/// How many there were on this thread.
pub fn count() -> usize {
    COUNT.get()
}

/// Where the last one was, and what it said.
pub fn last() -> String {
    LAST.with_borrow(Clone::clone)
}
