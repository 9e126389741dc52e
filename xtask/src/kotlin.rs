//! `cargo xtask kotlin`: the Kotlin of `android/`, compiled and tested on the JVM with the real library.
//!
//! Android's own tools cannot be had everywhere; Maven can. So android/pom.xml compiles the same sources as
//! android/build.gradle.kts, against Android's framework classes, and runs their tests on this machine.

mod java;
mod maven;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bindings::{bindings, Options};
use crate::build::{self, Build, SCENARIO_PROGRAMS};
use crate::shell::{root, step, Outcome};

/// What a wallet gets with the AAR, as android/build.gradle.kts and android/pom.xml have it: a test compares.
pub const JNA: &str = "5.18.1";
pub const COROUTINES: &str = "1.10.2";

/// Makes sure that what it takes is there.
pub fn tools() -> Outcome {
    step("Java and Maven", java::ensure)
}

pub fn kotlin(build: Build) -> Outcome {
    tools()?;
    step("programs of the scenarios", || {
        build::build(&SCENARIO_PROGRAMS, build)
    })?;
    let bindings = bindings(&Options::default(), build)?;
    let native = bindings.library.parent().unwrap_or(Path::new("."));
    step("Kotlin tests", || {
        maven::maven(&[
            "verify".into(),
            defined("bindings.dir", &bindings.kotlin),
            defined("native.dir", native),
        ])
    })
}

/// Compiles without testing, and returns the folder of what an AAR has as its classes.
pub fn classes() -> Outcome<PathBuf> {
    tools()?;
    let bindings = bindings(&Options::default(), Build::Alone)?;
    step("Kotlin classes", || {
        maven::maven(&["compile".into(), defined("bindings.dir", &bindings.kotlin)])
    })?;
    Ok(maven::made().join("classes"))
}

/// Compiles the tests' sources with these bindings, and makes what `java` needs, as its one argument, to run a
/// program among them with the library in `native`.
pub fn program(main: &str, bindings: &Path, native: &Path) -> Outcome<OsString> {
    tools()?;
    let class_path = root().join("target/class-path-of-tests");
    maven::maven(&[
        "test-compile".into(),
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath".into(),
        "-Dmdep.includeScope=test".into(),
        defined("mdep.outputFile", &class_path),
        defined("bindings.dir", bindings),
    ])?;
    let failed = |error| format!("{}: {error}", class_path.display());
    let others = fs::read_to_string(&class_path).map_err(failed)?;
    let made = maven::made();
    let arguments = format!(
        "-Djna.nosys=true\n-Djna.library.path={}\n-cp {}:{}:{}\n{main}\n",
        native.display(),
        made.join("test-classes").display(),
        made.join("classes").display(),
        others.trim(),
    );
    let file = made.join("java-arguments");
    fs::write(&file, arguments).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut argument = OsString::from("@");
    argument.push(file);
    Ok(argument)
}

fn defined(name: &str, path: &Path) -> String {
    format!("-D{name}={}", path.display())
}
