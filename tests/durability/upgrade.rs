//! A database of each schema, made by that schema's own code (`tests/data/store/README.md`), opens in this
//! version with all that it holds.

use std::path::{Path, PathBuf};

use ldk_peer_storage::exchange::{Event, Past};
use ldk_peer_storage::store::StoreError;
use rusqlite::Connection;

use crate::store_support::{
    blob, channel, file_bytes, integrity_check, node, open, raw, revision, snapshot, try_open,
    DATABASE,
};

/// The newest that this code knows.
pub const NEWEST: i64 = 3;

/// Puts the sample of this schema there.
pub fn sample(schema: i64, dir: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/store")
        .join(format!("schema-{schema}.sqlite"));
    std::fs::copy(from, dir.join(DATABASE)).unwrap();
}

pub fn schema_of(connection: &Connection) -> i64 {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    version.unwrap()
}

/// All that `make_sample` has put into it, and all that this version needs.
#[track_caller]
pub fn assert_holds_the_sample(dir: &Path, schema: i64) {
    let (store, state) = open(dir);
    assert_eq!(state.past, Past::Known);
    assert_eq!(state.lost_before_epoch, 2);
    assert_eq!(state.highest_seen, revision(3, 4));
    let newest = state.snapshot.as_ref().unwrap();
    assert_eq!(newest.revision, revision(3, 3));
    // The channel and the peers; how a monitor stands in it is another matter.
    let expected = snapshot(revision(3, 3), 5);
    assert_eq!(newest.channels, expected.channels);
    assert_eq!(newest.peers, expected.peers);
    assert_eq!(newest.app_data, expected.app_data);
    assert_eq!(state.resolved, [channel(6)]);
    let slot = |peer: u64| state.slots[&node(peer)];
    assert_eq!((slot(1).len, slot(1).unfunded_since), (3000, None));
    assert_eq!((slot(2).len, slot(2).unfunded_since), (10, Some(800_000)));
    for (peer, len) in [(1, 3000), (2, 10)] {
        let kept = store.slot(&node(peer)).unwrap().unwrap();
        assert!(kept == *blob(peer, len));
    }
    let foreign = store.foreign_blobs().unwrap();
    assert_eq!(foreign.len(), 1);
    assert_eq!(foreign[0].peer, node(3));
    assert_eq!(foreign[0].revision, revision(3, 4));
    assert_eq!(foreign[0].blob, vec![8; 2000]);
    assert_eq!(state.storers.len(), 1);
    let storer = &state.storers[&node(3)];
    assert_eq!(storer.settled, Some(revision(3, 2)));
    let (_, event) = store.next_event().unwrap().unwrap();
    assert_eq!(event, Event::SlotExpired { peer: node(4) });
    store.close();
    assert_eq!(integrity_check(dir), "ok");

    let raw = raw(dir);
    assert_eq!(schema_of(&raw), NEWEST);
    let steps: i64 = raw
        .query_row("SELECT count(*) FROM recovery_steps", [], |row| row.get(0))
        .unwrap();
    assert_eq!(steps, i64::from(schema >= 2));
}

#[test]
fn a_database_of_each_schema_opens_with_all_that_it_holds() {
    for schema in 1..=NEWEST {
        let dir = tempfile::tempdir().unwrap();
        sample(schema, dir.path());
        assert_eq!(schema_of(&raw(dir.path())), schema, "it is what it says");
        assert_holds_the_sample(dir.path(), schema);
        // And again, as what it is by then.
        assert_holds_the_sample(dir.path(), schema);
    }
}

#[test]
fn there_is_a_sample_of_each_schema() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close();
    let newest = schema_of(&raw(dir.path()));
    assert_eq!(newest, NEWEST, "add a sample, as tests/data/store says");
}

#[test]
fn a_database_of_the_next_schema_is_refused_and_left_byte_for_byte() {
    for schema in 1..=NEWEST {
        let dir = tempfile::tempdir().unwrap();
        sample(schema, dir.path());
        raw(dir.path())
            .execute_batch(&format!(
                "PRAGMA user_version = {}; CREATE TABLE later (x)",
                NEWEST + 1
            ))
            .unwrap();
        let before = (file_bytes(dir.path()), names(dir.path()));
        let refused = StoreError::NewerSchema {
            found: NEWEST + 1,
            known: NEWEST,
        };
        for _ in 0..2 {
            assert_eq!(try_open(dir.path()).unwrap_err(), refused);
        }
        assert!(file_bytes(dir.path()) == before.0);
        let lock = "peer-storage.lock".to_owned();
        let mut after = names(dir.path());
        after.retain(|name| *name != lock && !name.ends_with("-shm") && !name.ends_with("-wal"));
        assert_eq!(after, before.1);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap().path())).collect();
    names.sort();
    names.retain(|name| !name.ends_with("-shm") && !name.ends_with("-wal"));
    names
}
