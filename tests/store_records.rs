//! What is written comes back: each record through close and open, in order, before and after it is
//! durable.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store_support;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ldk_peer_storage::backup::{ContentHash, InstallationId, Revision, Tier};
use ldk_peer_storage::exchange::Event;
use ldk_peer_storage::exchange::Time;
use ldk_peer_storage::exchange::{Alarm, AlarmId, AlarmKind, Evidence};
use ldk_peer_storage::exchange::{Capacity, Past, Record, Sent, StorerState};
use ldk_peer_storage::store::{EventId, Store, StoreError};
use lightning::ln::types::ChannelId;
use store_support::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_new_directory_does_not_know_its_past() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("not/there/yet");
    let (_store, state) = open(&dir);
    assert_eq!(state.past, Past::Unknown);
    assert_eq!(state.highest_seen, Revision::default());
    assert_ne!(state.installation, InstallationId::default());
    assert!(state.snapshot.is_none() && state.slots.is_empty() && state.alarms.is_empty());

    let (_other, other) = open(&home.path().join("other"));
    assert_ne!(other.installation, state.installation);
}

#[test]
fn every_record_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, state) = open(dir.path());
    let installation = state.installation;
    let storers = storer_states();
    let alarms = alarms();

    let mut records = vec![
        Record::LostBefore(2),
        Record::Restored,
        Record::Past(Past::Known),
        Record::HighestSeen(revision(2, u64::MAX)),
        Record::Snapshot(snapshot(revision(3, 9), 1)),
        foreign(1, 5, revision(1, 4), b"from another phone"),
        Record::Resolved(channel(8)),
        Record::Resolved(channel(9)),
        slot(1, 11, 65531),
        slot(2, 12, 1),
        Record::SlotUnfunded {
            peer: node(2),
            since_height: Some(800_000),
        },
        slot(3, 13, 100),
        Record::SlotExpired(node(3)),
    ];
    records.extend(
        storers
            .iter()
            .map(|(peer, state)| Record::Storer(node(*peer), state.clone())),
    );
    records.extend(alarms.iter().cloned().map(Record::Alarm));
    store.apply(records).unwrap();
    store.close();

    let (store, state) = open(dir.path());
    assert_eq!(state.installation, installation);
    assert_eq!(state.past, Past::Known);
    assert_eq!(state.lost_before_epoch, 2);
    assert!(state.was_restored);
    assert_eq!(state.highest_seen, revision(3, 9));
    assert_eq!(state.snapshot, Some(snapshot(revision(3, 9), 1)));
    let expected = storers
        .into_iter()
        .map(|(peer, state)| (node(peer), state))
        .collect();
    assert_eq!(state.storers, expected);
    assert_eq!(state.resolved.len(), 2);
    assert!(state.resolved.contains(&channel(8)) && state.resolved.contains(&channel(9)));
    assert_eq!(state.alarms, alarms);
    assert_eq!(state.last_alarm, alarms.last().unwrap().id);

    assert_eq!(state.slots.len(), 2);
    assert_eq!(state.slots[&node(1)].len, 65531);
    assert_eq!(state.slots[&node(1)].unfunded_since, None);
    assert_eq!(state.slots[&node(2)].len, 1);
    assert_eq!(state.slots[&node(2)].unfunded_since, Some(800_000));
    assert_eq!(
        store.slot(&node(1)).unwrap().as_deref(),
        Some(&*blob(11, 65531))
    );
    assert_eq!(
        store.slot(&node(2)).unwrap().as_deref(),
        Some(&*blob(12, 1))
    );
    assert_eq!(store.slot(&node(3)).unwrap(), None);

    // And what is over stays over.
    let over: Vec<Record> = alarms
        .iter()
        .map(|alarm| Record::AlarmOver(alarm.id))
        .collect();
    store.apply(over).unwrap();
    store
        .apply(vec![Record::SlotUnfunded {
            peer: node(2),
            since_height: None,
        }])
        .unwrap();
    store.close();
    let (_store, state) = open(dir.path());
    assert!(state.alarms.is_empty());
    assert_eq!(state.last_alarm, alarms.last().unwrap().id);
    assert_eq!(state.slots[&node(2)].unfunded_since, None);
}

