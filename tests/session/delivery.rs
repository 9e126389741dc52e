//! What is pushed last arrives, although the connection ends right after it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ldk_peer_storage::backup::MAX_BLOB;
use ldk_peer_storage::session::Work;
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
