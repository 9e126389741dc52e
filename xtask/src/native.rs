//! What Bitcoin Core's consensus library needs to be built: cmake and the headers of Boost.

use crate::debian;
use crate::shell::{output, Outcome};

/// Makes sure that both are there. On Debian and its kin it installs what is missing.
pub fn ensure() -> Outcome {
    debian::ensure(missing, &["cmake", "libboost-dev"], elsewhere())
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

fn elsewhere() -> &'static str {
    match std::env::consts::OS {
        "macos" => "them with `brew install cmake boost`",
        _ => {
            "cmake 3.22 or newer and the headers of Boost 1.74 or newer (Fedora: \
             `dnf install cmake boost-devel`; Arch: `pacman -S cmake boost`)"
        }
    }
}
