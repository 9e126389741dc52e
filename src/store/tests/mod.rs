//! Tests that need to look inside: what SQL runs, what the writer's connection is set to, and what
//! stored bytes look like.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::sync::Arc;

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::ln::types::ChannelId;
use lightning::util::ser::Writeable;

use super::*;
use crate::backup::{ChannelIds, ContentHash, Part, Tier};
use crate::exchange::Time;
use crate::exchange::{Alarm, AlarmId, AlarmKind, Evidence};
use crate::exchange::{Capacity, Past, Sent, StorerState};

const SCHEMA_1_VALUES: &str = include_str!("schema_1_values.txt");

thread_local! {
    static STATEMENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes all SQL that is run through `connection` on this thread.
pub(super) fn trace(connection: &mut Connection) {
    connection.trace(Some(|sql| {
        STATEMENTS.with_borrow_mut(|all| all.push(sql.to_owned()))
    }));
}

#[test]
fn opening_reads_no_blob() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let foreign = Record::Foreign {
        peer: node(1),
        installation: InstallationId([1; 8]),
        revision: Revision::default(),
        blob: Arc::new([2; 500]),
    };
    store.apply(vec![slot(1, 40_000), foreign]).unwrap();
    store.close();

    STATEMENTS.take();
    let (store, state) = open(dir.path());
    assert_eq!(state.slots[&node(1)].len, 40_000);
    let statements = STATEMENTS.take();
    assert!(
        statements.iter().any(|sql| sql.contains("FROM slots")),
        "the trace works"
    );
    for sql in &statements {
        let sql = sql.replace("count(*)", "");
        assert!(!sql.contains("bytes") && !sql.contains('*'), "{sql}");
    }

    // So the trace would show it.
    store.slot(&node(1)).unwrap();
    assert!(STATEMENTS.take().iter().any(|sql| sql.contains("bytes")));
}

#[test]
fn a_commit_reaches_the_disk_before_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close();
    let connection = connection::open(&dir.path().join(connection::DATABASE)).unwrap();
    connection::make_writer(&connection).unwrap();
    let setting = |name: &str| -> i64 {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(setting("synchronous"), 2, "FULL");
    assert_eq!(setting("fullfsync"), 1);
    assert_eq!(setting("checkpoint_fullfsync"), 1);
    assert_eq!(setting("foreign_keys"), 1);
}

/// As on a full disk, where none can be made to mount.
#[test]
fn without_space_nothing_is_lost_and_with_space_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.apply(vec![slot(1, 60_000)]).unwrap();
    store.write(Work::Sql("PRAGMA max_page_count = 1")).unwrap();
    assert_eq!(
        store.apply(vec![slot(1, 65_000), slot(2, 65_000)]),
        Err(StoreError::DiskFull)
    );
    assert_eq!(store.slot(&node(1)).unwrap().unwrap().len(), 60_000);
    assert_eq!(store.slot(&node(2)).unwrap(), None);
    // What needs no space still works.
    store.apply(vec![Record::Past(Past::Known)]).unwrap();
    store
        .write(Work::Sql("PRAGMA max_page_count = 1000000"))
        .unwrap();
    store.apply(vec![slot(2, 65_000)]).unwrap();
    store.close();
    let slots = open(dir.path()).1.slots;
    assert_eq!((slots[&node(1)].len, slots[&node(2)].len), (60_000, 65_000));
}

