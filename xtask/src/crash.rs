//! `cargo xtask crash`: power cuts, failing disks and `kill -9`, many more times than in the everyday tests.

use std::process::Command;

use crate::shell::{cargo, run, step, Outcome};
use crate::test::{EVERY_FEATURE, REPLAY};

/// So often each random test does it; read in `tests/durability/times.rs`.
const TIMES: &str = "PEER_STORAGE_CRASHES";

pub struct Options {
    times: u32,
}

impl Options {
    pub fn parse(args: &[String]) -> Outcome<Self> {
        let number = |n: &String| n.parse().ok().filter(|n| *n > 0);
        match args {
            [] => Ok(Self { times: 1000 }),
            [times, n] if times == "--times" => Ok(Self {
                times: number(n).ok_or("--times wants a number above 0")?,
            }),
            other => Err(format!(
                "cargo xtask crash does not know {}",
                other.join(" ")
            )),
        }
    }
}

pub fn crash(options: &Options) -> Outcome {
    // Built as `cargo xtask test` builds them, so that what is built is used again.
    let tests = |targets: &[&str], filter: &[&str]| -> Command {
        let mut command = cargo();
        command
            .args(["test", "--workspace", "--exclude", REPLAY])
            .args(["--features", EVERY_FEATURE])
            .args(targets.iter().flat_map(|target| ["--test", *target]))
            .arg("--")
            .args(filter)
            .arg("--nocapture")
            .env(TIMES, options.times.to_string());
        command
    };
    step("power cuts, faults and kills", || {
        run(&mut tests(&["durability", "exchange_retention"], &[]))
    })?;
    step("kills of the storer's program", || {
        run(&mut tests(&["cli"], &["kills::"]))
    })
}
