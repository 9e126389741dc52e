//! `kill -9` at any moment, and at each write one after the other: a child process lives under load, and
//! says what it has accepted and what has left it.
//!
//! The children are this test program again, told by the environment what to do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bitcoin::hex::{DisplayHex, FromHex};

use crate::faulty_disk::{Disk, Fault};
use crate::killing::{self, Moment};
use crate::node::{key, Around, Node, World, GUESTS, KEEPERS};
use crate::random::Random;
use crate::store_support::integrity_check;
use crate::times::{first_seed, times};

const HOME: &str = "DURABILITY_TEST_HOME";
const LIFE: &str = "DURABILITY_TEST_LIFE";
const NUMBERS: &str = "DURABILITY_TEST_NUMBERS";
const HANG_AT: &str = "DURABILITY_TEST_HANG_AT";

/// It is looked at so often.
const GLANCE: Duration = Duration::from_millis(2);
/// A child that says nothing for so long is broken.
const DEADLINE: Duration = Duration::from_secs(60);

/// Many lives of one directory, and what is known of them.
struct Lives {
    home: tempfile::TempDir,
    world: World,
    random: Random,
    number: u64,
    /// What was accepted in time, over all lives.
    accepted: u64,
}

impl Lives {
    fn new(seed: u64) -> Lives {
        Lives {
            home: killing::home(),
            world: World::default(),
            random: Random::new(seed),
            number: 0,
            accepted: 0,
        }
    }

    /// One more life, killed after it has had so long, or where it hangs at this call to the disk.
    fn live(&mut self, after: Duration, hang_at: Option<u64>) {
        self.number += 1;
        for (keeper, blob) in &self.world.kept {
            std::fs::write(self.home.path().join(format!("keeper-{keeper}")), blob).unwrap();
        }
        let mut child = self.spawn(hang_at);
        let lines = lines(&mut child);
        let mut said = Vec::new();
        let end = Instant::now() + DEADLINE;
        let begin = Moment::now(child.id());
        while Instant::now() < end {
            match lines.recv_timeout(GLANCE) {
                Ok((_, line)) if line == "hangs" => break,
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended by itself"),
            }
            if hang_at.is_none() && begin.is_over(after, child.id()) {
                break;
            }
        }
        assert!(Instant::now() < end, "it neither hangs nor goes on");
        let killed = killing::kill(&mut child);
        // What it said before it died counts as well.
        said.extend(lines);

        let mut durable = BTreeMap::new();
        // Of one more it may not have said that it took it.
        self.world.numbers += 1;
        for (taken, line) in said {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["took", guest, number] => {
                    let (guest, number) = (guest.parse().unwrap(), number.parse().unwrap());
                    self.world.numbers = number + 1;
                    if taken.is_in_time_for(&killed) {
                        durable.insert(guest, number);
                        self.accepted += 1;
                    }
                }
                ["left", keeper, blob] => {
                    let blob = Vec::from_hex(blob).unwrap();
                    self.world.has_left(&key(), keeper.parse().unwrap(), blob);
                }
                _ => {}
            }
        }
        let numbers = self.world.numbers;
        self.world.offered = GUESTS.map(|guest| (guest, numbers)).collect();
        self.check(&durable);
    }

    fn check(&mut self, durable: &BTreeMap<u64, u64>) {
        let dir = self.home.path().join("data");
        let around = Around::with_stamp(self.stamp() + 900);
        let mut node = Node::start(&dir, &around, &self.world).unwrap();
        node.assert_kept(durable, &mut self.world);
        node.assert_goes_on(&mut self.random, &mut self.world);
        node.assert_no_alarm();
        assert!(node.close(&mut self.world));
        assert_eq!(integrity_check(&dir), "ok");
    }

    fn stamp(&self) -> u64 {
        self.number * 100_000
    }

    fn spawn(&self, hang_at: Option<u64>) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "kills::child_lives", "--ignored", "--nocapture"])
            .env(HOME, self.home.path())
            .env(LIFE, self.stamp().to_string())
            .env(NUMBERS, self.world.numbers.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        if let Some(call) = hang_at {
            command.env(HANG_AT, call.to_string());
        }
        command.spawn().unwrap()
    }
}

fn lines(child: &mut Child) -> Receiver<(Moment, String)> {
    let (sender, receiver) = channel();
    let process = child.id();
    let output = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        // The last one may have been cut by the kill: it says nothing.
        while output.read_line(&mut line).is_ok() && line.ends_with('\n') {
            let whole = line.trim_end().to_owned();
            let _ = sender.send((Moment::now(process), whole));
            line.clear();
        }
    });
    receiver
}

#[test]
fn what_was_accepted_survives_kill_9_at_any_moment() {
    let kills = times();
    let mut lives = Lives::new(first_seed());
    for _ in 0..kills {
        // Every fourth while it starts.
        let longest = lives.random.pick(&[40, 400, 400, 400]).unwrap_or(400);
        let after = Duration::from_millis(lives.random.between(0, longest));
        lives.live(after, None);
    }
    println!("{kills} kills, {} blobs accepted in time", lives.accepted);
    assert!(lives.accepted > 0);
}

#[test]
fn what_was_accepted_survives_kill_9_at_each_write() {
    let kills = times();
    let mut lives = Lives::new(first_seed());
    for kill in 0..kills {
        // The first writes make the directory, those of later lives open it.
        if kill % 200 == 0 {
            lives = Lives::new(first_seed() + kill);
        }
        // Close together among the first, and far enough to meet everything that a life does.
        let step = if kills < 200 { 7 } else { 3 };
        let call = kill % 200 * step;
        lives.live(Duration::ZERO, Some(call));
    }
    println!("{kills} kills, each at another write");
}

/// Not a test of its own: lives until it is killed.
#[test]
#[ignore = "run by the tests above in a process of its own"]
fn child_lives() {
    let Some(home) = std::env::var_os(HOME) else {
        return;
    };
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let home = Path::new(&home);
    let dir = home.join("data");
    let disk = number(HANG_AT).map(|call| {
        let disk = Disk::watch(&dir);
        disk.fail(Fault::Hang, call..call + 1);
        disk
    });
    let life = number(LIFE).unwrap();
    let mut random = Random::new(life);
    let mut world = World {
        numbers: number(NUMBERS).unwrap(),
        ..World::default()
    };
    for keeper in KEEPERS {
        if let Ok(blob) = std::fs::read(home.join(format!("keeper-{keeper}"))) {
            world.has_left(&key(), keeper, blob);
        }
    }
    let mut said = world.left.len();
    let mut node = Node::start(&dir, &Around::with_stamp(life), &world).unwrap();
    // Bounded, should the parent die.
    for _ in 0..20_000 {
        if let Some(guest) = node.lives_on(&mut random, &mut world) {
            println!("\ntook {guest} {}", world.offered[&guest]);
        }
        node.flush(&mut world, Duration::from_millis(1));
        for left in &world.left[said..] {
            println!("\nleft {} {}", left.keeper, left.blob.to_lower_hex_string());
        }
        said = world.left.len();
    }
    drop(disk);
}