/// The bytes that the first schema stands for, and then what later ones have added. They never change: this
/// text is only added to.
#[test]
fn stored_values_of_every_schema_read() {
    let mut lines = SCHEMA_1_VALUES.lines();
    for (what, bytes, reads_back) in stored_values() {
        let line = format!("{what} {}", hex(&bytes));
        assert!(reads_back, "{what}");
        assert_eq!(lines.next(), Some(line.as_str()), "{what}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn no_stored_value_reads_with_a_part_missing_or_added() {
    for (what, bytes, _) in stored_values()
        .into_iter()
        .filter(|(what, ..)| *what == "event")
    {
        for len in 0..bytes.len() {
            assert!(values::decode::<Event>(&bytes[..len], what).is_err());
        }
        let more = [&bytes[..], &[0]].concat();
        assert!(values::decode::<Event>(&more, what).is_err());
    }
}

fn stored_values() -> Vec<(&'static str, Vec<u8>, bool)> {
    fn stored<T: Writeable + lightning::util::ser::Readable + PartialEq>(
        what: &'static str,
        value: &T,
    ) -> (&'static str, Vec<u8>, bool) {
        let bytes = value.encode();
        let same = values::decode::<T>(&bytes, what).is_ok_and(|read| read == *value);
        (what, bytes, same)
    }
    let peer = node(1);
    let revision = Revision {
        epoch: 1,
        generation: 0x0203_0405_0607_0809,
    };
    let ids = ChannelIds {
        short_channel_id: Some(0x0a0b_0c00_0d0e_0001),
        funding_outpoint: Some(bitcoin::OutPoint::null()),
        channel_id: Some(ChannelId([0x11; 32])),
    };
    let sent = |tier| {
        let content = ContentHash([0x12; 16]);
        Some(Sent {
            revision,
            tier,
            content,
            at: Time(1_700_000_000_000),
        })
    };
    let alarm = |kind| Alarm {
        id: AlarmId(3),
        raised_at: Time(4),
        kind,
        earliest_htlc_expiry: Some(840_000),
        recovering: true,
    };
    let stale = |evidence| {
        alarm(AlarmKind::StaleState {
            peer: Some(peer),
            evidence,
        })
    };
    let mut all = vec![stored("channel", &ids)];
    for capacity in [
        Capacity::Unknown,
        Capacity::Probing {
            large_sent_at: Time(5),
            small_returns: 6,
        },
        Capacity::Small {
            learned_at: Time(7),
        },
        Capacity::Large,
    ] {
        let state = StorerState {
            sent: sent(Tier::Full),
            settled: Some(revision),
            verified: sent(Tier::Essential),
            stale_returns: 1,
            contradicted: false,
            missing_returns: 2,
            capacity,
            features: 3,
            refused_at: Some(Time(4)),
        };
        all.push(stored("storer", &state));
    }
    for alarm in [
        stale(Evidence::StampAhead {
            channel: ids,
            backup: 8,
            live: 9,
        }),
        stale(Evidence::ChannelMissing { channel: ids }),
        stale(Evidence::Numbers {
            channel_id: ChannelId([0x13; 32]),
            proved: None,
        }),
        alarm(AlarmKind::StorerRolledBack {
            peer,
            returned: revision,
            before: revision,
        }),
        alarm(AlarmKind::StorerLostBackup { peer }),
    ] {
        all.push(stored("alarm", &alarm));
    }
    for event in [
        Event::AlarmRaised(alarm(AlarmKind::StorerLostBackup { peer })),
        Event::AlarmOver(AlarmId(3)),
        Event::OtherInstallation {
            peer,
            installation: InstallationId([0x14; 8]),
            revision,
        },
        Event::ChannelsMerged {
            peer,
            channels: vec![ids, ids],
        },
        Event::Unreadable {
            peer,
            newer_version: true,
        },
        Event::Conflict { peer, revision },
        Event::Omitted {
            revision,
            tier: Tier::Full,
            channels: vec![ids],
        },
        Event::NotBackedUp {
            newest: Some(revision),
        },
        Event::CapacityLearned { peer, bytes: 65531 },
        Event::Refused { peer },
        Event::SlotExpired { peer },
        Event::PartsOmitted {
            revision,
            parts: vec![
                Part::SpendableOutputs,
                Part::ChannelDetails,
                Part::FurtherAddresses,
                Part::AppData,
                Part::Peer(peer),
                Part::Monitor(ChannelId([0x15; 32])),
            ],
        },
    ] {
        all.push(stored("event", &event));
    }
    let contradicted = StorerState {
        sent: sent(Tier::Full),
        settled: Some(revision),
        verified: sent(Tier::Essential),
        stale_returns: 1,
        contradicted: true,
        missing_returns: 2,
        capacity: Capacity::Unknown,
        features: 3,
        refused_at: Some(Time(4)),
    };
    all.push(stored("storer", &contradicted));
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn node(number: u8) -> PublicKey {
    PublicKey::from_secret_key(
        &Secp256k1::new(),
        &SecretKey::from_slice(&[number; 32]).unwrap(),
    )
}

fn slot(peer: u8, len: usize) -> Record {
    Record::Slot {
        peer: node(peer),
        blob: vec![peer; len].into(),
    }
}

fn open(dir: &Path) -> (Store, SavedState) {
    let owner = Owner {
        node_id: node(9),
        network: Network::Regtest,
    };
    let key = BackupKey::derive(&[42; 32], Network::Regtest, &owner.node_id);
    Store::open(dir, key, owner).unwrap()
}
