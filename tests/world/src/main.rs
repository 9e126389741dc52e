//! The world that a scenario runs against: a regtest chain with its Esplora server, peers, and the
//! Lightning node of the wallet that is backed up. One process for one scenario; storers are more of them.
//!
//! It reads commands from its standard input, one JSON object a line, and answers each with one line.
//! It ends when its standard input does. `README.md` documents every command; a test compares the two.
//!
//! ```text
//! runner (Rust, Kotlin, Swift) ── the library under test ──TCP──▶ peers ◀──TCP── the wallet's node
//!        │                                   └──TCP──▶ peer-storage serve, a process each
//!        └──── lines of JSON ────▶ world: chain, Esplora server, peers, the wallet's node
//! ```
//!
//! The wallet's node is stock LDK: it knows nothing of this project, as the node of a host that cannot be
//! extended. Whoever backs it up does so while it is stopped.

// A command that cannot be carried out panics, and that is its answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answer;
mod command;
mod guard;
mod host;
mod peer;
mod report;
mod storer;
#[path = "../../support/mod.rs"]
mod support;
mod world;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use command::Command;
use world::World;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == guard::GUARD) {
        return guard::main(args);
    }
    play();
    ExitCode::SUCCESS
}

fn play() {
    answer::tell_of_panics();
    let mut world = World::default();
    let mut stdout = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let answer = match Command::read(&line) {
            Ok(command) => answer::to(|| world.obey(command)),
            Err(error) => answer::failed(&error),
        };
        if writeln!(stdout, "{answer}")
            .and_then(|()| stdout.flush())
            .is_err()
        {
            break;
        }
    }
}
