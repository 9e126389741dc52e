//! `cargo xtask test`: the tests in Rust, those against Core Lightning's Python code, and Bitcoin Core's judgement
//! of all their chains.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::build::Build;
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

/// `full`: also those with a real ldk-node, which are a workspace of their own and take long to build, and those
/// in Kotlin and Swift, which need tools of their own.
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

    // What they start writes its chains too.
    env::set_var("TESTKIT_CHAINS", &chains);
    interop::interop(Build::WithAllTests)?;

    if full {
        ldk_node::test(Some(&chains))?;
        kotlin::kotlin(Build::WithAllTests)?;
        swift::swift(Build::WithAllTests)?;
    }

    step("tests of the replay", || {
        run(cargo().args(["test", "--package", REPLAY]))
    })?;
    step("replay of the chains", || {
        run(cargo()
            .args(["run", "--quiet", "--package", REPLAY, "--"])
            .arg(&chains))
    })
}

fn empty(dir: &Path) -> Outcome {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(dir),
    }
    .map_err(|error| format!("{}: {error}", dir.display()))
}
