//! Makes the samples in `tests/data/store`, as the README there says. It needs nothing that the first
//! version did not have, so that each schema's own code can run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod store_support;

use ldk_peer_storage::exchange::{Event, Past, Record, StorerState};
use store_support::*;

/// Names the file to make.
const SAMPLE: &str = "STORE_SAMPLE";

#[test]
#[ignore = "writes a file into the tree: once for each schema"]
fn make_a_sample() {
    let to = std::env::var_os(SAMPLE).expect("STORE_SAMPLE names the file");
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let storer = StorerState {
        settled: Some(revision(3, 2)),
        ..StorerState::default()
    };
    let records = vec![
        Record::Past(Past::Known),
        Record::LostBefore(2),
        Record::Snapshot(snapshot(revision(3, 3), 5)),
        Record::HighestSeen(revision(3, 4)),
        Record::Storer(node(3), storer),
        foreign(3, 9, revision(3, 4), &[8; 2000]),
        Record::Resolved(channel(6)),
        Record::Event(Event::SlotExpired { peer: node(4) }),
        slot(1, 1, 3000),
        slot(2, 2, 10),
        Record::SlotUnfunded {
            peer: node(2),
            since_height: Some(800_000),
        },
    ];
    store.apply(records).unwrap();
    store.close();
    let raw = raw(dir.path());
    // Later schemas have more tables, which no record fills.
    let _ = raw.execute("INSERT INTO recovery_steps (sealed) VALUES (x'0102')", []);
    drop(raw);
    std::fs::copy(dir.path().join(DATABASE), to).unwrap();
}
