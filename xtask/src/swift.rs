//! `cargo xtask swift`: the Swift package, built and tested on this system with the real library.

mod chroot;
mod package;
mod quiet;
mod toolchain;

use crate::bindings::{self, Options};
use crate::shell::{cargo, run, step, Outcome};
use package::Package;
use toolchain::Toolchain;

/// What the tests start as programs of their own.
const PROGRAMS: [&str; 2] = ["peer-storage-world", "peer-storage-cli"];

pub fn swift() -> Outcome {
    let toolchain = step("Swift", Toolchain::find)?;
    let bindings = bindings::bindings(&Options::default())?;
    step("programs for the Swift tests", || {
        let packages = PROGRAMS.iter().flat_map(|name| ["--package", name]);
        run(cargo().args(["build", "--quiet"]).args(packages))
    })?;
    let package = Package::new(toolchain, &bindings)?;
    step("Swift package", || package.build())?;
    step("Swift tests", || package.test())?;
    step("scenarios in Swift", || package.scenarios())?;
    step("sample wallet in Swift", || package.sample())
}
