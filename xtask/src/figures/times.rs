//! What opening, a call and a background push cost through the bindings, against the core's own: see
//! bindings/ffi/benches/against_core.

use std::fs;

use super::sizes;
use crate::bindings;
use crate::kotlin;
use crate::shell::{cargo, run, step, target_dir, Outcome};

pub fn times() -> Outcome {
    let library = step("library", sizes::library)?;
    let made = target_dir().join("figures");
    // By itself: beside it lie what other builds have left.
    let native = made.join("native");
    let name = library.file_name().unwrap_or_default();
    fs::create_dir_all(&native)
        .and_then(|()| fs::copy(&library, native.join(name)))
        .map_err(|error| format!("{}: {error}", native.display()))?;
    let kotlin = made.join("kotlin");
    step("Kotlin", || bindings::kotlin_of(&library, &kotlin))?;
    let program = step("program for the JVM", || {
        kotlin::program("org.peerstorage.figures.MainKt", &kotlin, &native)
    })?;
    run(cargo()
        .args(["bench", "--locked", "--package", "peer-storage-ffi"])
        .args(["--bench", "against_core"])
        .env("PEER_STORAGE_JVM", program))
}
