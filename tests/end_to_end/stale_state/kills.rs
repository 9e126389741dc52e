//! A wallet that was killed has lost nothing, and is not called stale.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::events::ClosureReason;
use lightning::ln::types::ChannelId;
use lightning::sign::InMemorySigner;
use lightning::util::persist::MonitorName;
use testkit::ChannelType::{Anchors, StaticRemoteKey};
use testkit::{open_channel, pay, start_payment, wait_until, ChannelType, DynPersist, DEADLINE};

use super::stage::Stage;
use crate::support::{read_monitor, ManualClock, QuietNode, Wallet, WalletConfig};
use ldk_peer_storage::exchange::OWN_REESTABLISH_WAIT;

const KILLS: u64 = 10;
/// Two payments at once take more messages than this.
const MOST_MESSAGES: u64 = 12;

#[test]
fn no_kill_between_two_payments_looks_like_stale_state() {
    killed_again_and_again(Anchors, 1);
}

#[test]
fn no_kill_looks_like_stale_state_without_anchors_either() {
    killed_again_and_again(StaticRemoteKey, 2);
}

fn killed_again_and_again(channel_type: ChannelType, seed: u64) {
    let stage = Stage::new(channel_type);
    let clock = ManualClock::new();
    let bob = Wallet::start(stage.wallet("bob").clock(clock.clone()));
    let mut alice = Wallet::start(stage.wallet("alice"));
    alice.connect_to(&bob.node);
    open_channel(&stage.chain, &alice.node, &bob.node, 1_000_000);
    let mut random = Random(seed);
    for _ in 0..KILLS {
        let messages = random.below(MOST_MESSAGES) as usize;
        let mark = alice.node.wire().mark();
        start_payment(&alice.node, &bob.node, 1_000_000);
        start_payment(&bob.node, &alice.node, 1_000_000);
        wait_until("some messages", DEADLINE, || {
            alice.node.wire().mark() >= mark + messages
        });
        // A backup of this very moment.
        alice.storage.push_now();
        let after = format!("killed after {messages} messages (seed {seed})");
        let config = alice.kill();
        alice = Wallet::start(config);
        assert_eq!(alice.storage.alarms(), [], "{after}");
        alice.connect_to(&bob.node);
        clock.advance(OWN_REESTABLISH_WAIT);
        bob.clock_moved();
        if outdated(&alice) {
            stage.chain.mine(1);
            bob.node.sync();
            open_channel(&stage.chain, &alice.node, &bob.node, 1_000_000);
        }
        wait_until("a usable channel", DEADLINE, || {
            assert_eq!(alice.storage.alarms(), [], "{after}");
            alice.node.is_usable_with(&bob.node.id()) && bob.node.is_usable_with(&alice.node.id())
        });
        pay(&alice.node, &bob.node, 1_000_000);
        pay(&bob.node, &alice.node, 1_000_000);
        assert_eq!((alice.node.panicked(), bob.node.panicked()), (None, None));
    }
    assert_eq!(alice.storage.alarms(), []);
    assert_eq!(bob.storage.alarms(), []);
}

/// LDK writes the monitor first. Where the kill came before it wrote the `ChannelManager`, it closes the
/// channel, with its newest state and of its own accord.
fn outdated(wallet: &Wallet) -> bool {
    let node = &wallet.node;
    let open = || node.channels().len();
    let closed = || {
        let mut closed = node.closed_channels().into_iter();
        closed.any(|(_, reason)| reason == ClosureReason::OutdatedChannelManager)
    };
    wait_until("LDK to have loaded", DEADLINE, || open() == 1 || closed());
    closed()
}

