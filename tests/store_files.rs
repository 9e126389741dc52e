//! What opening does with a file or a directory that is not as it should be: an error that leaves
//! it alone (safety rules 14 and 15), and no wrong data in any case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store_support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bitcoin::Network;
use ldk_peer_storage::exchange::Event;
use ldk_peer_storage::exchange::{Past, Record};
use ldk_peer_storage::store::{move_aside, Owner, Store, StoreError};
use rusqlite::config::DbConfig;
use store_support::*;

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(try_open(dir.path()).unwrap_err(), StoreError::Locked);
    assert_eq!(move_aside(dir.path()).unwrap_err(), StoreError::Locked);
    store
        .apply(vec![slot(1, 1, 10)])
        .expect("the owner is not disturbed");
    store.close();
    open(dir.path());
}

/// The order in which the connections are closed decides it, so once is not enough.
#[test]
fn closing_empties_the_log_also_after_something_was_read() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=100 {
        let (store, _) = open(dir.path());
        store.apply(vec![slot(1, round, 100)]).unwrap();
        assert!(store.slot(&node(1)).unwrap().is_some());
        store.close();
        assert_eq!(file_bytes(dir.path()).1.len(), 0, "round {round}");
    }
}

#[test]
fn a_directory_of_another_node_or_network_is_refused_and_left_alone() {
    let dir = filled();
    let before = file_bytes(dir.path());
    for other in [
        Owner {
            node_id: node(99),
            ..owner()
        },
        Owner {
            network: Network::Bitcoin,
            ..owner()
        },
    ] {
        let error = Store::open(dir.path(), key(), other).unwrap_err();
        assert_eq!(error, StoreError::WrongNode);
        assert!(file_bytes(dir.path()) == before);
    }
    assert_intact(dir.path());
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = filled();
    raw(dir.path())
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    let before = file_bytes(dir.path());
    let refused = StoreError::NewerSchema {
        found: 1000,
        known: 3,
    };
    assert_eq!(try_open(dir.path()).unwrap_err(), refused);
    assert!(file_bytes(dir.path()) == before);
}

#[test]
fn a_newer_schema_that_stands_in_the_log_alone_is_refused_and_left_alone() {
    let dir = filled();
    {
        let newer = raw(dir.path());
        newer
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        newer
            .execute_batch("CREATE TABLE new (x); PRAGMA user_version = 1000")
            .unwrap();
    }
    let before = file_bytes(dir.path());
    assert!(!before.1.is_empty());
    let refused = StoreError::NewerSchema {
        found: 1000,
        known: 3,
    };
    assert_eq!(try_open(dir.path()).unwrap_err(), refused);
    assert!(file_bytes(dir.path()) == before);
}

#[test]
fn a_file_of_an_earlier_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
    let dir = filled();
    let version = |connection: &rusqlite::Connection| -> i64 {
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    let newest = {
        let raw = raw(dir.path());
        let newest = version(&raw);
        let first = "DROP TABLE recovery_steps; ALTER TABLE meta DROP COLUMN was_restored;
                     PRAGMA user_version = 1";
        raw.execute_batch(first).unwrap();
        newest
    };
    let (store, state) = open(dir.path());
    assert!(store.slot(&node(1)).unwrap().is_some());
    assert!(!state.slots.is_empty());
    store.close();
    assert_eq!(version(&raw(dir.path())), newest);
}

