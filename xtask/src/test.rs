//! `cargo xtask test`: the tests in Rust, in Kotlin and in Swift, those against Core Lightning's Python code, and
//! Bitcoin Core's judgement of all their chains.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::bindings::{self, Options};
use crate::build::Build;
use crate::figures::exports;
use crate::interop;
use crate::kotlin;
use crate::ldk_node;
use crate::native;
use crate::shell::{cargo, root, run, step, Outcome};
use crate::swift;

// Always named alone, never built together with the rest of the workspace: then its dependencies
// have the same features in every command, and the consensus library is built only once.
pub const REPLAY: &str = "consensus-replay";

// All of the core's. A plain `cargo test` goes without, and leaves out the tests that need them.
pub const EVERY_FEATURE: &str = "ldk-peer-storage/esplora";

// The end-to-end tests wait more than they compute: with one for each core most of the time is idle.
const TEST_THREADS: &str = "8";

/// `full`: also those with a real ldk-node, which are a workspace of their own and take long to build; and where the
/// tools for Kotlin or Swift cannot be had, that is an error.
pub fn test(full: bool) -> Outcome {
    step("cmake and Boost", native::ensure)?;

    // The test kit writes each test's chain to the directory that TESTKIT_CHAINS names.
    let chains = root().join("target/test-chains");
    empty(&chains)?;
    step("tests", || {
        run(cargo()
            .args(["test", "--workspace", "--exclude", REPLAY])
            .args(["--features", EVERY_FEATURE])
            .env("TESTKIT_CHAINS", &chains)
            .env("RUST_TEST_THREADS", TEST_THREADS))
    })?;

    let bindings = bindings::bindings(&Options::default(), Build::WithAllTests)?;
    step("exported names", || exports::are_ours(&bindings.library))?;

    // What they start writes its chains too.
    env::set_var("TESTKIT_CHAINS", &chains);
    interop::interop(Build::WithAllTests)?;
    let kotlin = with_tools("Kotlin", kotlin::tools, kotlin::kotlin, full)?;
    let swift = with_tools("Swift", swift::tools, swift::swift, full)?;

    if full {
        ldk_node::test(Some(&chains))?;
    }

    step("tests of the replay", || {
        run(cargo().args(["test", "--package", REPLAY]))
    })?;
    step("replay of the chains", || {
        run(cargo()
            .args(["run", "--quiet", "--package", REPLAY, "--"])
            .arg(&chains))
    })?;
    for not_run in [kotlin, swift].iter().flatten() {
        println!("xtask: {not_run}");
    }
    Ok(())
}

/// Tests with tools of their own. Where those cannot be had, a run that is not full goes on without, and gives what
/// is to be said about it.
fn with_tools(
    language: &str,
    tools: impl FnOnce() -> Outcome,
    tests: impl FnOnce(Build) -> Outcome,
    full: bool,
) -> Outcome<Option<String>> {
    match tools() {
        Ok(()) => tests(Build::WithAllTests).map(|()| None),
        Err(why) if full => Err(why),
        Err(why) => Ok(Some(format!("NOT RUN: the tests in {language}: {why}"))),
    }
}

fn empty(dir: &Path) -> Outcome {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(dir),
    }
    .map_err(|error| format!("{}: {error}", dir.display()))
}