#[test]
fn the_highest_revision_never_sinks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store
        .apply(vec![Record::HighestSeen(revision(1, 300))])
        .unwrap();
    store
        .apply(vec![Record::HighestSeen(revision(1, 299))])
        .unwrap();
    store
        .apply(vec![Record::HighestSeen(revision(0, u64::MAX))])
        .unwrap();
    store.close();
    assert_eq!(open(dir.path()).1.highest_seen, revision(1, 300));
}

#[test]
fn a_new_blob_replaces_the_one_before_and_so_does_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.apply(vec![slot(1, 1, 5000), slot(1, 2, 60)]).unwrap();
    store
        .apply(vec![
            Record::SlotUnfunded {
                peer: node(1),
                since_height: Some(7),
            },
            slot(1, 3, 70),
        ])
        .unwrap();
    assert_eq!(
        store.slot(&node(1)).unwrap().as_deref(),
        Some(&*blob(3, 70))
    );
    store.close();
    let (store, state) = open(dir.path());
    assert_eq!(state.slots[&node(1)].len, 70);
    assert_eq!(
        state.slots[&node(1)].unfunded_since,
        Some(7),
        "a new blob is no new channel"
    );

    store.apply(vec![slot(1, 4, 0)]).unwrap();
    assert_eq!(store.slot(&node(1)).unwrap().as_deref(), Some(&[][..]));
    store.close();
    let (store, state) = open(dir.path());
    assert_eq!(state.slots[&node(1)].len, 0);
    assert_eq!(store.slot(&node(1)).unwrap().as_deref(), Some(&[][..]));
    store.apply(vec![Record::SlotExpired(node(1))]).unwrap();
    assert_eq!(store.slot(&node(1)).unwrap(), None);
    // A height for a slot that is not there says nothing.
    store
        .apply(vec![Record::SlotUnfunded {
            peer: node(1),
            since_height: Some(9),
        }])
        .unwrap();
    store.close();
    assert!(open(dir.path()).1.slots.is_empty());
    let left: i64 = raw(dir.path())
        .query_row("SELECT count(*) FROM slot_blobs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn the_newest_foreign_blob_of_each_peer_and_installation_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for (peer, installation, generation, bytes) in [
        (1, 1, 5, "newest"),
        (1, 1, 4, "older, but longer"),
        (2, 1, 3, "what another peer has"),
        (1, 2, 9, "short"),
        (1, 2, 9, "as new, and says more"),
        (1, 2, 9, "as new, less"),
    ] {
        let record = foreign(
            peer,
            installation,
            revision(1, generation),
            bytes.as_bytes(),
        );
        store.apply(vec![record]).unwrap();
    }
    let kept: Vec<_> = store
        .foreign_blobs()
        .unwrap()
        .into_iter()
        .map(|f| (f.peer, f.installation.0[0], f.revision.generation, f.blob))
        .collect();
    let mut expected = vec![
        (node(1), 1, 5, b"newest".to_vec()),
        (node(1), 2, 9, b"as new, and says more".to_vec()),
        (node(2), 1, 3, b"what another peer has".to_vec()),
    ];
    expected.sort();
    assert_eq!(kept, expected);
    store.close();
}

#[test]
fn a_revision_stands_for_one_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let save = |store: &Store, revision, channel| {
        store.apply(vec![
            Record::Past(Past::Known),
            Record::Snapshot(snapshot(revision, channel)),
        ])
    };
    for generation in 1..=10 {
        save(&store, revision(1, generation), 1).unwrap();
    }
    save(&store, revision(1, 10), 1).expect("the same again");
    let taken = |generation| Err(StoreError::RevisionTaken(revision(1, generation)));
    assert_eq!(save(&store, revision(1, 10), 2), taken(10));
    assert_eq!(save(&store, revision(1, 9), 2), taken(9));
    assert_eq!(
        save(&store, revision(1, 1), 2),
        taken(1),
        "dropped since, and still taken"
    );
    store.close();

    let (store, state) = open(dir.path());
    assert_eq!(state.snapshot, Some(snapshot(revision(1, 10), 1)));
    assert_eq!(save(&store, revision(1, 10), 2), taken(10));
    save(&store, revision(2, 0), 2).unwrap();
    store.close();
    assert_eq!(
        open(dir.path()).1.snapshot,
        Some(snapshot(revision(2, 0), 2))
    );
    let kept: i64 = raw(dir.path())
        .query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 4);
}

