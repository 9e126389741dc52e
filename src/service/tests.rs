//! The end of the service, and what the disk does to it.

use std::time::{Duration, Instant};

use bitcoin::Network;
use lightning::sign::KeysManager;

use super::{Config, PeerStorage};
use crate::backup::ChannelIds;
use crate::exchange::Action;
use crate::store::StoreError;

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(600);

fn open(dir: &tempfile::TempDir) -> PeerStorage {
    let keys = KeysManager::new(&[7; 32], 0, 0, true);
    let storage = PeerStorage::open(Config::new(dir.path(), Network::Regtest), &keys).unwrap();
    storage.declare_new().unwrap();
    storage
}

#[test]
fn closing_says_what_could_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir);
    assert!(storage.flush(LONG));
    storage.engine.store.close();
    storage.channel_resolved(ChannelIds {
        short_channel_id: Some(1),
        ..ChannelIds::default()
    });
    let report = storage.close(Duration::from_millis(10));
    assert!(!report.complete);
    assert_eq!(report.status.storage_failure, Some(StoreError::Closed));
    assert!(!storage.close(LONG).complete);
}

#[test]
fn what_is_closed_is_closed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir);
    assert!(storage.close(LONG).complete);
    let started = Instant::now();
    storage.engine.channel_archived(ChannelIds::default());
    storage.wallet_changed();
    storage.set_app_data(vec![1; 100]);
    assert!(storage.on_background(LONG).complete);
    assert!(storage.close(LONG).complete);
    assert!(started.elapsed() < LONG / 10);
}

#[test]
fn a_budget_without_end_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir);
    storage.set_app_data(vec![1; 100]);
    assert!(storage.flush(Duration::MAX));
    assert!(storage.on_background(Duration::MAX).complete);
    assert!(storage.close(Duration::MAX).complete);
}

#[test]
fn what_is_meant_for_a_connection_that_has_ended_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir);
    let gone = Action::Warn {
        peer: storage.owner().node_id,
        text: "goodbye".to_owned(),
    };
    assert!(!storage.engine.send(vec![gone]));
    assert!(storage.flush(Duration::from_secs(5)));
}
