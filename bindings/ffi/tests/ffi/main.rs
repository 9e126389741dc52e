//! The functions of the bindings, called as Kotlin and Swift call them: from threads that know no runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod budgets;
mod cancelled;
mod closed;
#[allow(unsafe_code)] // It does what generated code does.
mod given_up;
mod input;
mod leaks;
mod lifetime;
mod listeners;
mod logging;
mod panics;
mod printed;
mod support;
