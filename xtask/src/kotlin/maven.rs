//! Maven, which talks much: its count of tests is shown as it comes, all the rest only when it fails.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::shell::{root, Outcome};

/// What it makes: classes, and reports of tests.
pub fn made() -> PathBuf {
    root().join("target/android-on-the-jvm")
}

/// Runs it on `android/pom.xml`.
pub fn maven(args: &[String]) -> Outcome {
    let failed = |error: std::io::Error| format!("`mvn`: {error}");
    // The compiler would take a function of an earlier run, whose signature has changed, for an overload.
    match fs::remove_dir_all(made()) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut child = Command::new("mvn")
        .arg("--file")
        .arg(root().join("android/pom.xml"))
        .args(["--batch-mode", "--no-transfer-progress"])
        .args([
            "-Dstyle.color=never",
            "-Dmaven.wagon.http.retryHandler.count=5",
        ])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line.map_err(failed)?).into_owned();
            if is_shown(&line) {
                println!("{line}");
            }
            said.push(line);
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    for line in said.iter().filter(|line| !is_shown(line)) {
        println!("{line}");
    }
    Err(format!(
        "`mvn {}` ended with {status}{}",
        args.join(" "),
        errors(&said)
    ))
}

/// The first of what it calls errors: among them the names of tests that failed.
fn errors(said: &[String]) -> String {
    let errors = said.iter().filter(|line| line.starts_with("[ERROR] "));
    errors.take(20).map(|line| format!("\n{line}")).collect()
}

/// Surefire's counts, of each class and of all.
fn is_shown(line: &str) -> bool {
    line.contains("Tests run:")
}
