//! What a command is answered with.

use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::thread;

use serde_json::{json, Map, Value};

/// Has the answer alone tell of a panic on this thread, and no backtrace beside it.
pub fn tell_of_panics() {
    let this = thread::current().id();
    let of_others = take_hook();
    set_hook(Box::new(move |panic| {
        if thread::current().id() != this {
            of_others(panic);
        }
    }));
}

/// `{"ok": true, ...}` with what the command tells, or `{"ok": false, "error": ...}` with the words of
/// its panic.
pub fn to(command: impl FnOnce() -> Value) -> Value {
    match catch_unwind(AssertUnwindSafe(command)) {
        Ok(told) => ok(told),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            failed(text.unwrap_or("it panicked"))
        }
    }
}

/// The command was not carried out.
pub fn failed(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

fn ok(told: Value) -> Value {
    let mut answer = Map::new();
    answer.insert("ok".to_owned(), true.into());
    if let Value::Object(told) = told {
        answer.extend(told);
    }
    answer.into()
}
