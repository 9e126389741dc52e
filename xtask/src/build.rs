//! Building what is tested from outside of Rust: the library, its generators, and the programs of the
//! scenarios.

use crate::shell::{cargo, run, Outcome};
use crate::test::{EVERY_FEATURE, REPLAY};

/// What scenarios run against: the world, and the storers that it starts as processes. It looks for them beside
/// itself.
pub const SCENARIO_PROGRAMS: [&str; 2] = ["peer-storage-world", "peer-storage-cli"];

/// Together with what.
#[derive(Clone, Copy)]
pub enum Build {
    /// By themselves: the least work, where nothing else is built.
    Alone,
    /// As `cargo test` builds the whole workspace. After it nothing is left to do, since features of
    /// dependencies are the same; alone they would differ, and half of all would be built again.
    WithAllTests,
}

/// Builds these packages.
pub fn build(packages: &[&str], build: Build) -> Outcome {
    let mut command = cargo();
    command.arg("build");
    match build {
        Build::Alone => command.args(packages.iter().flat_map(|name| ["--package", name])),
        Build::WithAllTests => command
            .args(["--workspace", "--exclude", REPLAY])
            .args(["--features", EVERY_FEATURE])
            .args(["--lib", "--bins", "--tests"]),
    };
    run(&mut command)
}