#[test]
fn a_damaged_file_is_refused_and_left_alone_until_it_is_moved_aside() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 10] = [
        ("zeros", |file| file.fill(0)),
        ("empty", Vec::clear),
        ("one byte", |file| file.truncate(1)),
        ("cut in the header", |file| file.truncate(99)),
        ("cut in the first page", |file| file.truncate(2000)),
        ("cut in half", |file| file.truncate(file.len() / 2)),
        ("last page missing", |file| file.truncate(file.len() - 4096)),
        ("random header", |file| fill_random(&mut file[..100])),
        ("another program's", |file| {
            file[68..72].copy_from_slice(b"ELSE")
        }),
        ("no log mode", |file| file[18..20].copy_from_slice(&[1, 1])),
    ];
    for (what, damage) in damages {
        let dir = filled();
        let database = dir.path().join(DATABASE);
        let mut bytes = std::fs::read(&database).unwrap();
        damage(&mut bytes);
        std::fs::write(&database, &bytes).unwrap();
        for _ in 0..2 {
            let error = try_open(dir.path()).expect_err(what);
            assert!(matches!(error, StoreError::Corrupt(_)), "{what}: {error:?}");
            assert!(
                std::fs::read(&database).unwrap() == bytes,
                "{what}: was written"
            );
        }

        let aside = move_aside(dir.path()).unwrap();
        assert!(std::fs::read(&aside).unwrap() == bytes, "{what}");
        let (store, state) = open(dir.path());
        assert_eq!(state.past, Past::Unknown, "{what}");
        assert!(state.slots.is_empty() && state.snapshot.is_none(), "{what}");
        store.close();
        assert_ne!(
            move_aside(dir.path()).unwrap(),
            aside,
            "{what}: nothing is overwritten"
        );
        assert!(std::fs::read(&aside).unwrap() == bytes, "{what}");
    }
}

/// Each page in turn is made random. Opening may notice, or reading may; wrong data never comes out,
/// and a file that is refused is left alone.
#[test]
fn no_damaged_page_gives_wrong_data() {
    let dir = filled();
    let database = dir.path().join(DATABASE);
    let good = std::fs::read(&database).unwrap();
    let pages = good.len() / 4096;
    let (mut refused, mut noticed, mut harmless) = (0, 0, 0);
    for page in 0..pages {
        let mut bytes = good.clone();
        fill_random(&mut bytes[page * 4096..(page + 1) * 4096]);
        std::fs::write(&database, &bytes).unwrap();
        match try_open(dir.path()) {
            Err(StoreError::Corrupt(_)) => {
                assert!(
                    std::fs::read(&database).unwrap() == bytes,
                    "page {page} was written"
                );
                refused += 1;
            }
            Err(error) => panic!("page {page}: {error:?}"),
            Ok((store, state)) => {
                assert_eq!(state.snapshot, Some(snapshot(revision(1, 2), 1)));
                assert_eq!(state.highest_seen, revision(1, 2));
                assert_eq!(state.past, Past::Known);
                assert_eq!(state.slots.len(), 4);
                let mut damaged = false;
                for peer in 1..=4 {
                    match store.slot(&node(peer)) {
                        Err(StoreError::Corrupt(_)) => damaged = true,
                        kept => assert_eq!(kept.unwrap().unwrap(), &*blob(peer, 30_000)),
                    }
                }
                match store.foreign_blobs() {
                    Err(StoreError::Corrupt(_)) => damaged = true,
                    foreign => assert_eq!(foreign.unwrap()[0].blob, vec![5; 20_000]),
                }
                noticed += usize::from(damaged);
                harmless += usize::from(!damaged);
            }
        }
        for name in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("{DATABASE}{name}")));
        }
    }
    println!("{pages} pages: {refused} refused at open, {noticed} at reading, {harmless} unused");
    assert!(refused >= 8 && noticed >= 20);
}

#[test]
fn a_blob_with_one_wrong_bit_is_not_returned() {
    let dir = filled();
    let database = dir.path().join(DATABASE);
    let mut bytes = std::fs::read(&database).unwrap();
    // So long a part stands in a page of its own, not in what SQLite left behind elsewhere.
    let part = &blob(1, 3000);
    let at = bytes
        .windows(part.len())
        .position(|window| window == &**part)
        .unwrap();
    bytes[at + 400] ^= 1;
    std::fs::write(&database, &bytes).unwrap();
    let (store, _) = open(dir.path());
    assert!(matches!(store.slot(&node(1)), Err(StoreError::Corrupt(_))));
    store.slot(&node(2)).unwrap();
}

