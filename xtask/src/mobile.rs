//! The library as phones get it: see the profile `mobile` and the features of `bindings/ffi`.

/// What `cargo` makes it with, the shared library alone. To be followed by a target, if it is not for this machine.
///
/// `rustc` rather than `build`: beside the crate type `lib`, which other crates use, cargo optimises none of
/// the others at link time.
pub fn arguments() -> Vec<String> {
    let arguments = [
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
    arguments.map(str::to_owned).to_vec()
}

/// Of the workspace's Cargo.toml, and the name of the folder that cargo builds it in.
const PROFILE: &str = "mobile";
