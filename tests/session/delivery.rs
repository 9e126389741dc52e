//! What is pushed last arrives, although the connection ends right after it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::backup::{
    ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, MonitorRecord, MAX_BLOB,
};
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::service::WalletSource;
use ldk_peer_storage::session::Work;
use lightning::ln::types::ChannelId;
use testkit::{Outgoing, RawPeer, DEADLINE};

use crate::cable::{Cable, Line};
use crate::stage::{of_raw, outcome, record, Quiet};
use crate::support::{assert_quiet, backup_key};

const SEED: [u8; 32] = [9; 32];

#[test]
fn a_backup_of_64_kib_that_is_the_last_word_arrives_fifty_times_of_fifty() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open(SEED, dir.path());
    quiet.storage.declare_new().unwrap();
    let bob = RawPeer::new("bob");
    quiet.storage.list_peers([bob.id()].into());
    let kept: Arc<Mutex<Vec<u8>>> = Arc::new(Mutex::new(vec![1; 300]));
    let keep = kept.clone();
    // While the backup is under way, the peer is saying a lot: a socket that is closed over it sends
    // a reset, at which the peer would lose what it has not read yet.
    bob.on_message(move |message| {
        if message.type_id != 7 {
            return Vec::new();
        }
        *keep.lock().unwrap() = message.blob();
        let noise = Outgoing::Raw {
            to: message.from,
            type_id: 40_001,
            body: vec![0; 60_000],
        };
        vec![noise; 20]
    });
    let give = kept.clone();
    bob.on_connect(move |to, _| vec![Outgoing::retrieval(to, give.lock().unwrap().clone())]);

    for round in 0..50_u8 {
        quiet.storage.set_app_data(vec![round; 50_000]);
        let report = quiet
            .session
            .run(&[of_raw(&bob)], Work::default(), DEADLINE);
        let visit = outcome(&report.peers, &bob.id()).unwrap();
        assert!(visit.delivered, "round {round}");
        let kept = kept.lock().unwrap().clone();
        assert_eq!(kept.len(), MAX_BLOB, "round {round}");
        let opened = backup_key(&SEED).open_snapshot(&kept).unwrap();
        assert_eq!(opened.snapshot.app_data, vec![round; 50_000]);
        assert_eq!(Some(opened.snapshot.revision), visit.sent);
    }
    assert_quiet(&quiet.wire.sent_to(&bob.id()));
}

#[test]
fn a_backup_that_is_the_last_word_arrives_over_a_slow_line_too() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open(SEED, dir.path());
    quiet.storage.declare_new().unwrap();
    let bob = RawPeer::new("bob");
    quiet.storage.list_peers([bob.id()].into());
    quiet.storage.set_app_data(vec![7; 50_000]);
    bob.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![1; 300])]);
    let cable = Cable::to(bob.addr(), Line::Slow);
    let bobs = record(bob.id(), cable.addr);
    let report = quiet.session.run(&[bobs], Work::default(), DEADLINE);
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert!(visit.delivered && visit.sent.is_some(), "{visit:?}");
    let kept = bob
        .received()
        .into_iter()
        .rfind(|message| message.type_id == 7);
    assert_eq!(kept.map(|message| message.blob().len()), Some(MAX_BLOB));
}

#[test]
fn a_peer_that_reads_nothing_costs_the_deadline_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open(SEED, dir.path());
    quiet.storage.declare_new().unwrap();
    let bob = Arc::new(RawPeer::new("bob"));
    quiet.storage.list_peers([bob.id()].into());
    quiet.storage.set_app_data(vec![7; 50_000]);
    // It stops to read when it has returned something: its thread hangs in the first push.
    bob.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![1; 300])]);
    let held = Arc::new(Mutex::new(()));
    let guard = held.lock().unwrap();
    let gate = held.clone();
    bob.on_message(move |message| {
        if message.type_id == 7 {
            drop(gate.lock());
        }
        Vec::new()
    });
    let begun = std::time::Instant::now();
    let report = quiet.session.run(
        &[of_raw(&bob)],
        Work { verify: true },
        Duration::from_secs(4),
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert!(!visit.delivered && !visit.verified, "{visit:?}");
    drop(guard);
}

/// A wallet whose node does not run, with a channel in this state.
struct Stopped {
    peer: PublicKey,
    state: u64,
}

const CHANNEL: ChannelId = ChannelId([3; 32]);

impl WalletSource for Stopped {
    fn wallet_state(&self) -> WalletState {
        let channel = ChannelRecord {
            counterparty: self.peer,
            ids: ChannelIds {
                channel_id: Some(CHANNEL),
                ..ChannelIds::default()
            },
            update_id: self.state,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: None,
        };
        WalletState {
            channels: vec![channel],
            ..WalletState::default()
        }
    }

    fn monitors(&self) -> Vec<MonitorRecord> {
        vec![MonitorRecord {
            channel: CHANNEL,
            update_id: self.state,
            pending_htlcs: false,
            bytes: Arc::new(vec![self.state as u8; 5_000].into()),
        }]
    }
}

/// A session is over before the quiet that a living node waits for.
#[test]
fn the_newest_states_and_monitors_of_a_stopped_node_are_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let bob = RawPeer::new("bob");
    let kept: Arc<Mutex<Vec<u8>>> = Arc::new(Mutex::new(vec![1; 300]));
    let keep = kept.clone();
    bob.on_message(move |message| {
        if message.type_id == 7 {
            *keep.lock().unwrap() = message.blob();
        }
        Vec::new()
    });
    let give = kept.clone();
    bob.on_connect(move |to, _| vec![Outgoing::retrieval(to, give.lock().unwrap().clone())]);

    // The first on one opening of the directory, the last on another.
    for states in [&[4, 5, 9][..], &[12, 13]] {
        let quiet = Quiet::open(SEED, dir.path());
        for state in states {
            quiet.storage.monitor_written(CHANNEL, *state);
            quiet.storage.attach(Arc::new(Stopped {
                peer: bob.id(),
                state: *state,
            }));
            let _ = quiet.storage.adopt();
            let report = quiet
                .session
                .run(&[of_raw(&bob)], Work::default(), DEADLINE);
            let visit = outcome(&report.peers, &bob.id()).unwrap();
            assert!(visit.delivered && visit.sent.is_some(), "{visit:?}");
            let blob = kept.lock().unwrap().clone();
            let opened = backup_key(&SEED).open_snapshot(&blob).unwrap().snapshot;
            assert_eq!(opened.channels[0].update_id, *state);
            let [monitor] = &opened.monitors[..] else {
                panic!("{} monitors", opened.monitors.len());
            };
            assert_eq!(monitor.update_id, *state);
            assert_eq!(**monitor.bytes, [*state as u8; 5_000]);
        }
        assert!(quiet.storage.alarms().is_empty());
        quiet.close();
    }
}
