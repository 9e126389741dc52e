//! A small Debian with Swift, for systems that have none: a folder under `target`, entered with `chroot`.
//!
//! Debian has Swift since trixie. The packages come from the mirror that this system itself uses, so
//! only Debian can do this, and only as root.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::quiet::quietly;
use crate::shell::{output, root, Outcome};

const SUITE: &str = "trixie";

// The last two are what Swift links with, and only recommended by its package.
const PACKAGES: [&str; 3] = ["swiftlang", "libc6-dev", "libstdc++-14-dev"];

// Written last: a folder without it, or with another text, is made anew.
const STAMP: &str = "etc/made-by-xtask";

/// Makes the folder once (580 MB to fetch, 2.7 GB on disk), and returns it.
pub fn ensure() -> Outcome<PathBuf> {
    let dir = root().join("target/swift").join(SUITE);
    let recipe = format!("{SUITE} {}\n", PACKAGES.join(" "));
    if fs::read_to_string(dir.join(STAMP)).is_ok_and(|stamp| stamp == recipe) {
        return Ok(dir);
    }
    can_be_made()?;
    remove(&dir)?;
    // Made beside its place, and moved there when it is whole. A mirror can change while it is read: the
    // second try gets over it.
    let new = dir.with_extension(format!("new-{}", std::process::id()));
    let made = make(&new, &recipe).or_else(|error| {
        println!("{error}; once more");
        make(&new, &recipe)
    });
    let moved = made.and_then(|()| {
        fs::rename(&new, &dir).map_err(|error| format!("{}: {error}", dir.display()))
    });
    if moved.is_err() {
        let _ = remove(&new);
    }
    moved.map(|()| dir)
}

/// Starts a command inside, with these folders of this system at the same paths. What it runs follows
/// as `env` takes it: `NAME=value ... program argument ...`.
///
/// Its mounts are its own: whatever way it ends, nothing stays mounted.
pub fn command(dir: &Path, shared: &[PathBuf], within: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .args(["sh", "-euc", ENTER, "enter"])
        .arg(dir)
        .arg(within)
        .arg(shared.len().to_string())
        .args(shared)
        .args([
            "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME=/tmp",
            "LANG=C.UTF-8",
        ]);
    command
}

// Without /proc Swift does not find its own libraries. /tmp is in memory: the tests write databases.
const ENTER: &str = r#"
dir=$1 within=$2 count=$3
shift 3
mount -t proc proc "$dir/proc"
mount --rbind /dev "$dir/dev"
mount -t tmpfs -o mode=1777 tmp "$dir/tmp"
while [ "$count" -gt 0 ]; do
    mkdir -p "$dir$1"
    mount --bind "$1" "$dir$1"
    shift
    count=$((count - 1))
done
exec chroot "$dir" /usr/bin/env -i --chdir="$within" "$@"
"#;

fn can_be_made() -> Outcome {
    const HINT: &str =
        "Install Swift 6 or newer (swift.org/install), or run this as root on Debian";
    if !Path::new("/etc/debian_version").exists() {
        return Err(format!("no `swift` 6 or newer found. {HINT}"));
    }
    if output("id", &["-u"]).as_deref() != Some("0") {
        return Err(format!(
            "no `swift` 6 or newer found, and only root can make a chroot with it. {HINT}"
        ));
    }
    if output("unshare", &["--mount", "true"]).is_none() {
        return Err(format!(
            "no `swift` 6 or newer found, and this system allows no mounts (`unshare --mount`), \
             which a chroot with it needs. {HINT}"
        ));
    }
    Ok(())
}

fn make(dir: &Path, recipe: &str) -> Outcome {
    remove(dir)?;
    // Without an index apt knows neither the mirror nor debootstrap. An old one may do.
    let _ = quietly("apt-get update", Command::new("apt-get").arg("update"));
    let mirror = mirror()?;
    if output("sh", &["-c", "command -v debootstrap"]).is_none() {
        quietly(
            "apt-get install debootstrap",
            Command::new("apt-get")
                .args(["-o", "DPkg::Lock::Timeout=300", "install", "-y"])
                .args(["--no-install-recommends", "debootstrap"])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    // Of itself it mounts /proc: in a name space of its own nothing of that can stay.
    quietly(
        "debootstrap",
        Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["debootstrap", "--variant=minbase", SUITE])
            .arg(dir)
            .arg(mirror),
    )?;
    // The folder is thrown away when it is not whole: no need to wait for the disk after each file.
    write(
        &dir.join("etc/dpkg/dpkg.cfg.d/fast"),
        "force-unsafe-io\npath-exclude=/usr/share/doc/*\n",
    )?;
    let mut install = command(dir, &[], Path::new("/"));
    install.arg("DEBIAN_FRONTEND=noninteractive");
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Ok(value) = env::var(name) {
            install.arg(format!("{name}={value}"));
        }
    }
    quietly(
        "apt-get install in the chroot",
        install
            .args(["sh", "-euc", INSTALL, "install"])
            .args(PACKAGES),
    )?;
    write(&dir.join(STAMP), recipe)
}

const INSTALL: &str = r#"
apt-get -o Acquire::Retries=3 install -y --no-install-recommends "$@"
apt-get clean
"#;

/// Where this system has its own Debian packages from.
fn mirror() -> Outcome<String> {
    let format = "$(LABEL) $(COMPONENT) $(REPO_URI)";
    output("apt-get", &["indextargets", "--format", format])
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("Debian main "))
        .map(str::to_owned)
        .ok_or_else(|| {
            "apt knows no mirror of Debian: run `apt-get update`, or install Swift 6 by hand".into()
        })
}

fn remove(dir: &Path) -> Outcome {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // `rm` for it stays on the one file system, should anything be mounted there after all.
        _ => quietly(
            "rm",
            Command::new("rm")
                .args(["-rf", "--one-file-system"])
                .arg(dir),
        ),
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
