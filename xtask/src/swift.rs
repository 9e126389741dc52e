//! `cargo xtask swift`: the Swift package, built and tested on this system with the real library.

mod package;
mod toolchain;
mod two_cores;

use crate::bindings::{self, Options};
use crate::build::{self, Build, SCENARIO_PROGRAMS};
use crate::shell::{step, Outcome};
use package::Package;
use toolchain::Toolchain;

/// Another Rust core, which a program of the tests is linked with beside ours.
const OTHER_CORE: &str = "other-wallet-core";

/// Makes sure that what it takes is there.
pub fn tools() -> Outcome {
    step("Swift", Toolchain::find).map(drop)
}

pub fn swift(build: Build) -> Outcome {
    let toolchain = step("Swift", Toolchain::find)?;
    let bindings = bindings::bindings(&Options::default(), build)?;
    step("programs for the Swift tests", || {
        build::build(&[&SCENARIO_PROGRAMS[..], &[OTHER_CORE]].concat(), build)
    })?;
    let package = Package::new(toolchain, &bindings)?;
    step("Swift package", || package.build())?;
    step("Swift tests", || package.test())?;
    step("scenarios in Swift", || package.scenarios())?;
    step("sample wallet in Swift", || package.sample())?;
    step("two Rust cores in one Swift program", || {
        package.two_cores()
    })
}
