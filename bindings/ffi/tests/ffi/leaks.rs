//! A thousand calls, each given up at a moment of its own: what was begun is done, and nothing is left behind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peer_storage_ffi::alarms::AlarmResolution;
use peer_storage_ffi::chain::ChainAccess;
use peer_storage_ffi::errors::PeerStorageError;
use peer_storage_ffi::monitors::read_monitor;
use peer_storage_ffi::opening::StorageOpening;
use peer_storage_ffi::peer_storage::move_aside;
use peer_storage_ffi::recovery::{Recovery, RecoveryConsent, RecoverySettings};
use peer_storage_ffi::status::{Activity, Past};
use peer_storage_ffi::wallet::{ChannelIds, WalletChannel};
use peer_storage_ffi::PeerStorage;

use crate::support::*;

const TIMES: usize = 1000;
/// One of each asynchronous export: `api.txt` counts them.
const CALLS: u64 = 25;

#[test]
fn every_asynchronous_call_is_among_those_that_are_given_up() {
    let api = include_str!("../../../api.txt");
    let calls = api.lines().filter(|line| line.contains("async fun "));
    assert_eq!(calls.count() as u64, CALLS);
}

struct Calls<'a> {
    dir: &'a Path,
    storage: Arc<PeerStorage>,
    recovery: Arc<Recovery>,
    random: Random,
}

impl Calls<'_> {
    /// Begins one of all calls, and gives it up within three milliseconds.
    fn give_up_one(&mut self, call: u64) {
        let limit = if self.random.below(3) == 0 {
            3_000
        } else {
            300
        };
        let after = Duration::from_micros(self.random.below(limit));
        let budget = self.random.below(50);
        let id = 1 + self.random.below(4);
        let (storage, recovery) = (&self.storage, &self.recovery);
        let nobody = || report(vec![channel(9)]).peers;
        let bytes = vec![7; self.random.0 as usize % 2_000];
        let ids = |byte| ids(&channel(byte));
        match call {
            0 => begin_and_drop(storage.on_background(budget), after),
            1 => begin_and_drop(storage.run_background_pass(budget), after),
            2 => begin_and_drop(storage.check_before_node_start(budget), after),
            3 => begin_and_drop(storage.sync_with_peers(nobody(), true, budget), after),
            4 => begin_and_drop(storage.restore(nobody(), budget), after),
            5 => begin_and_drop(storage.declare_new(), after),
            6 => begin_and_drop(storage.adopt(), after),
            7 => begin_and_drop(storage.restore_report(), after),
            8 => begin_and_drop(storage.finish_restore(), after),
            9 => begin_and_drop(storage.channel_swept(ids(8)), after),
            10 => begin_and_drop(storage.set_app_data(bytes), after),
            11 => begin_and_drop(storage.resolve_alarm(id, AlarmResolution::StayHeld), after),
            12 => begin_and_drop(storage.next_event(), after),
            13 => begin_and_drop(storage.event_handled(id), after),
            14 => begin_and_drop(storage.wait_until_open(), after),
            15 => {
                let opening = StorageOpening::new(config(self.dir), secret(1));
                begin_and_drop(opening.open(), after);
            }
            16 => {
                let other = self.dir.join("other");
                begin_and_drop(move_aside(other.to_str().unwrap().to_owned()), after);
            }
            17 => begin_and_drop(read_monitor(secret(1), bytes), after),
            18 => begin_and_drop(recovery.is_begun(), after),
            19 => begin_and_drop(recovery.plan(nobody(), budget), after),
            20 => begin_and_drop(recovery.agree(id, consent()), after),
            21 => begin_and_drop(recovery.agreed(), after),
            22 => begin_and_drop(recovery.step(), after),
            23 => begin_and_drop(recovery.give_up(ids(9), None), after),
            24 => {
                let storage = open(&self.dir.join("short-lived"));
                begin_and_drop(storage.shutdown(budget), after);
                drop(storage);
                let dir = self.dir.join("short-lived");
                wait_until("its end", || {
                    let opened = open_with(config(&dir), secret(1));
                    opened.is_ok_and(|storage| wait(storage.shutdown(ENOUGH)).unwrap().closed)
                });
            }
            other => panic!("{other}"),
        }
    }

    fn give_up(&mut self, times: usize) {
        for number in 0..times {
            let call = self.random.below(CALLS);
            self.give_up_one(call);
            if number % 20 == 0 {
                self.storage.on_foreground();
            }
        }
    }

    /// Until nothing that was begun is under way.
    fn settle(&self) {
        wait_until("it to stay open", || {
            self.storage.on_foreground();
            // A leave or a pass that nobody waits for may still have its 50 ms.
            std::thread::sleep(Duration::from_millis(100));
            self.storage.status().unwrap().activity == Activity::Active
        });
        let last = wait(self.storage.set_app_data(b"the last".to_vec()));
        assert!(last.is_ok(), "{last:?}");
    }
}

