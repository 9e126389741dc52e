//! Why Bitcoin Core refused a block. Its API says only "consensus"; its log says `bad-cb-amount`.

use std::cell::RefCell;
use std::sync::Once;

use bitcoinkernel::{Log, Logger};

thread_local! {
    // Core validates and logs on the thread that hands it the block, so chains that are replayed
    // side by side do not see each other's lines.
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the error lines that Core logs on any thread from now on.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Never disconnected: it serves the whole process. Without it only the reasons are missing.
        std::mem::forget(Logger::new(KeepErrors));
    });
}

/// The error lines of this thread since the last call.
pub fn take_errors() -> Vec<String> {
    ERRORS.take()
}

struct KeepErrors;

impl Log for KeepErrors {
    fn log(&self, line: &str) {
        if let Some((_time, error)) = line.trim_end().split_once("[error] ") {
            ERRORS.with_borrow_mut(|errors| errors.push(error.to_owned()));
        }
    }
}
