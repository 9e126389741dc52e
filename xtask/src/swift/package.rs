//! The package in `ios`, linked with the library that was built for this system.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::toolchain::Toolchain;
use crate::bindings::Bindings;
use crate::quiet::listen;
use crate::shell::{root, Outcome};

/// What is tested waits for other things: no program of the tests may wait longer, in seconds.
const LONGEST: &str = "300";

pub struct Package {
    toolchain: Toolchain,
    /// Where cargo has put the library, and the programs that tests start.
    pub(super) built: PathBuf,
    /// Where Swift builds.
    pub(super) scratch: PathBuf,
}

impl Package {
    /// Puts the generated sources to the written ones.
    pub fn new(toolchain: Toolchain, bindings: &Bindings) -> Outcome<Package> {
        let sources = root().join("ios/Sources");
        place(
            &bindings.swift,
            "PeerStorage.swift",
            &sources.join("PeerStorage/Generated"),
        )?;
        place(
            &bindings.swift,
            "PeerStorageFFI.h",
            &sources.join("PeerStorageFFI"),
        )?;
        let built = bindings.library.parent().unwrap_or(Path::new("."));
        Ok(Package {
            toolchain,
            built: built.to_owned(),
            scratch: root().join("target/swift/build"),
        })
    }

    pub fn build(&self) -> Outcome {
        let mut built = listen(&mut self.swift_build())?;
        // Swift's own package manager (6.0) crashes now and then, by a race of its threads.
        if built.text.contains("*** Program crashed") {
            println!("`swift build` has crashed; once more");
            built = listen(&mut self.swift_build())?;
        }
        built.when_well("swift build").map(drop)
    }

    pub fn test(&self) -> Outcome {
        // What `swift test` would start, without what may crash.
        let mut tests = self.program("PeerStoragePackageTests.xctest");
        let said = listen(&mut tests)?.when_well("Swift tests")?;
        // That it ended well is not enough: it has to say that it has tested something.
        let verdict = said.lines().rev().find(|line| line.contains("Executed "));
        match verdict.map(str::trim) {
            Some(line) if line.contains("with 0 failures") && !line.contains("Executed 0 ") => {
                println!("{line}");
                Ok(())
            }
            _ => {
                println!("{said}");
                Err("the tests did not come to their closing line".into())
            }
        }
    }

    /// The same that the Kotlin side runs.
    pub fn scenarios(&self) -> Outcome {
        let folder = root().join("tests/scenarios");
        ends_with("scenarios: ok, ", self.program("Scenarios").arg(folder))
    }

    pub fn sample(&self) -> Outcome {
        ends_with("wallet: ok ", &mut self.program("Wallet"))
    }

    fn swift_build(&self) -> Command {
        let mut command = self.env();
        command
            .args(["swift", "build", "--build-tests", "--package-path"])
            .arg(root().join("ios"))
            .arg("--scratch-path")
            .arg(&self.scratch);
        command
    }

    fn program(&self, name: &str) -> Command {
        self.run_at(&self.scratch.join("debug").join(name))
    }

    pub(super) fn run_at(&self, program: &Path) -> Command {
        let mut command = self.env();
        command.args(["timeout", "--foreground", "--kill-after=5", LONGEST]);
        // By the line: how far one came that was ended has to show.
        command.args(["stdbuf", "-oL"]).arg(program);
        command
    }

    pub(super) fn env(&self) -> Command {
        let mut command = self.toolchain.env();
        command.arg(format!("PEER_STORAGE_LIBRARY_DIR={}", self.built.display()));
        // The test kit's: where the chains go, for `cargo xtask test` to judge them.
        if let Ok(chains) = env::var("TESTKIT_CHAINS") {
            command.arg(format!("TESTKIT_CHAINS={chains}"));
        }
        command
    }
}

/// Runs a program whose last line is its verdict.
pub(super) fn ends_with(verdict: &str, command: &mut Command) -> Outcome {
    let name = verdict.split(':').next().unwrap_or(verdict);
    let said = listen(command)?.when_well(name)?;
    match said.lines().last() {
        Some(line) if line.starts_with(verdict) => {
            println!("{line}");
            Ok(())
        }
        _ => {
            println!("{said}");
            Err(format!("its last line does not begin with {verdict:?}"))
        }
    }
}

/// Leaves an equal file alone: what depends on it need not be built again.
fn place(from: &Path, name: &str, to: &Path) -> Outcome {
    let failed = |error| format!("{name}: {error}");
    let new = fs::read(from.join(name)).map_err(failed)?;
    if fs::read(to.join(name)).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::create_dir_all(to).map_err(failed)?;
    fs::write(to.join(name), new).map_err(failed)
}