#[test]
fn an_index_that_contradicts_its_table_is_refused() {
    let dir = filled();
    let database = dir.path().join(DATABASE);
    let good = std::fs::read(&database).unwrap();
    // The peer stands in the table and in its index.
    let (peer, other) = (node(2).serialize(), node(77).serialize());
    let places: Vec<usize> = (0..good.len() - 33)
        .filter(|at| good[*at..at + 33] == peer)
        .collect();
    assert!(places.len() >= 2);
    let mut refused = 0;
    for at in places {
        let mut bytes = good.clone();
        bytes[at..at + 33].copy_from_slice(&other);
        std::fs::write(&database, &bytes).unwrap();
        match try_open(dir.path()) {
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
                assert!(std::fs::read(&database).unwrap() == bytes);
                refused += 1;
            }
            // What SQLite left behind in a place that is no longer used.
            Ok((store, _)) => {
                assert_eq!(
                    store.slot(&node(2)).unwrap().as_deref(),
                    Some(&*blob(2, 30_000))
                );
            }
        }
    }
    assert!(refused >= 2);
}

#[test]
fn a_child_process_does_not_keep_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                run(&mut Command::new("true"));
            }
        });
        let opened = (0..60).try_for_each(|_| try_open(dir.path()).map(|_| ()));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(opened, Ok(()));
    });
}

#[test]
fn a_log_without_its_database_is_not_taken_for_a_new_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("peer-storage.sqlite-wal"), [1; 100]).unwrap();
    assert!(matches!(
        try_open(dir.path()).unwrap_err(),
        StoreError::Corrupt(_)
    ));
    move_aside(dir.path()).unwrap();
    open(dir.path());
}

#[test]
fn a_stopped_creation_and_a_stopped_move_are_finished() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("peer-storage.sqlite.new"), [1; 5000]).unwrap();
    std::fs::write(
        dir.path().join("peer-storage.sqlite.new-journal"),
        [1; 5000],
    )
    .unwrap();
    open(dir.path()).0.close();

    // Stopped after the database, before its log.
    let name = |end: &str| dir.path().join(format!("{DATABASE}{end}"));
    std::fs::rename(name(""), name(".aside-1")).unwrap();
    std::fs::write(name("-wal"), [1; 100]).unwrap();
    assert_eq!(move_aside(dir.path()).unwrap(), name(".aside-1"));
    assert_eq!(std::fs::read(name(".aside-1-wal")).unwrap(), [1; 100]);
    assert!(!name("-wal").exists());
}

#[test]
fn moving_aside_takes_the_log_along() {
    let dir = filled();
    {
        let other = raw(dir.path());
        other
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        other
            .execute_batch("UPDATE meta SET past_known = 0")
            .unwrap();
    }
    let before = file_bytes(dir.path());
    let aside = move_aside(dir.path()).unwrap();
    let log = PathBuf::from(format!("{}-wal", aside.display()));
    assert!((std::fs::read(&aside).unwrap(), std::fs::read(log).unwrap()) == before);
    assert!(
        matches!(move_aside(dir.path()).unwrap_err(), StoreError::Io(_)),
        "nothing is left"
    );
    assert_eq!(open(dir.path()).1.past, Past::Unknown);
}

#[test]
fn a_file_where_the_directory_should_be_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "something else").unwrap();
    assert!(matches!(try_open(&file).unwrap_err(), StoreError::Io(_)));
    assert!(matches!(
        try_open(&file.join("below")).unwrap_err(),
        StoreError::Io(_)
    ));
    assert_eq!(std::fs::read(&file).unwrap(), b"something else");
}

