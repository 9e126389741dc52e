//! `cargo xtask interop`: the tests of `tests/interop`, in which Core Lightning's own Python code talks to the
//! programs of this project over TCP.

mod python;

use std::path::Path;
use std::process::Command;

use crate::build::{self, Build};
use crate::shell::{root, run, step, target_dir, Outcome};

/// What is talked to: the tool, and the chain and nodes of its recovery.
const PROGRAMS: [&str; 2] = ["peer-storage-cli", "peer-storage-world"];

pub fn interop(build: Build) -> Outcome {
    step("programs of the interop tests", || {
        build::build(&PROGRAMS, build)
    })?;
    let tests = root().join("tests/interop");
    let made = std::path::absolute(root().join("target/interop"));
    let made = made.map_err(|error| error.to_string())?;
    let python = step("Python of the interop tests", || {
        python::ensure(&made, &tests.join("requirements.txt"))
    })?;
    step("interop tests", || {
        run(&mut unittest(&python, &tests, &target_dir().join("debug")))
    })
}

/// A socket or a process that is left behind is an error. Nothing is written beside the sources.
fn unittest(python: &Path, tests: &Path, programs: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-B", "-W", "error", "-m", "unittest"])
        .current_dir(tests)
        .env("INTEROP_PROGRAMS", programs);
    command
}
