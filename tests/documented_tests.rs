//! The tests that the documents name as guards of their claims are there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CLAIMS: &[&str] = &[
    "docs/safety-rules.md",
    "docs/threat-model.md",
    "tests/interop/README.md",
];
const SOURCES: &[&str] = &["src", "tests", "cli", "bindings", "android", "ios"];

#[test]
fn every_test_that_guards_a_claim_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for dir in SOURCES {
        collect(&root.join(dir), &mut tests);
    }
    let mut missing = Vec::new();
    for claims in CLAIMS {
        let text = fs::read_to_string(root.join(claims)).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        for name in quoted.filter(|quoted| is_sentence(quoted)) {
            if !tests.contains(name) {
                missing.push(format!("{claims}: {name}"));
            }
        }
        for path in text.split('`').skip(1).step_by(2) {
            let is_there = root.join(path).exists() || root.join(format!("{path}.rs")).exists();
            if path.starts_with("tests/") && !is_there {
                missing.push(format!("{claims}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there: {missing:#?}");
}

/// A test's name, and not that of a message (`channel_reestablish`) or a field.
fn is_sentence(quoted: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    quoted.chars().all(is_name) && quoted.matches('_').count() >= 3 && !BOLT.contains(&quoted)
}

/// Fields of BOLT #2 that read like sentences.
const BOLT: &[&str] = &["your_last_per_commitment_secret"];

fn collect(dir: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split("fn ").skip(1) {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                tests.insert(name.to_owned());
            }
        }
    }
}
