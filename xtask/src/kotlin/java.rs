//! What the Kotlin tests need: a JDK, and Maven, which fetches all else.

use std::path::Path;
use std::process::Command;

use crate::shell::{output, run, Outcome};

/// Android's build tools want no older one.
const OLDEST: u32 = 17;

/// Makes sure that both are there. On Debian and its kin it installs what is missing.
pub fn ensure() -> Outcome {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", missing.join(", "));
    if !Path::new("/etc/debian_version").exists() {
        return Err(format!(
            "{} not found; install a JDK {OLDEST} or newer and Maven 3.8 or newer (macOS: \
             `brew install openjdk@17 maven`; Fedora: `dnf install java-17-openjdk-devel maven`)",
            missing.join(" and ")
        ));
    }
    // A package index can change between its update and the download. The second try gets over it.
    install().or_else(|error| {
        println!("{error}; once more");
        install()
    })?;
    match self::missing().as_slice() {
        [] => Ok(()),
        still => Err(format!(
            "{} still not found after the install",
            still.join(" and ")
        )),
    }
}

fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    let version = output("javac", &["-version"]).and_then(|said| major(&said));
    if version.is_none_or(|version| version < OLDEST) {
        missing.push("a JDK");
    }
    if output("mvn", &["--version"]).is_none() {
        missing.push("Maven");
    }
    missing
}

/// Of "javac 17.0.15" it is 17, and of an old "javac 1.8.0_402" it is 1.
fn major(said: &str) -> Option<u32> {
    let version = said.strip_prefix("javac ")?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

fn install() -> Outcome {
    run(apt_get().arg("update"))?;
    run(apt_get()
        .args([
            "-o",
            "DPkg::Lock::Timeout=300",
            "install",
            "-y",
            "--no-install-recommends",
        ])
        .args(["openjdk-17-jdk-headless", "maven"]))
}

fn apt_get() -> Command {
    let mut command = if output("id", &["-u"]).as_deref() == Some("0") {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
    command
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn a_version_is_read_of_old_and_of_new_compilers() {
        assert_eq!(major("javac 17.0.15"), Some(17));
        assert_eq!(major("javac 21-ea"), Some(21));
        assert_eq!(major("javac 1.8.0_402"), Some(1));
        assert_eq!(major("gibberish"), None);
    }
}
