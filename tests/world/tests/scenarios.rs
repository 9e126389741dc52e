//! The scenarios, through the functions that Kotlin and Swift call.
//!
//! `tests/scenarios/README.md` says what every step means. `world` talks to the process that a scenario runs
//! against; `stage` carries steps out; `calls` are those of the library; `child` is the process that is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "scenarios/answer.rs"]
mod answer;
#[path = "scenarios/calls.rs"]
mod calls;
#[path = "scenarios/child.rs"]
mod child;
#[path = "scenarios/device.rs"]
mod device;
#[path = "scenarios/recovery.rs"]
mod recovery;
#[path = "scenarios/stage.rs"]
mod stage;
#[path = "scenarios/step.rs"]
mod step;
#[path = "scenarios/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

use step::Scenario;

/// A test for each file, of the same name.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            stage::play(&Scenario::read(&folder().join(concat!(stringify!($name), ".json"))));
        })*

        #[test]
        fn every_scenario_is_played_here() {
            let played: BTreeSet<&str> = [$(stringify!($name)),*].into();
            let found: BTreeSet<String> = names().collect();
            assert_eq!(found, played.into_iter().map(str::to_owned).collect());
        }
    };
}

scenarios!(
    background_push,
    bad_storers,
    channels_reported,
    closed_channel,
    dropped_channel,
    killed_in_background,
    killed_storer,
    new_wallet,
    offline,
    offline_throughout,
    recovery,
    recovery_from_ours,
    restore,
    resume_and_verify,
    second_device,
    stale_state,
);

fn names() -> impl Iterator<Item = String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap());
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// Not a test: the process that a scenario kills. See [`child`].
#[test]
fn child_process() {
    child::main();
}
