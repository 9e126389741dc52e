//! A small Debian of another release, for tools that this system has not: a folder under `target`, entered
//! with `chroot`.
//!
//! The packages come from the mirror that this system itself uses, so only Debian can do this, and only as
//! root.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::quiet::quietly;
use crate::shell::{output, root, Outcome};

/// What is in it, and for what.
pub struct System {
    /// Of Debian.
    pub suite: &'static str,
    pub packages: &'static [&'static str],
    /// Where it is kept, below `target`.
    pub folder: &'static str,
    /// What of this machine would do as well.
    pub in_place_of: &'static str,
}

// Written last: a folder without it, or with another text, is made anew.
const STAMP: &str = "etc/made-by-xtask";

/// Makes the folder once, and returns it.
pub fn ensure(system: &System) -> Outcome<PathBuf> {
    let dir = root().join("target").join(system.folder);
    let recipe = format!("{} {}\n", system.suite, system.packages.join(" "));
    if fs::read_to_string(dir.join(STAMP)).is_ok_and(|stamp| stamp == recipe) {
        return Ok(dir);
    }
    can_be_made(system)?;
    remove(&dir)?;
    // Made beside its place, and moved there when it is whole. A mirror can change while it is read: the
    // second try gets over it.
    let new = dir.with_extension(format!("new-{}", std::process::id()));
    let made = make(&new, system, &recipe).or_else(|error| {
        println!("{error}; once more");
        make(&new, system, &recipe)
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

/// An error that says why not.
pub fn can_be_made(system: &System) -> Outcome {
    let wanted = system.in_place_of;
    if !debian::is_here() {
        return Err(format!("{wanted} not found"));
    }
    let hint = "Install it, or run this as root on Debian";
    if !debian::is_root() {
        return Err(format!(
            "{wanted} not found, and only root can make a chroot with it. {hint}"
        ));
    }
    if output("unshare", &["--mount", "true"]).is_none() {
        return Err(format!(
            "{wanted} not found, and this system allows no mounts (`unshare --mount`), which a chroot with \
             it needs. {hint}"
        ));
    }
    Ok(())
}

fn make(dir: &Path, system: &System, recipe: &str) -> Outcome {
    remove(dir)?;
    let mirror = debian::mirror()?;
    if output("sh", &["-c", "command -v debootstrap"]).is_none() {
        debian::install(&["debootstrap"])?;
    }
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    // Of itself it mounts /proc: in a name space of its own nothing of that can stay.
    quietly(
        "debootstrap",
        Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["debootstrap", "--variant=minbase", system.suite])
            .arg(dir)
            .arg(mirror)
            // That of all newer releases, too: an old debootstrap knows no names of theirs.
            .arg("/usr/share/debootstrap/scripts/sid"),
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
            .args(system.packages),
    )?;
    write(&dir.join(STAMP), recipe)
}

const INSTALL: &str = r#"
apt-get -o Acquire::Retries=3 install -y --no-install-recommends "$@"
apt-get clean
"#;

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
