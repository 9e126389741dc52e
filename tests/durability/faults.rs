//! Each call to the disk fails once, in each way: a clear error, nothing old is lost, and when the disk
//! works again so does everything, without a restart.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ldk_peer_storage::exchange::{Event, Record};
use ldk_peer_storage::store::{Store, StoreError};

use crate::after_loss::{write_to, Platter};
use crate::faulty_disk::{Disk, Fault, FAULTS};
use crate::node::{Around, Node, World, LONG};
use crate::random::Random;
use crate::store_support::{
    blob, foreign, integrity_check, node, open, revision, slot, snapshot, try_open,
};

/// What a store should hold, as a test counts it.
#[derive(Clone, Default)]
struct Model {
    slots: [u64; 4],
    generation: u64,
    events: u64,
    foreign: u64,
}

const OPERATIONS: u64 = 200;

fn len_of(number: u64) -> usize {
    // Mostly small; some over many pages.
    8 + (number * 7919) as usize
        % if number.is_multiple_of(9) {
            40_000
        } else {
            3_000
        }
}

/// What the operation of this number asks for, and what is true after it.
fn operation(number: u64, before: &Model) -> (Vec<Record>, Model) {
    let mut after = before.clone();
    let records = match number % 5 {
        0 | 1 => {
            let peer = number % 4;
            after.slots[peer as usize] = number;
            vec![slot(peer, number, len_of(number))]
        }
        2 => {
            after.generation += 1;
            let revision = revision(0, after.generation);
            vec![
                Record::HighestSeen(revision),
                Record::Snapshot(snapshot(revision, 1)),
            ]
        }
        3 => {
            after.events += 1;
            let newest = Some(revision(9, number));
            vec![Record::Event(Event::NotBackedUp { newest })]
        }
        _ => {
            after.foreign = number;
            let peer = number % 4;
            after.slots[peer as usize] = 0;
            let bytes = blob(number, len_of(number));
            vec![
                Record::SlotExpired(node(peer)),
                foreign(1, 1, revision(1, number), &bytes),
            ]
        }
    };
    (records, after)
}

#[track_caller]
fn assert_holds(store: &Store, model: &Model) {
    assert!(
        holds(store, model),
        "what is there is not what was accepted"
    );
}

fn holds(store: &Store, model: &Model) -> bool {
    let slots = model.slots.iter().enumerate().all(|(peer, number)| {
        let kept = store.slot(&node(peer as u64)).unwrap();
        let wanted = (*number > 0).then(|| blob(*number, len_of(*number)).to_vec());
        kept == wanted
    });
    let foreign = store.foreign_blobs().unwrap();
    let foreign = match &foreign[..] {
        [] => model.foreign == 0,
        [kept] => kept.blob == *blob(model.foreign, len_of(model.foreign)),
        _ => false,
    };
    slots && foreign
}

#[track_caller]
fn assert_holds_after_restart(dir: &Path, model: &Model) {
    let (store, state) = open(dir);
    assert_holds(&store, model);
    assert_eq!(state.highest_seen.generation, model.generation);
    let newest = state.snapshot.map_or(0, |s| s.revision.generation);
    assert_eq!(newest, model.generation);
    let mut events = 0;
    while let Some((id, _)) = store.next_event().unwrap() {
        store.acknowledge(id).unwrap();
        events += 1;
    }
    assert_eq!(events, model.events);
    store.close();
    assert_eq!(integrity_check(dir), "ok");
}

fn is_told_clearly(fault: Fault, error: &StoreError) -> bool {
    match fault {
        // A sync that fails for want of space is any failed sync to SQLite.
        Fault::Full | Fault::Short => {
            matches!(error, StoreError::DiskFull | StoreError::Io(_))
        }
        Fault::ReadOnly => matches!(error, StoreError::ReadOnly | StoreError::Io(_)),
        Fault::Error | Fault::Hang => matches!(error, StoreError::Io(_)),
    }
}

