//! Which Swift the tests are run with: this system's own, or one in a chroot.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chroot;
use crate::shell::{output, root, target_dir, Outcome};

// The oldest that the package's tests are written for.
const OLDEST: u32 = 6;

// For a machine that has none: 580 MB to fetch, 2.7 GB on disk. Debian has Swift since trixie.
const CHROOT: chroot::System = chroot::System {
    suite: "trixie",
    // The last two are what Swift links with, and only recommended by its package.
    packages: &["swiftlang", "libc6-dev", "libstdc++-14-dev"],
    folder: "swift/trixie",
    in_place_of: "Swift 6 or newer (swift.org/install)",
};

pub enum Toolchain {
    Own,
    Chroot(PathBuf),
}

impl Toolchain {
    /// This system's own where it is new enough; else the chroot, which is made once.
    pub fn find() -> Outcome<Toolchain> {
        if !cfg!(target_os = "linux") {
            return Err(
                "the Swift package is tested on Linux; on macOS ios/make-xcframework.sh makes it"
                    .to_owned(),
            );
        }
        let own = output("swift", &["--version"]).and_then(|said| major(&said));
        match own {
            Some(version) if version >= OLDEST => Ok(Toolchain::Own),
            _ => chroot::ensure(&CHROOT).map(Toolchain::Chroot),
        }
    }

    /// A program of this toolchain, or one of ours, with variables and arguments to follow as `env`
    /// takes them (`NAME=value ... program argument ...`). It runs in the root of the workspace.
    pub fn env(&self) -> Command {
        match self {
            Toolchain::Own => {
                let mut command = Command::new("env");
                command.current_dir(root());
                command
            }
            Toolchain::Chroot(dir) => {
                let mut shared = vec![absolute(&root())];
                let target = absolute(&target_dir());
                if !target.starts_with(&shared[0]) {
                    shared.push(target);
                }
                chroot::command(dir, &shared, &shared[0])
            }
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// `Apple Swift version 6.1 (...)`, `Swift version 6.0.3 (...)`.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("Swift version ")?;
    version.split(['.', ' ', '-']).next()?.parse().ok()
}
