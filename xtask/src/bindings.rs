//! `cargo xtask bindings`: the Kotlin and Swift sources of the library, and the listing of its API.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{build, Build};
use crate::shell::{captured, root, run, step, target_dir, Outcome};

const LIBRARY: &str = "peer-storage-ffi";
const GENERATOR: &str = "peer-storage-bindgen";

/// Where the listing is. It is committed, so that a change of the API shows in review.
const LISTING: &str = "bindings/api.txt";

/// What the command was asked for.
#[derive(Default)]
pub struct Options {
    /// Where to; none: below the target directory.
    out: Option<PathBuf>,
    /// Write the listing anew, instead of checking it.
    accept_api: bool,
}

impl Options {
    pub fn parse(args: &[String]) -> Outcome<Options> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--api" => options.accept_api = true,
                "--out" => {
                    let dir = args.next().ok_or("--out needs a directory")?;
                    // Of the caller's working directory, which is not always the root.
                    let dir = std::path::absolute(dir).map_err(|error| error.to_string())?;
                    options.out = Some(dir);
                }
                other => return Err(format!("unknown: {other}")),
            }
        }
        Ok(options)
    }
}

/// What was built and generated.
pub struct Bindings {
    /// The library for this machine, unstripped: the generator reads its symbols.
    pub library: PathBuf,
    /// Holds `org/peerstorage/peer_storage.kt`.
    pub kotlin: PathBuf,
    /// Holds `PeerStorage.swift`, the header and the module map.
    pub swift: PathBuf,
}

/// Builds the library for this machine, generates Kotlin and Swift, and checks the listing of the API.
pub fn bindings(options: &Options, with: Build) -> Outcome<Bindings> {
    let library = step("library of the bindings", || library(with))?;
    let out = match &options.out {
        Some(out) => out.clone(),
        None => target_dir().join("bindings"),
    };
    let bindings = Bindings {
        kotlin: out.join("kotlin"),
        swift: out.join("swift"),
        library,
    };
    step("Kotlin", || kotlin(&bindings.library, &bindings.kotlin))?;
    step("Swift", || swift(&bindings))?;
    step("listing of the API", || {
        listing(&bindings.library, options.accept_api)
    })?;
    Ok(bindings)
}

/// Generates the Kotlin of a library that was built before into this folder. Its symbols have to be there.
pub fn kotlin_of(library: &Path, to: &Path) -> Outcome {
    build(&[GENERATOR], Build::Alone)?;
    kotlin(library, to)
}

fn library(with: Build) -> Outcome<PathBuf> {
    build(&[LIBRARY, GENERATOR], with)?;
    let name = format!(
        "{}peer_storage_ffi{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let library = target_dir().join("debug").join(name);
    match library.is_file() {
        true => Ok(library),
        false => Err(format!("{} was not built", library.display())),
    }
}

fn kotlin(library: &Path, to: &Path) -> Outcome {
    empty(to)?;
    run(generator("uniffi-bindgen")
        .arg("generate")
        .arg(library)
        .args(["--language", "kotlin", "--no-format", "--out-dir"])
        .arg(to))
}

fn swift(bindings: &Bindings) -> Outcome {
    empty(&bindings.swift)?;
    run(generator("uniffi-bindgen-swift")
        .args(["--swift-sources", "--headers", "--modulemap"])
        .args(["--module-name", "PeerStorageFFI"])
        .args(["--modulemap-filename", "module.modulemap"])
        .arg(&bindings.library)
        .arg(&bindings.swift))
}

fn listing(library: &Path, accept: bool) -> Outcome {
    let path = root().join(LISTING);
    let now = captured(generator("api-listing").arg(library))?;
    let error = |error| format!("{}: {error}", path.display());
    if accept {
        return fs::write(&path, now).map_err(error);
    }
    let committed = fs::read_to_string(&path).map_err(error)?;
    match committed == now {
        true => Ok(()),
        false => Err(format!(
            "the API is not as {LISTING} says: see what has changed with `cargo xtask bindings --api`, \
             and commit it if it is meant{}",
            first_difference(&committed, &now)
        )),
    }
}

fn first_difference(committed: &str, now: &str) -> String {
    let mut lines = committed.lines().zip(now.lines());
    match lines.find(|(committed, now)| committed != now) {
        Some((committed, now)) => format!("\n- {committed}\n+ {now}"),
        None => String::new(),
    }
}

/// Built before, with the library. Run as it is: `cargo run` would wait for other builds.
fn generator(program: &str) -> Command {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    let mut command = Command::new(target_dir().join("debug").join(name));
    // It asks cargo where the crates and their uniffi.toml are.
    command.current_dir(root());
    command
}

/// Sources of an earlier API would be compiled with those of this one.
fn empty(dir: &Path) -> Outcome {
    if dir.is_dir() {
        fs::remove_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))
}
