//! The library as phones get it: see the profile `mobile` and the features of `bindings/ffi`.

/// What `cargo` makes it with, the shared library alone. To be followed by a target, if it is not for this machine.
///
/// `rustc` rather than `build`: beside the crate type `lib`, which other crates use, cargo optimises none of
/// the others at link time.
pub const ARGUMENTS: [&str; 11] = [
    "rustc",
    "--locked",
    "--profile",
    "mobile",
    "--package",
    "peer-storage-ffi",
    "--lib",
    "--crate-type",
    "cdylib",
    "--features",
    "small-tables",
];
