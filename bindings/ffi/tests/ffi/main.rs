//! The functions of the bindings, called as Kotlin and Swift call them: from threads that know no runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod budgets;
mod cancelled;
mod closed;
mod input;
mod lifetime;
mod listeners;
mod logging;
mod panics;
mod support;
