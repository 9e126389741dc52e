//! How large the library is, by what is in it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::exports;
use crate::mobile;
use crate::shell::{cargo, root, run, step, target_dir, Outcome};

/// What was accepted. It is committed, so that growth shows in review.
const ACCEPTED: &str = "bindings/sizes.txt";

const HEAD: &str = "\
# The stripped library for x86_64 Linux, in bytes, by the features of bindings/ffi: `cargo xtask figures --accept`
# writes this, and `cargo xtask figures` fails where one has grown by more than a tenth.
";

/// Features of `bindings/ffi`, and what is aimed at, in bytes.
const SHAPES: [(&str, u64); 3] = [
    ("", 2_500_000),
    ("recovery", 5_000_000),
    (EVERYTHING, 7_000_000),
];

/// What is on by default.
const EVERYTHING: &str = "esplora";

pub fn sizes(accept: bool) -> Outcome {
    let mut measured = Vec::new();
    for (features, _) in SHAPES {
        let name = name(features);
        measured.push(step(&format!("library, {name}"), || measure(features))?);
    }
    let path = root().join(ACCEPTED);
    let failed = |error| format!("{ACCEPTED}: {error}");
    if accept {
        return fs::write(&path, listing(&measured)).map_err(failed);
    }
    let accepted = fs::read_to_string(&path).map_err(failed)?;
    step("sizes", || compare(&measured, &accepted))
}

/// The library with all features, as phones get it.
pub fn library() -> Outcome<PathBuf> {
    build(EVERYTHING)
}

fn measure(features: &str) -> Outcome<u64> {
    let library = build(features)?;
    exports::are_ours(&library)?;
    let stripped = library.with_extension("stripped");
    strip(&library, &stripped)?;
    let size = fs::metadata(&stripped).map_err(|error| format!("{}: {error}", stripped.display()));
    size.map(|size| size.len())
}

fn build(features: &str) -> Outcome<PathBuf> {
    run(cargo().args(mobile::with_only(features)))?;
    let library = "libpeer_storage_ffi.so";
    Ok(target_dir().join(mobile::PROFILE).join(library))
}

/// As an app's build does at the end.
fn strip(library: &Path, to: &Path) -> Outcome {
    run(Command::new("strip").arg("-o").arg(to).arg(library))
}

fn name(features: &str) -> String {
    match features {
        "" => "without recovery".to_owned(),
        features => format!("with {features}"),
    }
}

fn listing(measured: &[u64]) -> String {
    let lines = SHAPES.iter().zip(measured);
    lines.fold(HEAD.to_owned(), |mut text, ((features, _), size)| {
        let _ = writeln!(text, "{}: {size}", name(features));
        text
    })
}

/// Prints each size beside its aim and what was accepted.
fn compare(measured: &[u64], accepted: &str) -> Outcome {
    let mut grown = Vec::new();
    for ((features, aim), &size) in SHAPES.iter().zip(measured) {
        let name = name(features);
        let start = format!("{name}: ");
        let before = accepted.lines().find_map(|line| line.strip_prefix(&start));
        let before: u64 = before
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("{ACCEPTED} does not say how large it is {name}"))?;
        println!(
            "size {name}: {} MB (aim {}, accepted {}, {:+.1} %)",
            megabytes(size),
            megabytes(*aim),
            megabytes(before),
            (size as f64 / before as f64 - 1.0) * 100.0
        );
        if size > before + before / 10 {
            grown.push(name);
        }
    }
    match grown.as_slice() {
        [] => Ok(()),
        grown => Err(format!(
            "larger by more than a tenth {}; if it is meant: `cargo xtask figures --sizes --accept`",
            grown.join(" and ")
        )),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{compare, listing};

    #[test]
    fn a_tenth_more_than_accepted_is_too_much() {
        let accepted = listing(&[1000, 2000, 3000]);
        compare(&[1100, 2200, 3300], &accepted).unwrap();
        compare(&[1, 1, 1], &accepted).unwrap();
        let error = compare(&[1000, 2000, 3301], &accepted).unwrap_err();
        assert!(error.contains("tenth with esplora;"), "{error}");
    }

    #[test]
    fn a_size_that_was_never_accepted_is_an_error() {
        compare(&[1, 1, 1], "with recovery: 5\nwith esplora: 5\n").unwrap_err();
        compare(&[1, 1, 1], &listing(&[1, 1, 1]).replace(": 1", ": one")).unwrap_err();
    }
}
