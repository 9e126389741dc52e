//! The end of the service, what the disk does to it, and what a decision goes by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use lightning::sign::KeysManager;

use super::{Config, PeerStorage, WalletSource};
use crate::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord};
use crate::exchange::{Action, Resolution, ResolveError, WalletState};
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

/// A wallet with one channel at this state stamp; with none where it is zero.
struct Stamped(AtomicU64);

impl WalletSource for Stamped {
    fn wallet_state(&self) -> WalletState {
        let update_id = self.0.load(Ordering::SeqCst);
        let record = ChannelRecord {
            counterparty: PublicKey::from_slice(&[2; 33]).unwrap(),
            ids: ChannelIds {
                short_channel_id: Some(1),
                ..ChannelIds::default()
            },
            update_id,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: None,
        };
        WalletState {
            channels: (update_id > 0).then_some(record).into_iter().collect(),
            ..WalletState::default()
        }
    }
}

#[test]
fn a_decision_goes_by_the_wallet_as_it_is_and_not_as_it_was_looked_at_last() {
    for (found, decided) in [(5, Ok(())), (4, Err(ResolveError::ProvedStale))] {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir);
        let wallet = Arc::new(Stamped(AtomicU64::new(5)));
        storage.attach(wallet.clone());
        wallet.0.store(0, Ordering::SeqCst);
        storage.wallet_changed();
        assert!(storage.flush(LONG));
        let alarm = storage.alarms()[0].id;

        // Nobody says that the wallet has changed.
        wallet.0.store(found, Ordering::SeqCst);
        let decision = storage.resolve_alarm(alarm, Resolution::ThisDeviceIsCurrent);
        assert_eq!(decision, decided);
        assert_eq!(storage.is_holding(), decided.is_err());
    }
}