#[test]
fn a_failed_submission_changes_nothing_and_its_neighbours_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store
        .apply(vec![Record::Snapshot(snapshot(revision(1, 1), 1))])
        .unwrap();
    let gate = block_writer(&store);
    let results = Arc::new(Mutex::new(Vec::new()));
    for number in 0..200 {
        let mut records = vec![slot(number, number, 100)];
        if number % 10 == 3 {
            records.push(Record::Snapshot(snapshot(revision(1, 1), 2)));
        }
        let results = results.clone();
        store.submit(records, move |result| {
            results.lock().unwrap().push((number, result))
        });
    }
    gate.send(()).unwrap();
    assert!(!store.flush(LONG), "some of it failed");
    assert!(store.flush(LONG), "nothing is left");

    let results = results.lock().unwrap();
    let order: Vec<u64> = results.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..200).collect::<Vec<_>>());
    for (number, result) in results.iter() {
        let kept = store.slot(&node(*number)).unwrap();
        if number % 10 == 3 {
            assert_eq!(*result, Err(StoreError::RevisionTaken(revision(1, 1))));
            assert_eq!(kept, None);
        } else {
            assert_eq!(*result, Ok(()));
            assert_eq!(kept.as_deref(), Some(&*blob(*number, 100)));
        }
    }
}

#[test]
fn a_slot_is_read_as_it_was_last_submitted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.apply(vec![slot(1, 1, 50), slot(2, 2, 50)]).unwrap();
    let gate = block_writer(&store);
    store.submit(vec![slot(1, 10, 50)], |_| ());
    store.submit(vec![slot(1, 11, 50), Record::SlotExpired(node(2))], |_| ());
    store.submit(vec![slot(3, 12, 0)], |_| ());

    assert_eq!(
        store.slot(&node(1)).unwrap().as_deref(),
        Some(&*blob(11, 50))
    );
    assert_eq!(store.slot(&node(2)).unwrap(), None);
    assert_eq!(store.slot(&node(3)).unwrap().as_deref(), Some(&[][..]));
    let durable: Vec<u8> = raw(dir.path())
        .query_row(
            "SELECT bytes FROM slot_blobs ORDER BY id LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(durable, &*blob(1, 50), "not yet written");
    assert!(!store.flush(Duration::from_millis(10)));

    gate.send(()).unwrap();
    assert!(store.flush(LONG));
    assert_eq!(
        store.slot(&node(1)).unwrap().as_deref(),
        Some(&*blob(11, 50))
    );
    assert_eq!(store.slot(&node(2)).unwrap(), None);
}

#[test]
fn a_slot_queued_behind_others_is_not_forgotten_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    let gate = block_writer(&store);
    let (sender, seen) = mpsc::channel();
    let reader = store.clone();
    store.submit(vec![slot(1, 10, 50)], move |_| {
        sender.send(reader.slot(&node(1))).unwrap()
    });
    // The last of these stands in another transaction than the first.
    for number in 0..200 {
        store.submit(vec![slot(2, number, 50)], |_| ());
    }
    store.submit(vec![slot(1, 11, 50)], |_| ());
    gate.send(()).unwrap();
    assert_eq!(
        seen.recv_timeout(LONG).unwrap().unwrap().as_deref(),
        Some(&*blob(11, 50))
    );
    assert!(store.flush(LONG));
    assert_eq!(
        store.slot(&node(1)).unwrap().as_deref(),
        Some(&*blob(11, 50))
    );
}

#[test]
fn a_queued_slot_that_fails_gives_way_to_the_durable_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store
        .apply(vec![
            slot(1, 1, 50),
            Record::Snapshot(snapshot(revision(1, 1), 1)),
        ])
        .unwrap();
    let bad = Record::Snapshot(snapshot(revision(1, 1), 2));
    assert!(store.apply(vec![slot(1, 2, 50), bad]).is_err());
    assert_eq!(
        store.slot(&node(1)).unwrap().as_deref(),
        Some(&*blob(1, 50))
    );
}

#[test]
fn a_callback_comes_after_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let path = dir.path().to_owned();
    let (sender, seen) = mpsc::channel();
    store.submit(vec![slot(1, 1, 50)], move |result| {
        let count: i64 = raw(&path)
            .query_row("SELECT count(*) FROM slots", [], |row| row.get(0))
            .unwrap();
        sender.send((result, count)).unwrap();
    });
    assert_eq!(seen.recv_timeout(LONG).unwrap(), (Ok(()), 1));
}