/// Of each operation every write, truncation and sync fails in turn.
#[test]
fn each_call_to_the_disk_may_fail_and_nothing_is_lost() {
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::watch(dir.path());
        let (store, _) = open(dir.path());
        let mut model = Model::default();
        let (mut failed, mut unnoticed) = (0, 0);
        let mut number = 0;
        for _ in 0..OPERATIONS {
            // The n-th call of each fails, until there are no more calls than that.
            for call in 0.. {
                number += 1;
                let (records, after) = operation(number, &model);
                disk.fail(fault, call..call + 1);
                let result = store.apply(records.clone());
                let failures = disk.heal();
                match &result {
                    Ok(()) => {
                        // What is moved from the log to the database later can fail without harm.
                        unnoticed += failures;
                        model = after;
                    }
                    Err(error) => {
                        failed += 1;
                        assert_eq!(failures, 1);
                        assert!(is_told_clearly(fault, error), "{fault:?}: {error:?}");
                        assert_holds(&store, &model);
                        store.apply(records).expect("it works by itself");
                        model = after;
                    }
                }
                assert_holds(&store, &model);
                if failures == 0 {
                    break;
                }
            }
        }
        store.close();
        println!(
            "{fault:?}: {OPERATIONS} operations, {failed} failed calls told, {unnoticed} without harm"
        );
        assert!(failed > 1000);
        assert_holds_after_restart(dir.path(), &model);
    }
}

/// Pages are moved from the log to the database now and then. That may fail at any of them, and nobody
/// needs to hear of it.
#[test]
fn a_fault_while_pages_leave_the_log_is_made_good_later() {
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::watch(dir.path());
        let (store, _) = open(dir.path());
        let mut model = Model::default();
        let (mut number, mut fired) = (0, 0);
        for call in (0..100).step_by(7) {
            disk.fail_database(fault, call);
            // A thousand pages make it worth it.
            for _ in 0..150 {
                number += 1;
                let peer = number % 4;
                store.apply(vec![slot(peer, number, 60_000)]).unwrap();
                model.slots[peer as usize] = number;
                if disk.failed() > 0 {
                    break;
                }
            }
            fired += disk.heal();
            for (peer, number) in model.slots.iter().enumerate().filter(|(_, n)| **n > 0) {
                let kept = store.slot(&node(peer as u64)).unwrap().unwrap();
                assert!(kept == *blob(*number, 60_000));
            }
        }
        store.close();
        println!("{fault:?}: {fired} faults while pages left the log");
        assert!(fired > 5);
        let (store, _) = open(dir.path());
        for (peer, number) in model.slots.iter().enumerate() {
            let kept = store.slot(&node(peer as u64)).unwrap().unwrap();
            assert!(kept == *blob(*number, 60_000));
        }
        store.close();
        assert_eq!(integrity_check(dir.path()), "ok");
    }
}

/// From the n-th call on nothing works, for a while: what was accepted is there, and what was refused is not;
/// but of the last that were refused one may come to light after a restart, if all but its sync worked.
#[test]
fn a_disk_that_stays_bad_for_a_while_keeps_what_it_has() {
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::watch(dir.path());
        let (mut store, _) = open(dir.path());
        let mut model = Model::default();
        let mut number = 0;
        for first in 0..60 {
            disk.fail(fault, first..u64::MAX);
            let mut refused = Vec::new();
            while refused.len() < 4 {
                number += 1;
                let (records, after) = operation(number, &model);
                match store.apply(records) {
                    Ok(()) => {
                        model = after;
                        refused.clear();
                    }
                    Err(error) => {
                        refused.push(after);
                        assert!(is_told_clearly(fault, &error), "{fault:?}: {error:?}");
                    }
                }
                assert_holds(&store, &model);
            }
            // It may also end while nothing works.
            if first % 3 == 0 {
                store.close();
                assert!(store.apply(Vec::new()).is_err());
                disk.heal();
                let (reopened, state) = open(dir.path());
                store = reopened;
                let events = |model: &Model| count_events(dir.path()) == model.events;
                let is_there = |model: &&Model| {
                    holds(&store, model)
                        && state.highest_seen.generation == model.generation
                        && events(model)
                };
                let possible = std::iter::once(&model).chain(&refused);
                let found = possible.clone().find(is_there);
                model = found.expect("all of a submission, or nothing").clone();
            }
            disk.heal();
            number += 1;
            let (records, after) = operation(number, &model);
            store.apply(records).expect("it works by itself");
            model = after;
            assert_holds(&store, &model);
        }
        store.close();
        assert_holds_after_restart(dir.path(), &model);
    }
}

fn count_events(dir: &Path) -> u64 {
    let raw = crate::store_support::raw(dir);
    let count: i64 = raw
        .query_row("SELECT count(*) FROM events", [], |row| row.get(0))
        .unwrap();
    count as u64
}

