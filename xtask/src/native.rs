//! What Bitcoin Core's consensus library needs to be built: cmake and the headers of Boost.

use std::path::Path;
use std::process::Command;

use crate::shell::{output, run, Outcome};

/// Makes sure that both are there. On Debian and its kin it installs what is missing.
pub fn ensure() -> Outcome {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", missing.join(", "));
    if !Path::new("/etc/debian_version").exists() {
        return Err(format!(
            "{} not found; install {}",
            missing.join(" and "),
            elsewhere()
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
    if output("cmake", &["--version"]).is_none() {
        missing.push("cmake");
    }
    if !has_boost() {
        missing.push("the headers of Boost");
    }
    missing
}

/// Asks the C++ compiler, which knows its own search path.
fn has_boost() -> bool {
    let compiler = std::env::var("CXX").unwrap_or("c++".to_owned());
    let probe = [
        "-I/opt/homebrew/include",
        "-include",
        "boost/version.hpp",
        "-x",
        "c++",
        "-fsyntax-only",
    ];
    output(&compiler, &[&probe[..], &["/dev/null"]].concat()).is_some()
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
        .args(["cmake", "libboost-dev"]))
}

fn apt_get() -> Command {
    let mut command = if output("id", &["-u"]).as_deref() == Some("0") {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

fn elsewhere() -> &'static str {
    match std::env::consts::OS {
        "macos" => "them with `brew install cmake boost`",
        _ => {
            "cmake 3.22 or newer and the headers of Boost 1.74 or newer (Fedora: \
             `dnf install cmake boost-devel`; Arch: `pacman -S cmake boost`)"
        }
    }
}