#[test]
fn events_come_again_until_they_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(store.next_event().unwrap(), None);
    let events = events();
    store
        .apply(events.iter().cloned().map(Record::Event).collect())
        .unwrap();

    let mut last = EventId(0);
    for (number, event) in events.iter().enumerate() {
        let (id, told) = store.next_event().unwrap().unwrap();
        assert_eq!(told, *event);
        assert!(id > last);
        last = id;
        if number + 1 < events.len() {
            store.acknowledge(id).unwrap();
        }
    }
    store.close();

    let (store, _) = open(dir.path());
    assert_eq!(
        store.next_event().unwrap(),
        Some((last, events.last().unwrap().clone()))
    );
    store.acknowledge(last).unwrap();
    store.acknowledge(last).expect("once more is no error");
    store.close();

    let (store, _) = open(dir.path());
    assert_eq!(store.next_event().unwrap(), None);
    store.apply(vec![Record::Event(events[0].clone())]).unwrap();
    assert!(
        store.next_event().unwrap().unwrap().0 > last,
        "a number is never used twice"
    );
}

#[test]
fn an_event_is_told_once_until_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let [first, second, ..] = &events()[..] else {
        panic!("two events");
    };
    for _ in 0..3 {
        let both = [first, second].map(|event| Record::Event(event.clone()));
        store.apply(both.to_vec()).unwrap();
    }
    let mut told = Vec::new();
    while let Some((id, event)) = store.next_event().unwrap() {
        store.acknowledge(id).unwrap();
        told.push(event);
    }
    assert_eq!(told, [first.clone(), second.clone()]);
    store.apply(vec![Record::Event(first.clone())]).unwrap();
    assert_eq!(store.next_event().unwrap().unwrap().1, *first);
}

#[test]
fn closing_writes_what_is_queued_and_ends_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (sender, results) = mpsc::channel();
    for number in 0..150 {
        let sender = sender.clone();
        store.submit(vec![slot(number, number, 5000)], move |result| {
            sender.send(result).unwrap()
        });
    }
    store.close();
    store.close();
    drop(sender);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 150);

    assert_eq!(store.apply(vec![slot(1, 1, 1)]), Err(StoreError::Closed));
    assert_eq!(store.slot(&node(1)), Err(StoreError::Closed));
    assert_eq!(store.next_event(), Err(StoreError::Closed));
    assert_eq!(store.acknowledge(EventId(1)), Err(StoreError::Closed));
    assert!(store.foreign_blobs().is_err());
    assert!(store.flush(LONG), "nothing is left to write");
    if let Ok(open_files) = std::fs::read_dir("/proc/self/fd") {
        let dir = dir.path().canonicalize().unwrap();
        let ours = open_files
            .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
            .filter(|path| path.starts_with(&dir));
        assert_eq!(ours.count(), 0, "a file of the directory is still open");
    }
    assert!(!dir.path().join("peer-storage.sqlite-wal").exists());
    assert_eq!(open(dir.path()).1.slots.len(), 150);
}

#[test]
fn a_callback_may_drop_the_store_or_panic_but_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.submit(vec![slot(1, 1, 1)], |_| panic!("on purpose"));
    store
        .apply(vec![slot(2, 1, 1)])
        .expect("the writer lives on");

    let store = Arc::new(store);
    let (sender, result) = mpsc::channel();
    let gate = block_writer(&store);
    let last = store.clone();
    store.submit(vec![slot(3, 1, 1)], move |_| {
        sender.send(last.apply(vec![slot(4, 1, 1)])).unwrap();
        drop(last);
    });
    drop(store);
    gate.send(()).unwrap();
    assert!(matches!(
        result.recv_timeout(LONG).unwrap(),
        Err(StoreError::Io(_))
    ));
    let start = Instant::now();
    while let Err(error) = try_open(dir.path()).map(|_| ()) {
        assert_eq!(error, StoreError::Locked);
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
}

#[test]
fn an_idle_writer_starts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut times: Vec<Duration> = (0..21)
        .map(|number| {
            let start = Instant::now();
            store.apply(vec![slot(1, number, 65531)]).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "a blob of 65531 bytes is durable after {:?} (median)",
        times[10]
    );
    assert!(times[10] < Duration::from_millis(100));
}

#[test]
fn own_snapshots_never_stand_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store
        .apply(vec![Record::Snapshot(snapshot(revision(1, 1), 1))])
        .unwrap();
    let (database, log) = file_bytes(dir.path());
    assert!(!log.is_empty());
    store.close();
    let (after, _) = file_bytes(dir.path());
    for bytes in [database, log, after] {
        for secret in [SECRET_HOST.as_bytes(), &node(1).serialize(), &[1; 32]] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
}

