//! The library as phones get it: see the profile `mobile` and the features of `bindings/ffi`.

/// What `cargo` makes it with, the shared library alone. To be followed by a target, if it is not for this machine.
///
/// `rustc` rather than `build`: beside the crate type `lib`, which other crates use, cargo optimises none of
/// the others at link time.
pub const ARGUMENTS: [&str; 11] = [
    "rustc",
    "--locked",
    "--profile",
    PROFILE,
    "--package",
    "peer-storage-ffi",
    "--lib",
    "--crate-type",
    "cdylib",
    "--features",
    "small-tables",
];

/// The same for this machine, with these features in place of those that are on by default.
pub fn with_only(features: &str) -> Vec<&str> {
    let mut arguments = ARGUMENTS.to_vec();
    arguments.push("--no-default-features");
    if !features.is_empty() {
        arguments.extend(["--features", features]);
    }
    // As for Android: .cargo/config.toml. A linker that does not know it goes on without.
    arguments.extend(["--", "-Clink-arg=-Wl,-z,pack-relative-relocs"]);
    arguments
}

/// Of the workspace's Cargo.toml, and the name of the folder that cargo builds it in.
pub const PROFILE: &str = "mobile";
