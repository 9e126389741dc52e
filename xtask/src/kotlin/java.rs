//! What the Kotlin tests need: a JDK, and Maven, which fetches all else.

use crate::debian;
use crate::shell::{output, Outcome};

/// Android's build tools want no older one.
const OLDEST: u32 = 17;

/// Makes sure that both are there. On Debian and its kin it installs what is missing.
pub fn ensure() -> Outcome {
    debian::ensure(
        missing,
        &["openjdk-17-jdk-headless", "maven"],
        &format!(
            "a JDK {OLDEST} or newer and Maven 3.8 or newer (macOS: `brew install openjdk@17 maven`; \
             Fedora: `dnf install java-17-openjdk-devel maven`)"
        ),
    )
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