/// A whole node: its status says so, nothing leaves that is not durable, and it goes on by itself.
#[test]
fn a_node_whose_disk_fails_says_so_and_sends_nothing_that_is_not_durable() {
    // Mostly waiting for the next attempt, a second later.
    let cases: Vec<_> = FAULTS
        .iter()
        .flat_map(|fault| (0..12).map(|first| (*fault, first)))
        .collect();
    let told = AtomicUsize::new(0);
    for some in cases.chunks(24) {
        std::thread::scope(|scope| {
            for (fault, first) in some {
                let told = &told;
                scope.spawn(move || a_disk_fails_under_a_node(*fault, *first, told));
            }
        });
    }
    println!(
        "{} of {} faults stopped a node",
        told.load(Ordering::SeqCst),
        cases.len()
    );
    assert!(told.load(Ordering::SeqCst) > cases.len() / 2);
}

fn a_disk_fails_under_a_node(fault: Fault, first: u64, told: &AtomicUsize) {
    let mut random = Random::new(first);
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::watch(dir.path()).record();
    let (around, mut world) = (Around::new(), World::default());
    let mut node = Node::start(dir.path(), &around, &world).unwrap();
    for _ in 0..10 {
        node.lives_on(&mut random, &mut world);
        assert!(node.flush(&mut world, LONG));
    }
    let durable = world.offered.clone();

    // A push of ours and one for each guest, while it fails from that call on.
    disk.fail(fault, first * 5..u64::MAX);
    let before = (world.left.len(), world.highest());
    node.changes(&mut random);
    for guest in crate::node::GUESTS {
        node.guest_sends(guest, &mut world);
    }
    let end = Instant::now() + LONG;
    loop {
        node.sends(&mut world);
        let failure = node.storage.status().storage_failure;
        if let Some(error) = failure {
            assert!(is_told_clearly(fault, &error), "{fault:?}: {error:?}");
            let report = node.storage.on_background(Duration::from_millis(5));
            assert!(!report.complete && report.status.storage_failure.is_some());
            told.fetch_add(1, Ordering::SeqCst);
            break;
        }
        // So many calls it may not need: all is written.
        if node.flush(&mut world, Duration::ZERO) && disk.failed() == 0 {
            break;
        }
        assert!(
            Instant::now() < end,
            "it neither works nor says that it does not"
        );
    }
    // What has left is durable, whatever becomes of the rest (safety rule 5).
    node.sends(&mut world);
    if world.left.len() > before.0 {
        let mut platter = Platter::default();
        disk.ops()
            .iter()
            .for_each(|op| platter.play(op, &mut random));
        let copy = tempfile::tempdir().unwrap();
        write_to(copy.path(), &platter.after_loss(&mut random), &mut random);
        // Nobody tells it what has left: it has to know by itself.
        let mut elsewhere = World {
            kept: Default::default(),
            ..world.clone()
        };
        let mut later = Node::start(copy.path(), &around, &elsewhere).unwrap();
        later.assert_kept(&durable, &mut elsewhere);
        later.assert_goes_on(&mut random, &mut elsewhere);
        later.close(&mut elsewhere);
    }

    disk.heal();
    assert!(node.flush(&mut world, LONG), "it does not go on by itself");
    assert_eq!(node.storage.status().storage_failure, None);
    assert!(world.highest() > before.1, "its backup has followed");
    // It was accepted: it is kept now.
    node.assert_kept(&world.offered.clone(), &mut world);
    node.assert_goes_on(&mut random, &mut world);
    node.assert_no_alarm();
    assert!(node.close(&mut world));
    let mut node = Node::start(dir.path(), &around, &world).unwrap();
    node.assert_kept(&world.offered.clone(), &mut world);
    assert!(node.close(&mut world));
    assert_eq!(integrity_check(dir.path()), "ok");
}

/// A refused store still opens in another place of the same process.
#[test]
fn a_directory_that_cannot_be_made_is_an_error_and_works_when_it_can() {
    for fault in FAULTS {
        for call in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let disk = Disk::watch(dir.path());
            disk.fail(fault, call..call + 1);
            let opened = try_open(dir.path());
            let failures = disk.heal();
            match opened {
                Ok((store, _)) => store.apply(vec![slot(1, 1, 10)]).unwrap(),
                Err(error) => assert!(
                    is_told_clearly(fault, &error) || matches!(error, StoreError::Io(_)),
                    "{fault:?} at call {call}: {error:?}"
                ),
            }
            let (store, _) = open(dir.path());
            store.apply(vec![slot(1, 2, 10)]).unwrap();
            store.close();
            assert_eq!(integrity_check(dir.path()), "ok");
            if failures == 0 {
                assert!(call > 10);
                break;
            }
        }
    }
}
