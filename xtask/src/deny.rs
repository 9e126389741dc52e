//! `cargo xtask deny`: which licences, sources and known flaws the lock files bring (`deny.toml`).

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::shell::{cargo, output, root, run, step, Outcome};

const VERSION: &str = "0.20.2";

/// Each has a lock file of its own.
const MANIFESTS: &[&str] = &["Cargo.toml", "fuzz/Cargo.toml", "tests/ldk-node/Cargo.toml"];

pub fn deny() -> Outcome {
    let deny = step("cargo-deny", installed)?;
    let check = |manifest: &str, what: &[&str]| {
        let mut command = cargo();
        // As a program, not as `cargo deny`: it need not be on the path.
        command.env("PATH", path_with(&deny)?);
        command
            .args(["deny", "--manifest-path", manifest, "--config", "deny.toml"])
            .args(["--locked", "check", "--hide-inclusion-graph"])
            .args(what);
        run(&mut command)
    };
    for manifest in MANIFESTS {
        step(&format!("licences, bans and sources of {manifest}"), || {
            check(manifest, &["licenses", "bans", "sources"])
        })?;
    }
    let fetched = run(cargo()
        .env("PATH", path_with(&deny)?)
        .args(["deny", "fetch", "db"]));
    if let Err(why) = fetched {
        println!("xtask: advisories: SKIPPED: the database cannot be reached ({why})");
        return Ok(());
    }
    for manifest in MANIFESTS {
        step(&format!("advisories of {manifest}"), || {
            check(manifest, &["--disable-fetch", "advisories"])
        })?;
    }
    Ok(())
}

/// The directory with the program, which is built once.
fn installed() -> Outcome<PathBuf> {
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    let is_current = output(&program.to_string_lossy(), &["--version"])
        .is_some_and(|version| version.ends_with(VERSION));
    if !is_current {
        run(cargo()
            .args(["install", "--locked", "cargo-deny", "--version", VERSION])
            .arg("--root")
            .arg(&tools)
            .arg("--target-dir")
            .arg(tools.join("target")))?;
    }
    Ok(tools.join("bin"))
}

fn path_with(dir: &Path) -> Outcome<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_owned()).chain(env::split_paths(&path));
    env::join_paths(dirs).map_err(|error| error.to_string())
}
