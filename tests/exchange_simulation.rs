//! The whole protocol in virtual time: wallets, their peers of every kind, crashes, thefts, liars.
//!
//! `SIM_SEED=n cargo test --test exchange_simulation` repeats one run and prints its end;
//! `SIM_RUNS=n` changes how many runs there are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod simulation;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use simulation::world::{Counts, World};

const RUNS: u64 = 10_000;
const THREADS: u64 = 2;

#[test]
fn the_safety_rules_hold_in_every_world() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("SIM_SEED") {
        if let Err(end) = run(seed, true) {
            panic!("{end}");
        }
        return;
    }
    let runs = number("SIM_RUNS").unwrap_or(RUNS);
    let started = Instant::now();
    let counts = run_all(runs);
    println!("{runs} runs in {:.1} s", started.elapsed().as_secs_f64());
    for (what, count) in &counts.0 {
        println!("{count:>10} {what}");
    }
    if runs >= RUNS {
        each_situation_occurred(&counts);
    }
}

/// So that the simulation cannot become empty without anyone noticing.
fn each_situation_occurred(counts: &Counts) {
    for (what, least) in SITUATIONS {
        let count = counts.0.get(what).copied().unwrap_or(0);
        assert!(count >= *least, "{what}: {count} times instead of {least}");
    }
}

const SITUATIONS: &[(&str, u64)] = &[
    ("pushes", 50_000),
    ("pushes that outlived their connection", 500),
    ("payments", 10_000),
    ("storers that held the newest in the end", 3_000),
    ("crashes of ours", 5_000),
    ("crashes of storers", 5_000),
    ("clock jumps", 1_000),
    ("wiped phones", 500),
    ("restores", 300),
    ("lost SDK directories", 500),
    ("adoptions", 300),
    ("second devices", 200),
    ("put back with the SDK", 100),
    ("put back without the SDK", 100),
    ("foreign blobs kept", 1_000),
    ("other installations", 500),
    ("merges", 300),
    ("conflicts", 5),
    ("unreadable", 300),
    ("backups that were ahead of the wallet", 50),
    ("136 that proved a device stale", 300),
    ("136 of ours that left after two seconds", 10_000),
    ("numbers that are not true", 50),
    ("lies that were found out", 20),
    ("false numbers", 10),
    ("errors of liars", 100),
    ("errors that were forwarded", 100),
    ("errors before the 136 of a stale device", 30),
    ("messages of peers that were kept", 5_000),
    ("messages of peers that were dropped", 2_000),
    ("unknown channels", 1_000),
    ("alarms: stale state", 200),
    ("alarms: this device is current", 20),
    ("alarms: refused to go on", 5),
    ("alarms: rolled back", 2),
    ("alarms: lost backup", 1),
    ("alarms that ended", 20),
    ("capacity: small", 500),
    ("capacity: large", 1_000),
    ("refusals", 300),
    ("omissions", 100),
    ("blobs that waited for a token", 100),
    ("warnings to peers", 500),
    ("slots that expired", 10),
    ("readings of monitors", 10_000),
    ("pushes of states", 5_000),
    ("restores with monitors", 20),
    ("snapshots with restored monitors", 20),
    ("storers that held the newest monitors in the end", 1_000),
];

fn run_all(runs: u64) -> Counts {
    let failed = AtomicU64::new(u64::MAX);
    let counts = std::thread::scope(|scope| {
        let worker = |first: u64| {
            let failed = &failed;
            move || {
                let mut counts = Counts::default();
                for seed in (first..runs).step_by(THREADS as usize) {
                    if failed.load(Ordering::Relaxed) != u64::MAX {
                        break;
                    }
                    match run(seed, false) {
                        Ok(more) => counts.merge(more),
                        Err(_) => {
                            failed.fetch_min(seed, Ordering::Relaxed);
                        }
                    }
                }
                counts
            }
        };
        let workers: Vec<_> = (0..THREADS).map(|n| scope.spawn(worker(n))).collect();
        let mut counts = Counts::default();
        for worker in workers {
            counts.merge(worker.join().unwrap());
        }
        counts
    });
    let failed = failed.into_inner();
    if failed != u64::MAX {
        let end = run(failed, true).err().unwrap_or_default();
        panic!("{end}\nSIM_SEED={failed} repeats it");
    }
    counts
}

/// One run. The error is the end of its story.
fn run(seed: u64, traced: bool) -> Result<Counts, String> {
    let mut world = World::new(seed, traced);
    let played = catch_unwind(AssertUnwindSafe(|| {
        world.play();
        world.calm_down();
    }));
    match played {
        Ok(()) => {
            world.counts.0.insert("steps", world.steps);
            Ok(world.counts)
        }
        Err(broken) => {
            let trace = world.trace.unwrap_or_default();
            let last = trace.len().saturating_sub(60);
            let text = broken.downcast::<String>().map(|text| *text);
            let text = text.unwrap_or_else(|_| "a panic, see above".to_owned());
            Err(format!("seed {seed}\n{}\n{text}", trace[last..].join("\n")))
        }
    }
}
