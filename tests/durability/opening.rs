//! Faults and losses of power while a directory is made, opened, closed or brought to a newer schema: what
//! it held it holds.

use std::path::Path;

use ldk_peer_storage::exchange::Record;
use ldk_peer_storage::store::{move_aside, StoreError};

use crate::after_loss::{write_to, Platter};
use crate::faulty_disk::{Disk, Fault, FAULTS};
use crate::random::Random;
use crate::store_support::{
    blob, integrity_check, open, raw, revision, slot, snapshot, try_open, DATABASE,
};
use crate::upgrade::{assert_holds_the_sample, sample, schema_of, NEWEST};

/// A directory as a killed process leaves it: much of it stands in the log alone.
fn with_a_log(dir: &Path) {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = open(home.path());
    store.apply(vec![slot(1, 1, 40_000)]).unwrap();
    let newest = revision(0, 3);
    let records = vec![
        Record::HighestSeen(newest),
        Record::Snapshot(snapshot(newest, 1)),
        slot(2, 2, 20_000),
    ];
    store.apply(records).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{DATABASE}{suffix}");
        std::fs::copy(home.path().join(&name), dir.join(&name)).unwrap();
    }
}

#[track_caller]
fn assert_is_all_there(dir: &Path) {
    let (store, state) = open(dir);
    for (peer, len) in [(1, 40_000), (2, 20_000)] {
        let kept = store.slot(&crate::store_support::node(peer)).unwrap();
        assert!(kept.unwrap() == *blob(peer, len));
    }
    assert_eq!(state.highest_seen, revision(0, 3));
    assert_eq!(state.snapshot, Some(snapshot(revision(0, 3), 1)));
    store.close();
    assert_eq!(integrity_check(dir), "ok");
}

fn is_no_verdict_on_the_file(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::DiskFull
            | StoreError::Io(_)
            | StoreError::ReadOnly
            | StoreError::Inaccessible(_)
    )
}

/// Whoever is told that a file is damaged may move it aside: a disk that fails must not look like that.
#[test]
fn a_fault_while_opening_or_closing_costs_nothing_and_is_not_taken_for_damage() {
    for fault in FAULTS {
        let mut index_failed = false;
        for call in 0.. {
            let dir = tempfile::tempdir().unwrap();
            with_a_log(dir.path());
            let disk = Disk::watch(dir.path());
            disk.fail(fault, call..call + 1);
            match try_open(dir.path()) {
                // The log is emptied at the end.
                Ok((store, _)) => store.close(),
                Err(error) => {
                    assert!(is_no_verdict_on_the_file(&error), "{fault:?}: {error:?}");
                    // SQLite has a name of its own for a full disk there.
                    let is_full = matches!(fault, Fault::Full | Fault::Short);
                    if is_full && disk.index_failed() {
                        assert_eq!(error, StoreError::DiskFull);
                    }
                }
            }
            index_failed |= disk.index_failed();
            let failures = disk.heal();
            assert_is_all_there(dir.path());
            if failures == 0 {
                assert!(call > 5, "{call} calls are too few");
                break;
            }
        }
        assert!(index_failed);
    }
}

#[test]
fn a_power_loss_while_opening_or_closing_costs_nothing() {
    let mut random = Random::new(3);
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let disk = Disk::watch(dir.path()).record();
    for _ in 0..2 {
        open(dir.path()).0.close();
    }
    assert_every_loss_is_survived(&disk, &mut random, assert_is_all_there);
}

/// Plays the record back, and cuts the power three times after each thing that happened.
fn assert_every_loss_is_survived(disk: &Disk, random: &mut Random, check: impl Fn(&Path)) -> usize {
    let ops = disk.ops();
    let mut platter = Platter::default();
    // The files that were there before are found one by one.
    let found = |op: &crate::faulty_disk::Op| matches!(op, crate::faulty_disk::Op::Found { .. });
    let begins = ops.iter().rposition(found).map_or(0, |last| last + 1);
    for (place, op) in ops.iter().enumerate() {
        platter.play(op, random);
        if place + 1 < begins {
            continue;
        }
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            write_to(dir.path(), &platter.after_loss(random), random);
            check(dir.path());
        }
    }
    ops.len()
}

#[test]
fn a_power_loss_while_a_directory_is_made_leaves_none_or_a_whole_one() {
    let mut random = Random::new(4);
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::watch(dir.path()).record();
    open(dir.path()).0.close();
    let ops = assert_every_loss_is_survived(&disk, &mut random, |dir| {
        let (store, _) = open(dir);
        store.apply(vec![slot(1, 1, 10)]).unwrap();
        store.close();
        assert_eq!(integrity_check(dir), "ok");
    });
    assert!(ops > 20);
}

#[test]
fn a_migration_that_fails_at_any_write_leaves_the_old_schema_or_the_new() {
    for fault in FAULTS {
        for call in 0.. {
            let dir = tempfile::tempdir().unwrap();
            sample(1, dir.path());
            let disk = Disk::watch(dir.path());
            disk.fail(fault, call..call + 1);
            let opened = try_open_sample(dir.path());
            let failures = disk.heal();
            if let Err(error) = opened {
                assert!(is_no_verdict_on_the_file(&error), "{fault:?}: {error:?}");
            }
            let schema = schema_of(&raw(dir.path()));
            assert!([1, NEWEST].contains(&schema));
            assert_holds_the_sample(dir.path(), 1);
            if failures == 0 {
                assert!(call > 5);
                break;
            }
        }
    }
}

#[test]
fn a_power_loss_at_any_write_of_a_migration_leaves_the_old_schema_or_the_new() {
    let mut random = Random::new(5);
    let dir = tempfile::tempdir().unwrap();
    sample(1, dir.path());
    let disk = Disk::watch(dir.path()).record();
    try_open_sample(dir.path()).unwrap();
    assert_every_loss_is_survived(&disk, &mut random, |dir| assert_holds_the_sample(dir, 1));
}

fn try_open_sample(dir: &Path) -> Result<(), StoreError> {
    try_open(dir).map(|(store, _)| store.close())
}

/// What is moved aside while the disk fails is still all there, in one place or the other.
#[test]
fn moving_aside_needs_no_write_of_the_database() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    let before = bytes(&dir.path().join(DATABASE));
    let disk = Disk::watch(dir.path());
    disk.fail(Fault::Error, 0..u64::MAX);
    let aside = move_aside(dir.path()).unwrap();
    assert_eq!(disk.heal(), 0);
    assert!(bytes(&aside) == before);
}