/// Holds the writer thread in a callback until the sender sends or is dropped.
fn block_writer(store: &Store) -> mpsc::Sender<()> {
    let (gate, open) = mpsc::channel();
    let (started, running) = mpsc::channel();
    store.submit(Vec::new(), move |_| {
        started.send(()).unwrap();
        let _ = open.recv();
    });
    running.recv().unwrap();
    gate
}

fn storer_states() -> Vec<(u64, StorerState)> {
    let sent = |generation, tier| Sent {
        revision: revision(4, generation),
        tier,
        content: ContentHash([generation as u8; 16]),
        at: Time(1_700_000_000_000 + generation),
    };
    let capacities = [
        Capacity::Unknown,
        Capacity::Probing {
            large_sent_at: Time(u64::MAX),
            small_returns: 1,
        },
        Capacity::Small {
            learned_at: Time(77),
        },
        Capacity::Large,
    ];
    let mut states = vec![(20, StorerState::default())];
    for (number, capacity) in capacities.into_iter().enumerate() {
        let state = StorerState {
            sent: Some(sent(9, Tier::Full)),
            settled: Some(revision(4, 8)),
            verified: Some(sent(7, Tier::Essential)),
            stale_returns: 1,
            missing_returns: u32::MAX,
            contradicted: number % 2 == 0,
            capacity,
            features: u64::MAX,
            refused_at: Some(Time(0)),
        };
        states.push((21 + number as u64, state));
    }
    states
}

fn alarms() -> Vec<Alarm> {
    let stale = |peer, evidence| AlarmKind::StaleState { peer, evidence };
    let kinds = [
        stale(
            Some(node(1)),
            Evidence::StampAhead {
                channel: channel(1),
                backup: u64::MAX,
                live: 3,
            },
        ),
        stale(
            None,
            Evidence::ChannelMissing {
                channel: channel(2),
            },
        ),
        stale(
            Some(node(2)),
            Evidence::Numbers {
                channel_id: ChannelId([4; 32]),
                proved: None,
            },
        ),
        stale(
            Some(node(5)),
            Evidence::Numbers {
                channel_id: ChannelId([4; 32]),
                proved: Some(7),
            },
        ),
        AlarmKind::StorerRolledBack {
            peer: node(3),
            returned: revision(1, 2),
            before: revision(1, 3),
        },
        AlarmKind::StorerLostBackup { peer: node(4) },
    ];
    let alarm = |(number, kind): (usize, AlarmKind)| Alarm {
        id: AlarmId(number as u64 + 1),
        raised_at: Time(123_456),
        earliest_htlc_expiry: (number % 2 == 0).then_some(840_000),
        recovering: number % 2 == 1,
        kind,
    };
    kinds.into_iter().enumerate().map(alarm).collect()
}

fn events() -> Vec<Event> {
    let peer = node(6);
    let revision = revision(1, 2);
    let mut full = channel(2);
    full.funding_outpoint = Some(bitcoin::OutPoint::null());
    let channels = vec![channel(1), full, Default::default()];
    let mut events: Vec<Event> = alarms().into_iter().map(Event::AlarmRaised).collect();
    events.extend([
        Event::AlarmOver(AlarmId(u64::MAX)),
        Event::OtherInstallation {
            peer,
            installation: InstallationId([9; 8]),
            revision,
        },
        Event::ChannelsMerged {
            peer,
            channels: channels.clone(),
        },
        Event::ChannelsMerged {
            peer,
            channels: Vec::new(),
        },
        Event::Unreadable {
            peer,
            newer_version: true,
        },
        Event::Conflict { peer, revision },
        Event::Omitted {
            revision,
            tier: Tier::Essential,
            channels,
        },
        Event::NotBackedUp { newest: None },
        Event::NotBackedUp {
            newest: Some(revision),
        },
        Event::CapacityLearned { peer, bytes: 65531 },
        Event::Refused { peer },
        Event::SlotExpired { peer },
        Event::UnknownChannel {
            peer,
            channel_id: ChannelId([4; 32]),
        },
        Event::FalseNumbers {
            peer,
            channel_id: ChannelId([4; 32]),
        },
    ]);
    events
}

#[test]
fn what_is_logged_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let before = testkit::logs::lines_seen();
    open(dir.path());
    assert!(testkit::logs::lines_seen() > before);
}
