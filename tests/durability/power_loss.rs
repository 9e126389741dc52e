//! The power goes at any moment, and what was not synced is there in part.

use std::collections::BTreeMap;
use std::path::Path;

use crate::after_loss::{write_to, Platter};
use crate::faulty_disk::{Disk, Fault, Op, FAULTS};
use crate::node::{Around, Node, World, GUESTS, LONG};
use crate::random::Random;
use crate::store_support::integrity_check;
use crate::times::{first_seed, times};

/// So many losses of power in one life.
const LOSSES_OF_A_LIFE: u64 = 25;
/// What happens in one.
const EVENTS: usize = 120;

/// One life: what the disk was told, and what was true outside at each note in it.
pub struct Life {
    ops: Vec<Op>,
    notes: Vec<Note>,
    around: Around,
    end: World,
}

/// From this place in the record on.
struct Note {
    place: usize,
    /// The blobs that were accepted and durable, by guest.
    acknowledged: BTreeMap<u64, u64>,
    /// How many backups had left.
    left: usize,
}

/// Lives for a while. `faults`: with a disk that fails now and then.
pub fn live(random: &mut Random, dir: &Path, faults: bool) -> Life {
    let disk = Disk::watch(dir).record();
    let (around, mut world) = (Around::new(), World::default());
    let mut notes = Vec::new();
    let mut acknowledged = BTreeMap::new();
    let mut node = Node::start(dir, &around, &world).unwrap();
    let events = if faults { EVENTS / 4 } else { EVENTS };
    for event in 0..events {
        if faults && event % 10 == 5 {
            let fault = random.pick(&FAULTS).unwrap_or(Fault::Full);
            let first = random.between(0, 30);
            disk.fail(fault, first..first + random.between(1, 3));
        }
        node.lives_on(random, &mut world);
        // A process may also die before anything was acknowledged.
        if random.percent(70) {
            assert!(node.flush(&mut world, LONG), "it does not recover");
            acknowledged = world.offered.clone();
        }
        let left = world.left.len();
        if notes
            .last()
            .is_none_or(|note: &Note| note.left != left || note.acknowledged != acknowledged)
        {
            notes.push(Note {
                place: disk.note(),
                acknowledged: acknowledged.clone(),
                left,
            });
        }
        if event % 50 == 49 {
            // In order, so that logs are emptied and made anew as well.
            let complete = node.flush(&mut world, LONG) && node.close(&mut world);
            assert!(complete, "it does not end in order");
            node = Node::start(dir, &around, &world).unwrap();
        }
    }
    drop(node);
    Life {
        ops: disk.ops(),
        notes,
        around,
        end: world,
    }
}

impl Life {
    /// The power goes at this place in the record; what the disk holds then is opened.
    fn lose_power(&self, place: usize, platter: &Platter, random: &mut Random, dir: &Path) {
        let note = self.notes.iter().rev().find(|note| note.place <= place);
        let nothing = BTreeMap::new();
        let acknowledged = note.map_or(&nothing, |note| &note.acknowledged);
        // What the peers have by then.
        let mut world = self.end.clone();
        world.left.truncate(note.map_or(0, |note| note.left));
        let kept = world
            .left
            .iter()
            .map(|left| (left.keeper, left.blob.clone()));
        world.kept = kept.collect();

        write_to(dir, &platter.after_loss(random), random);
        let mut node = Node::start(dir, &self.around, &world).unwrap();
        node.assert_kept(acknowledged, &mut world);
        node.assert_goes_on(random, &mut world);
        node.assert_no_alarm();
        for guest in GUESTS {
            node.guest_sends(guest, &mut world);
        }
        node.time_passes(std::time::Duration::from_secs(61));
        assert!(node.flush(&mut world, LONG));
        node.assert_kept(&world.offered.clone(), &mut world);
        assert!(node.close(&mut world));
        assert_eq!(integrity_check(dir), "ok");
    }

    /// At so many places, in order.
    fn lose_power_at_random(&self, losses: u64, random: &mut Random) {
        let last = self.ops.len();
        let mut places: Vec<_> = (0..losses).map(|_| 1 + random.below(last)).collect();
        places.sort_unstable();
        let mut platter = Platter::default();
        let mut played = 0;
        for place in places {
            for op in &self.ops[played..place] {
                platter.play(op, random);
            }
            played = place;
            let dir = tempfile::tempdir().unwrap();
            self.lose_power(place, &platter, random, dir.path());
        }
    }
}

/// Does it with one seed after the other, and names the one that failed.
fn with_seeds(lives: u64, what: impl Fn(&mut Random)) {
    for seed in first_seed()..first_seed() + lives {
        let named = NameSeed(seed);
        what(&mut Random::new(seed));
        std::mem::forget(named);
    }
}

struct NameSeed(u64);

impl Drop for NameSeed {
    fn drop(&mut self) {
        eprintln!("failed with PEER_STORAGE_SEED={}", self.0);
    }
}

#[test]
fn what_was_accepted_survives_a_power_loss_at_any_moment() {
    let losses = times();
    let lives = losses.div_ceil(LOSSES_OF_A_LIFE);
    with_seeds(lives, |random| {
        let dir = tempfile::tempdir().unwrap();
        let life = live(random, dir.path(), false);
        life.lose_power_at_random(LOSSES_OF_A_LIFE, random);
    });
    println!("{} losses of power", lives * LOSSES_OF_A_LIFE);
}

#[test]
fn what_was_accepted_survives_a_power_loss_after_syncs_that_failed() {
    let losses = times();
    let lives = losses.div_ceil(LOSSES_OF_A_LIFE);
    with_seeds(lives, |random| {
        let dir = tempfile::tempdir().unwrap();
        let life = live(random, dir.path(), true);
        life.lose_power_at_random(LOSSES_OF_A_LIFE, random);
    });
    println!("{} losses of power", lives * LOSSES_OF_A_LIFE);
}

/// The test of the test: where the syncs of the log are ignored, it fails.
#[test]
fn a_disk_that_lies_about_its_syncs_is_noticed() {
    let mut random = Random::new(7);
    let dir = tempfile::tempdir().unwrap();
    let mut life = live(&mut random, dir.path(), false);
    let is_sync = |op: &Op| matches!(op, Op::Sync { .. });
    life.ops.iter_mut().for_each(|op| {
        if is_sync(op) {
            *op = Op::Note;
        }
    });
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        life.lose_power_at_random(LOSSES_OF_A_LIFE, &mut random);
    }));
    assert!(noticed.is_err());
}
