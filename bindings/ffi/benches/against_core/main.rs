//! What the bindings cost beside the core: opening, a call, and a background push of 64 KiB to five peers.
//!
//! Three sides do the same in turns, with the same peers on this machine: the core in Rust, the bindings called
//! from Rust, and the bindings called from the JVM. The last one is a program that `cargo xtask figures` builds
//! and names in `PEER_STORAGE_JVM`; without it there are two sides.
//!
//! A push through the bindings may take twice as long as the core's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod core_side;
mod jvm_side;
mod keepers;
mod rust_side;

use std::path::Path;
use std::process::exit;
use std::time::{Duration, Instant};

use core_side::CoreSide;
use jvm_side::JvmSide;
use keepers::Keepers;
use rusqlite::Connection;
use rust_side::RustSide;

const LIMIT: f64 = 2.0;
/// The sides take turns, so that a slow spell of the machine meets all of them.
const ROUNDS: u8 = 15;
/// Until a peer's capacity is known, and the JVM has compiled what it runs often.
const WARM_UP: u8 = 5;
/// Random, and as much as a backup has room for beside the rest.
const APP_DATA: usize = 60_000;

/// A wallet whose backup is kept by the same peers as those of the others.
trait Side {
    fn name(&self) -> &'static str;
    /// Opens a directory that was used before, and closes it again, which does not count.
    fn open(&mut self) -> Duration;
    /// The app comes to the front: peers are visited from here on.
    fn resume(&mut self);
    /// The wallet changes: every peer is to get a new backup.
    fn change(&mut self, data: Vec<u8>);
    /// The app is left. Returns when all is pushed and closed.
    fn push(&mut self) -> Duration;
    /// A call that does next to nothing, one that returns a record, and one that another thread answers. None:
    /// there is no such call.
    fn calls(&mut self) -> Option<[Duration; 3]>;
}

fn main() {
    let home = tempfile::tempdir().unwrap();
    let dir = |name: &str| home.path().join(name);
    let keepers = Keepers::start();
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(CoreSide::new(&dir("core"), 1, &keepers)),
        Box::new(RustSide::new(&dir("rust"), 2, &keepers)),
    ];
    match JvmSide::start(&dir("jvm"), 3, &keepers) {
        Some(jvm) => sides.push(Box::new(jvm)),
        None => println!("no JVM: `cargo xtask figures` brings one"),
    }

    let mut pushes = vec![Vec::new(); sides.len()];
    for round in 0..WARM_UP + ROUNDS {
        for (side, times) in sides.iter_mut().zip(&mut pushes) {
            side.resume();
            keepers.wait_idle();
            let before = keepers.received();
            side.change(random(round, APP_DATA));
            let time = side.push();
            if round >= WARM_UP {
                keepers.wait_received(&before, side.name());
                times.push(time);
            }
        }
    }

    let mut opens = vec![Vec::new(); sides.len()];
    let mut bare = Vec::new();
    let database = used_database(&dir("core"), &dir("bare"));
    for round in 0..WARM_UP + ROUNDS {
        let mut times: Vec<_> = sides.iter_mut().map(|side| side.open()).collect();
        if round >= WARM_UP {
            bare.push(open_bare(&database));
            opens
                .iter_mut()
                .zip(times.drain(..))
                .for_each(|(o, time)| o.push(time));
        }
    }

    println!(
        "\nopening a directory, against SQLite alone on the same file ({})",
        shown(median(&bare))
    );
    for (side, times) in sides.iter().zip(&opens) {
        let time = median(times);
        println!(
            "  {:<22} {:>10}  {:>6.2} times",
            side.name(),
            shown(time),
            ratio(time, median(&bare))
        );
    }
    println!("\na call: one that does nothing, `status`, and `next_event`, which is asynchronous");
    for side in &mut sides {
        let name = side.name();
        if let Some(calls) = side.calls() {
            let [nothing, status, event] = calls.map(shown);
            println!("  {name:<22} {nothing:>10}  {status:>10}  {event:>10}");
        }
    }
    println!(
        "\na background push of 64 KiB to {} peers, against the core's own",
        keepers::COUNT
    );
    let own = median(&pushes[0]);
    let mut worst = 0.0_f64;
    for (side, times) in sides.iter().zip(&pushes) {
        let time = median(times);
        worst = worst.max(ratio(time, own));
        println!(
            "  {:<22} {:>10}  {:>6.2} times (limit {LIMIT})",
            side.name(),
            shown(time),
            ratio(time, own)
        );
    }
    if worst > LIMIT {
        eprintln!("the bindings are too slow");
        exit(1);
    }
}

/// A copy of what a side has written, with no process at it.
fn used_database(from: &Path, to: &Path) -> std::path::PathBuf {
    const NAME: &str = "peer-storage.sqlite";
    std::fs::create_dir(to).unwrap();
    std::fs::copy(from.join(NAME), to.join(NAME)).unwrap();
    to.join(NAME)
}

/// What any app does that opens a database to write: a log, and a read, so that the file is looked at.
fn open_bare(path: &Path) -> Duration {
    let start = Instant::now();
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT;",
        )
        .unwrap();
    let tables = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0));
    assert!(tables.unwrap_or(0_i64) > 0);
    start.elapsed()
}

/// Not to be compressed or guessed, and the same in each run.
fn random(round: u8, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(round);
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn ratio(time: Duration, to: Duration) -> f64 {
    time.as_secs_f64() / to.as_secs_f64()
}

fn shown(time: Duration) -> String {
    match time.as_nanos() {
        nanos @ 0..10_000 => format!("{nanos} ns"),
        nanos @ 10_000..10_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        nanos => format!("{:.1} ms", nanos as f64 / 1e6),
    }
}