#[test]
fn a_state_that_was_never_written_is_in_no_backup() {
    let stage = Stage::new(Anchors);
    let stuck = Arc::new(AtomicBool::new(false));
    let disk = stuck.clone();
    let bob = Wallet::start(stage.wallet("bob"));
    let mut config = stage.wallet("alice");
    config.disk = Some(Arc::new(move |inner| {
        Arc::new(SlowDisk {
            inner,
            stuck: disk.clone(),
            written: Mutex::default(),
        })
    }));
    let alice = Wallet::start(config);
    alice.connect_to(&bob.node);
    let channel = open_channel(&stage.chain, &alice.node, &bob.node, 1_000_000);
    alice.reconnect(&bob.node);
    pay(&alice.node, &bob.node, 1_000_000);
    let in_memory = |alice: &Wallet| {
        let monitor = alice.node.parts().chain_monitor.get_monitor(channel);
        monitor.unwrap().get_latest_update_id()
    };

    stuck.store(true, Ordering::SeqCst);
    let written = in_memory(&alice);
    start_payment(&alice.node, &bob.node, 1_000_000);
    wait_until("LDK to move on in memory", DEADLINE, || {
        in_memory(&alice) > written
    });
    let pushes = || {
        let received = bob.node.wire().received_from(&alice.node.id());
        received.iter().filter(|n| *n == "PeerStorage").count()
    };
    let before = pushes();
    assert!(alice.storage.on_background(DEADLINE).complete);
    alice.storage.push_now();
    wait_until("a backup of this moment", DEADLINE, || pushes() > before);
    let mut config = alice.kill();
    let (stamp, monitor) = states_in_backup(&stage, &config, &bob);
    assert_eq!(stamp, written);
    // It was to be read just when it was ahead: the one before is there, if any was read before.
    assert!(monitor <= Some(written), "{monitor:?} was never written");

    config.disk = None;
    let alice = Wallet::start(config);
    assert_eq!(alice.storage.alarms(), []);
    alice.reconnect(&bob.node);
    assert_eq!(alice.storage.alarms(), []);
    pay(&alice.node, &bob.node, 1_000_000);
    pay(&bob.node, &alice.node, 1_000_000);
}

/// The state stamp of the only channel in what the peer keeps, and the state of its monitor there.
fn states_in_backup(stage: &Stage, config: &WalletConfig, peer: &Wallet) -> (u64, Option<u64>) {
    let reader = QuietNode::start(config.node.seed, &stage.dir("reader"));
    wait_until("a connection", DEADLINE, || {
        reader.connect(peer.node.id(), peer.node.addr())
    });
    reader.wait_read_back(peer.node.id());
    let report = reader.storage.restore_report();
    reader.stop();
    assert_eq!(report.channels.len(), 1);
    let state = report.monitors.first().map(|monitor| {
        let (_, state) = read_monitor(&config.node.seed, &monitor.bytes);
        assert_eq!(state, monitor.update_id);
        state
    });
    (report.channels[0].update_id, state)
}

/// Says that it will write, and says later that it has: as persisters do that write to far places.
/// Once stuck, it writes no more.
struct SlowDisk {
    inner: Arc<DynPersist>,
    stuck: Arc<AtomicBool>,
    written: Mutex<Vec<(ChannelId, u64)>>,
}

impl SlowDisk {
    fn later(&self, monitor: &ChannelMonitor<InMemorySigner>) -> ChannelMonitorUpdateStatus {
        let written = (monitor.channel_id(), monitor.get_latest_update_id());
        self.written.lock().unwrap().push(written);
        ChannelMonitorUpdateStatus::InProgress
    }
}

impl Persist<InMemorySigner> for SlowDisk {
    fn persist_new_channel(
        &self,
        name: MonitorName,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        self.inner.persist_new_channel(name, monitor);
        self.later(monitor)
    }

    fn update_persisted_channel(
        &self,
        name: MonitorName,
        update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        if self.stuck.load(Ordering::SeqCst) {
            return ChannelMonitorUpdateStatus::InProgress;
        }
        self.inner.update_persisted_channel(name, update, monitor);
        match update {
            Some(_) => self.later(monitor),
            None => ChannelMonitorUpdateStatus::InProgress,
        }
    }

    fn archive_persisted_channel(&self, name: MonitorName) {
        self.inner.archive_persisted_channel(name);
    }

    fn get_and_clear_completed_updates(&self) -> Vec<(ChannelId, u64)> {
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

/// The same numbers in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
