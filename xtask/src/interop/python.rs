//! A Python of its own for the interop tests, with the packages that requirements.txt names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::shell::{output, run, Outcome};

/// Some of the packages want no older one.
const OLDEST: (u32, u32) = (3, 11);

/// A Python with these packages, below `made`. It is made once, and again when they change.
pub fn ensure(made: &Path, requirements: &Path) -> Outcome<PathBuf> {
    let system = system()?;
    let environment = made.join("python");
    let python = environment.join("bin/python");
    let version = output(&system, &["--version"]).unwrap_or_default();
    let wanted = fs::read_to_string(requirements)
        .map_err(|error| format!("{}: {error}", requirements.display()))?;
    let wanted = format!("{version}\n{wanted}");
    // Written last: what was stopped half way is made again.
    let holds = made.join("python-holds");
    if fs::read_to_string(&holds).is_ok_and(|holds| holds == wanted) && python.is_file() {
        return Ok(python);
    }
    let _ = fs::remove_file(&holds);
    run(Command::new(&system)
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "install"];
    run(Command::new(&python)
        .args(pip)
        .args(["--quiet", "--no-deps", "--requirement"])
        .arg(requirements))?;
    fs::write(&holds, wanted).map_err(|error| format!("{}: {error}", holds.display()))?;
    Ok(python)
}

/// The system's Python. On Debian and its kin it is installed where it is missing.
fn system() -> Outcome<String> {
    let python = std::env::var("PYTHON").unwrap_or("python3".to_owned());
    let missing = || match check(&python) {
        Ok(()) => Vec::new(),
        Err(why) => vec![why],
    };
    debian::ensure(missing, &["python3", "python3-venv"], &elsewhere())?;
    Ok(python)
}

/// Whether it is new enough, and can make environments.
fn check(python: &str) -> Result<(), &'static str> {
    let ask = "import ensurepip, sys, venv; print(*sys.version_info[:2])";
    let said = output(python, &["-c", ask]);
    let version = said.as_deref().and_then(version);
    match version {
        None => Err("a Python with venv"),
        Some(version) if version < OLDEST => Err("a Python that is new enough"),
        Some(_) => Ok(()),
    }
}

/// Of "3 11".
fn version(said: &str) -> Option<(u32, u32)> {
    let (major, minor) = said.split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn elsewhere() -> String {
    let (major, minor) = OLDEST;
    format!(
        "Python {major}.{minor} to 3.13 with venv (macOS: `brew install python@3.13`; Fedora: \
         `dnf install python3`), or name one with PYTHON=..."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_as_numbers() {
        assert!(version("3 9").is_some_and(|version| version < OLDEST));
        assert!(version("3 13").is_some_and(|version| version >= OLDEST));
        assert_eq!(version("gibberish"), None);
    }

    #[test]
    fn a_python_that_is_not_there_is_missed() {
        assert!(check("no-such-python").is_err());
    }
}
