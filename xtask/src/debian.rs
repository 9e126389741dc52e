//! Debian's packages: how a step gets what it needs and the machine does not have.

use std::path::Path;
use std::process::Command;

use crate::shell::{output, run, Outcome};

/// Makes sure that nothing is missing: on Debian and its kin by these packages. Elsewhere the error says what
/// to do, in the words of `elsewhere`.
pub fn ensure(
    missing: impl Fn() -> Vec<&'static str>,
    packages: &[&str],
    elsewhere: &str,
) -> Outcome {
    let before = missing();
    if before.is_empty() {
        return Ok(());
    }
    println!("missing: {}", before.join(", "));
    if !is_here() {
        return Err(format!(
            "{} not found; install {elsewhere}",
            before.join(" and ")
        ));
    }
    install(packages)?;
    match missing().as_slice() {
        [] => Ok(()),
        still => Err(format!(
            "{} still not found after the install",
            still.join(" and ")
        )),
    }
}

/// Whether this system takes Debian's packages.
pub fn is_here() -> bool {
    Path::new("/etc/debian_version").exists()
}

pub fn is_root() -> bool {
    output("id", &["-u"]).as_deref() == Some("0")
}

/// Installs packages, with the newest index. Who is not root needs a `sudo` that asks nothing.
pub fn install(packages: &[&str]) -> Outcome {
    let once = || {
        run(apt_get().arg("update"))?;
        run(apt_get()
            // Another apt may be at work.
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages))
    };
    // An index can change between its update and the download. The second try gets over it.
    once().or_else(|error| {
        println!("{error}; once more");
        once()
    })
}

/// Where this system has its packages of Debian from.
pub fn mirror() -> Outcome<String> {
    const FORMAT: [&str; 3] = [
        "indextargets",
        "--format",
        "$(LABEL) $(COMPONENT) $(REPO_URI)",
    ];
    let known = || {
        let targets = output("apt-get", &FORMAT).unwrap_or_default();
        let mut lines = targets.lines();
        lines.find_map(|line| line.strip_prefix("Debian main ").map(str::to_owned))
    };
    // Without an index apt knows none.
    known()
        .or_else(|| run(apt_get().arg("update")).ok().and_then(|()| known()))
        .ok_or_else(|| "apt knows no mirror of Debian".to_owned())
}

fn apt_get() -> Command {
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
    command
}