fn ids(channel: &WalletChannel) -> ChannelIds {
    ChannelIds {
        short_channel_id: None,
        funding_outpoint: channel.funding_outpoint.clone(),
        channel_id: Some(channel.channel_id.clone()),
    }
}

fn start(storage: &PeerStorage) -> Arc<Recovery> {
    let chain = ChainAccess::Host {
        source: Arc::new(EmptyChain(Box::new(|| {}))),
    };
    let settings = RecoverySettings { stay_ms: 0 };
    storage.start_recovery(chain, settings, None).unwrap()
}

fn consent() -> RecoveryConsent {
    RecoveryConsent {
        channels: Vec::new(),
        sweep_to: "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080".to_owned(),
        fee_rate_sat_per_kwu: 1_000,
        highest_fee_rate_sat_per_kwu: 5_000,
        old_device_is_gone: true,
        closes_channels_without_keys: false,
        goes_on_without_unheard_peers: true,
    }
}

/// Of this process: threads, open files, and memory that is in use, in kB.
fn footprint() -> (usize, usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (number("Threads:"), files, number("VmRSS:"))
}

/// Other tests of this process would count: this one starts itself anew, alone.
#[test]
fn a_thousand_calls_that_are_given_up_leave_nothing_behind() {
    if !is_alone("leaks::a_thousand_calls_that_are_given_up_leave_nothing_behind") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    storage.report_wallet(report(vec![channel(2)])).unwrap();
    let mut calls = Calls {
        dir: dir.path(),
        recovery: start(&storage),
        storage: storage.clone(),
        random: Random(3),
    };
    (0..CALLS).for_each(|call| calls.give_up_one(call));
    calls.give_up(500);
    calls.settle();
    let (threads, files, memory) = footprint();
    calls.give_up(TIMES);
    calls.settle();
    let mut then = footprint();
    // A thread of the pool stays for two seconds; so do the files of what it has just let go of.
    wait_until("threads and files to be gone", || {
        then = footprint();
        then.0 <= threads + 4 && then.1 <= files + 2
    });
    println!("{:?} -> {then:?}", (threads, files, memory));
    // A thousand answers that were each kept would be more.
    assert!(then.2 < memory + 6_000, "{memory} -> {} kB", then.2);

    let status = storage.status().unwrap();
    assert_eq!(status.past, Past::Known);
    assert_eq!(status.channels, 1, "of what was not swept nothing is lost");
    assert!(status.alarms.is_empty());
    assert!(
        !wait(calls.recovery.is_begun()).unwrap(),
        "nothing was agreed to"
    );
    drop(calls);
    assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed);
    let storage = open(dir.path());
    assert_eq!(storage.status().unwrap().channels, 1);
    assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed);
}

/// Each call is carried out wholly, also that of which nobody has heard the end.
#[test]
fn two_hundred_channels_that_were_said_to_be_swept_are_swept_though_nobody_waited() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let channels: Vec<_> = (2..202).map(channel).collect();
    storage.report_wallet(report(channels.clone())).unwrap();
    wait(storage.adopt()).unwrap();
    wait_until("the channels to be in the backup", || {
        storage.status().unwrap().channels == 200
    });
    let closed = |channel: &WalletChannel| WalletChannel {
        is_closed: true,
        is_ready: false,
        ..channel.clone()
    };
    let closing = channels.iter().map(closed).collect();
    storage.report_wallet(report(closing)).unwrap();
    let mut random = Random(5);
    for channel in &channels {
        let after = Duration::from_micros(random.below(300));
        begin_and_drop(storage.channel_swept(ids(channel)), after);
    }
    wait_until("all to have left the backup", || {
        storage.status().unwrap().channels == 0
    });
    assert!(storage.alarms().unwrap().is_empty());
    assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed);
    let storage = open(dir.path());
    assert_eq!(storage.status().unwrap().channels, 0, "it was durable");
    wait(storage.shutdown(ENOUGH)).unwrap();
}

/// Of two calls that are both given up the answer is lost, and no more: what they say now is what they have done.
#[test]
fn a_call_that_was_given_up_was_done_or_was_not_begun() {
    for after in [0, 50, 200, 1_000, 5_000] {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path());
        begin_and_drop(storage.declare_new(), Duration::from_micros(after));
        // Behind it in no particular order: what counts is that one of them was first, and wholly.
        let second = wait(storage.declare_new());
        let known = matches!(second, Ok(()) | Err(PeerStorageError::NotAllowed { .. }));
        assert!(known, "{second:?}");
        assert_eq!(storage.status().unwrap().past, Past::Known);
        wait(storage.shutdown(ENOUGH)).unwrap();
        let storage = open(dir.path());
        assert_eq!(storage.status().unwrap().past, Past::Known);
        wait(storage.shutdown(ENOUGH)).unwrap();
    }
}
