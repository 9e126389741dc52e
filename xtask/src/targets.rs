//! `cargo xtask targets`: the library's Rust, checked for the phones' own systems.
//!
//! What is compiled for Android or iOS alone is seen by no test on this machine. To check it takes no linker and
//! no SDK, but the standard library for that system, which Rust can compile from its sources. C code of
//! dependencies is not compiled: in place of its compilers stand programs that make empty files.
//!
//! All of it takes 4 GB below `target/targets`, and half an hour on two cores the first time.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chroot::{self, System};
use crate::quiet::{listen, quietly};
use crate::shell::{cargo, output, root, run, step, Outcome};

const TARGETS: [&str; 4] = [
    "aarch64-linux-android",
    "armv7-linux-androideabi",
    "x86_64-linux-android",
    "aarch64-apple-ios",
];

/// A Rust with the sources of its standard library: rustup has them too, but cannot be had everywhere.
const CHROOT: System = System {
    suite: "forky",
    packages: &["rustc", "cargo", "rust-src", "gcc", "libc6-dev"],
    folder: "targets/forky",
    in_place_of: "a Rust with the sources of its standard library (rustup component add rust-src)",
};

pub fn targets() -> Outcome {
    let rust = match own_sources() {
        Some(sources) => Rust::Own { sources },
        None => match chroot::can_be_made(&CHROOT) {
            Ok(()) => Rust::In(step("Rust in a chroot", || chroot::ensure(&CHROOT))?),
            Err(why) => {
                println!("not checked for {}: {why}", TARGETS.join(", "));
                return Ok(());
            }
        },
    };
    let checker = step("what the check needs", || Checker::new(rust))?;
    for target in TARGETS {
        step(target, || checker.check(target))?;
    }
    Ok(())
}

/// Whose compiler it is.
enum Rust {
    /// This system's, whose standard library's sources are there.
    Own { sources: PathBuf },
    /// That of a chroot in this folder.
    In(PathBuf),
}

/// Where this system's own Rust has the sources of its standard library.
fn own_sources() -> Option<PathBuf> {
    let sysroot = output("rustc", &["--print", "sysroot"])?;
    let sources = Path::new(&sysroot).join(SOURCES);
    sources.join("Cargo.toml").exists().then_some(sources)
}

/// Below the folder of a Rust.
const SOURCES: &str = "lib/rustlib/src/rust/library";

struct Checker {
    rust: Rust,
    root: PathBuf,
    cargo_home: PathBuf,
    /// Of programs that stand in for C compilers and Apple's tools. Their names hide none of the system's.
    stand_ins: PathBuf,
}

impl Checker {
    fn new(rust: Rust) -> Outcome<Checker> {
        let root = root();
        let root = root.canonicalize().unwrap_or(root);
        let stand_ins = root.join("target/targets/stand-ins");
        for (name, text) in [
            ("compiler", COMPILER),
            ("archiver", ARCHIVER),
            ("xcrun", XCRUN),
        ] {
            program(&stand_ins.join(name), text)?;
        }
        let checker = Checker {
            rust,
            root,
            cargo_home: cargo_home()?,
            stand_ins,
        };
        checker.fetch()?;
        Ok(checker)
    }

    /// Here, where the network is set up: for the checks, all is there.
    fn fetch(&self) -> Outcome {
        let sources = match &self.rust {
            Rust::Own { sources } => sources.clone(),
            Rust::In(chroot) => {
                let find = format!("realpath $(rustc --print sysroot)/{SOURCES}");
                let found = listen(self.env().args(["sh", "-c", &find]))?.when_well("rustc")?;
                chroot.join(found.trim().trim_start_matches('/'))
            }
        };
        run(cargo().args(["fetch", "--locked"]))?;
        run(cargo()
            .args(["fetch", "--locked", "--manifest-path"])
            .arg(sources.join("Cargo.toml"))
            .env("RUSTC_BOOTSTRAP", "1"))
    }

    fn check(&self, target: &str) -> Outcome {
        let tool = |name: &str| self.stand_ins.join(name).display().to_string();
        let variable = target.replace('-', "_");
        let mut command = self.env();
        command
            // Of a stable compiler, for -Zbuild-std.
            .arg("RUSTC_BOOTSTRAP=1")
            .arg(format!("CC_{variable}={}", tool("compiler")))
            .arg(format!("AR_{variable}={}", tool("archiver")))
            .arg(format!("SDKROOT={}", self.stand_ins.display()))
            .args(["cargo", "check", "--locked", "--offline", "--lib"])
            .args(["--package", "peer-storage-ffi", "--target", target])
            .arg("-Zbuild-std=std,panic_unwind");
        quietly("cargo check", &mut command)
    }

    /// In the root of the workspace, with variables and arguments to follow as `env` takes them.
    fn env(&self) -> Command {
        let (mut command, path) = match &self.rust {
            Rust::Own { .. } => {
                let mut command = Command::new("env");
                command.current_dir(&self.root);
                (command, env::var("PATH").unwrap_or_default())
            }
            Rust::In(dir) => {
                let shared = [self.root.clone(), self.cargo_home.clone()];
                let command = chroot::command(dir, &shared, &self.root);
                (command, "/usr/bin:/bin".to_owned())
            }
        };
        let built = self.root.join("target/targets/build");
        command
            .arg(format!("PATH={}:{path}", self.stand_ins.display()))
            .arg(format!("CARGO_HOME={}", self.cargo_home.display()))
            .arg(format!("CARGO_TARGET_DIR={}", built.display()));
        command
    }
}

fn cargo_home() -> Outcome<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))
        .ok_or_else(|| "neither CARGO_HOME nor HOME is set".to_owned())
}

fn program(path: &Path, text: &str) -> Outcome {
    let failed = |error| format!("{}: {error}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)
}

/// Makes the file that follows `-o`, and is a clang to whoever asks.
const COMPILER: &str = r#"#!/bin/sh
case "$*" in *--version*) echo "clang version 18.0.0"; exit ;; *-E*) echo clang; exit ;; esac
while [ $# -gt 0 ]; do
    [ "$1" != -o ] || : >"$2"
    shift
done
"#;

/// Makes the archive: the first argument that ends in `.a`.
const ARCHIVER: &str = r#"#!/bin/sh
for file; do
    case "$file" in *.a) : >"$file"; exit ;; esac
done
"#;

/// Where Apple's SDK is: nowhere.
const XCRUN: &str = r#"#!/bin/sh
case "$*" in *--show-sdk-version*) echo 18.0 ;; *) dirname "$0" ;; esac
"#;
