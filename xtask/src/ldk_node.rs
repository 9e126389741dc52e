//! `cargo xtask ldk-node`: the tests with a real ldk-node, which are a workspace of their own.

use std::path::Path;

use crate::shell::{cargo, root, run, step, Outcome};

/// `chains`: where the test kit writes each test's chain; none: to the target directory.
pub fn test(chains: Option<&Path>) -> Outcome {
    step("tests beside ldk-node", || {
        let mut command = cargo();
        command
            .args(["test", "--locked", "--manifest-path"])
            .arg(root().join("tests/ldk-node/Cargo.toml"))
            // Other features and another lock file: in one directory the two would rebuild what they share.
            .arg("--target-dir")
            .arg(root().join("target/ldk-node"));
        if let Some(chains) = chains {
            command.env("TESTKIT_CHAINS", chains);
        }
        run(&mut command)
    })
}
