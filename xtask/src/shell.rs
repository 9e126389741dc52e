//! Running other programs, and saying what ran and for how long.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a step comes to. The error is for a person to read.
pub type Outcome<T = ()> = Result<T, String>;

/// Does a named part of the work, and prints its time, whether it succeeds or fails.
pub fn step<T>(name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    println!("xtask: {name} ...");
    let start = Instant::now();
    let outcome = work();
    let result = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!(
        "xtask: {name}: {result}, {:.1} s",
        start.elapsed().as_secs_f32()
    );
    outcome.map_err(|error| format!("{name}: {error}"))
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    // Asked at run time: a path compiled in would be wrong where worktrees share a target directory.
    match env::var_os("CARGO_MANIFEST_DIR") {
        Some(xtask) => Path::new(&xtask)
            .parent()
            .unwrap_or(Path::new("."))
            .to_owned(),
        None => PathBuf::from("."),
    }
}

/// The cargo that runs this program, in the root of the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root());
    // `cargo run` describes the xtask package to this process. Passed on, this would make build
    // scripts that watch such variables run again after each change between plain cargo and xtask.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    // It would take a relative one from the root, and the cargo that runs this program took it from where it was
    // called.
    if let Some(dir) = env::var_os(TARGET_DIR) {
        command.env(TARGET_DIR, absolute(&dir));
    }
    command
}

const TARGET_DIR: &str = "CARGO_TARGET_DIR";

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    match env::var_os(TARGET_DIR) {
        Some(dir) => absolute(&dir),
        None => root().join("target"),
    }
}

fn absolute(dir: &OsStr) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.into())
}

/// Runs a program to its end, with its output going where ours goes.
pub fn run(command: &mut Command) -> Outcome {
    let shown = shown(command);
    println!("$ {shown}");
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` did not start: {error}")),
    }
}

/// What a program prints. `None` when it is not there or fails.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a program to its end, and returns what it prints.
pub fn captured(command: &mut Command) -> Outcome<String> {
    let shown = shown(command);
    println!("$ {shown}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("`{shown}` did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{shown}` printed no text"))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