#[test]
fn a_read_only_directory_is_an_error_that_says_so() {
    let Some(mount) = Mount::new("size=16m") else {
        return;
    };
    let dir = mount.path().join("data");
    fill(&dir);
    let before = file_bytes(&dir);
    mount.remount("ro");
    assert_eq!(try_open(&dir).unwrap_err(), StoreError::ReadOnly);
    assert_eq!(
        try_open(&mount.path().join("new")).unwrap_err(),
        StoreError::ReadOnly
    );
    assert_eq!(move_aside(&dir).unwrap_err(), StoreError::ReadOnly);
    mount.remount("rw");
    assert!(file_bytes(&dir) == before);
    assert_intact(&dir);
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let Some(mount) = Mount::new("size=4m") else {
        return;
    };
    let dir = mount.path().join("data");
    fill(&dir);
    let (store, _) = open(&dir);
    store.apply(vec![slot(9, 9, 1000)]).unwrap();
    let ballast = mount.path().join("ballast");
    fill_disk(&ballast);

    // As an app would see it: each of these fails by itself, and all say why.
    for number in 0..5 {
        let error = store
            .apply(vec![slot(1, 100 + number, 65_000)])
            .unwrap_err();
        assert_eq!(error, StoreError::DiskFull);
        let event = Record::Event(Event::Refused { peer: node(1) });
        let big = slot(2, 100 + number, 65_000);
        assert_eq!(
            store.apply(vec![event, big]).unwrap_err(),
            StoreError::DiskFull
        );
    }
    for peer in 1..=4 {
        assert_eq!(
            store.slot(&node(peer)).unwrap().unwrap(),
            &*blob(peer, 30_000)
        );
    }
    assert_eq!(store.slot(&node(9)).unwrap().unwrap(), &*blob(9, 1000));
    assert_eq!(
        try_open(&mount.path().join("other")).unwrap_err(),
        StoreError::DiskFull
    );

    std::fs::remove_file(&ballast).unwrap();
    store
        .apply(vec![slot(5, 5, 65_000)])
        .expect("with no need to reopen");
    let id = store.next_event().unwrap().map(|(id, _)| id);
    assert_eq!(id, None, "no half of a submission was written");
    store.close();
    let (store, state) = open(&dir);
    assert_eq!(state.slots.len(), 6);
    assert_eq!(store.slot(&node(5)).unwrap().unwrap(), &*blob(5, 65_000));
    store.close();
    assert_eq!(integrity_check(&dir), "ok");
    let (other, _) = open(&mount.path().join("other"));
    assert!(other.flush(Duration::ZERO));
    other.close();
}

/// A store with something of each size in it, closed.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    dir
}

fn fill(dir: &Path) {
    let (store, _) = open(dir);
    let mut records = vec![
        Record::Past(Past::Known),
        Record::Snapshot(snapshot(revision(1, 1), 1)),
        Record::Snapshot(snapshot(revision(1, 2), 1)),
        foreign(1, 1, revision(1, 1), &[5; 20_000]),
    ];
    records.extend((1..=4).map(|peer| slot(peer, peer, 30_000)));
    store.apply(records).unwrap();
}

fn assert_intact(dir: &Path) {
    let (store, state) = open(dir);
    assert_eq!(state.past, Past::Known);
    for peer in 1..=4 {
        assert_eq!(
            store.slot(&node(peer)).unwrap().unwrap(),
            &*blob(peer, 30_000)
        );
    }
}

/// Bytes without a pattern, the same in each run.
fn fill_random(bytes: &mut [u8]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes.len() as u64;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = (state >> 32) as u8;
    }
}

/// Writes until nothing more fits.
fn fill_disk(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for len in [65536, 4096, 1] {
        while file.write_all(&vec![0; len]).is_ok() {}
    }
}

/// A small file system of its own, which only root may make.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = cfg!(target_os = "linux")
            && run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "tmpfs"])
                .arg(dir.path()));
        if !mounted {
            println!("skipped: mounting a file system is not permitted here");
            return None;
        }
        Some(Mount(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(run(Command::new("mount")
            .args(["-o", &options])
            .arg(self.path())));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.path()));
    }
}

fn run(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
