//! Before the wallet's own node starts: real nodes with a real channel, and a real old state.

use std::path::PathBuf;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use ldk_peer_storage::backup::ChannelPhase;
use ldk_peer_storage::exchange::{AlarmKind, Past};
use ldk_peer_storage::ldk::LdkWallet;
use ldk_peer_storage::lifecycle::{
    Lifecycle, NodeStart, Obstacle, Unavailable, WalletReport, WhyUnknown,
};
use ldk_peer_storage::service::{Config, PeerStorage, WalletSource};
use ldk_peer_storage::session::Work;
use lightning::ln::msgs::SocketAddress;
use tempfile::TempDir;
use testkit::{copy_dir, open_channel, pay, wait_until, wipe, Chain, Node, NodeConfig, DEADLINE};

use crate::stage::{config, provoke_a_warning, record, within, Phone, LONG, SHORT};
use crate::support::{keys, Wallet, WalletConfig};

/// The budget that wallets are told to give.
const CHECK: Duration = Duration::from_secs(3);

/// A phone whose node is stopped, with a channel with bob, who keeps its backups.
struct Town {
    dirs: TempDir,
    bob: Wallet,
    phone: NodeConfig,
    /// The wallet as it is now.
    report: WalletReport,
    /// As it was before the last payments, and what the node had on its disk then.
    old: WalletReport,
    old_disk: PathBuf,
}

impl Town {
    fn new() -> Town {
        let dirs = tempfile::tempdir().unwrap();
        let chain = Chain::new();
        let node = |name: &str| NodeConfig::new(name, dirs.path().join(name), chain.clone());
        let bob = Wallet::start(WalletConfig::new(node("bob")));
        let phone = Node::start(node("phone"));
        phone.connect_to(&bob.node);
        open_channel(&chain, &phone, &bob.node, 1_000_000);
        pay(&phone, &bob.node, 10_000_000);
        let old = report(&phone, &bob);
        let phone_config = phone.config().clone();
        phone.stop();
        let old_disk = dirs.path().join("old");
        copy_dir(&phone_config.dir, &old_disk);
        let phone = Node::start(phone_config.clone());
        phone.connect_to(&bob.node);
        wait_until("the channel", DEADLINE, || {
            phone.is_usable_with(&bob.node.id())
        });
        (0..3).for_each(|_| pay(&phone, &bob.node, 1_000_000));
        let report = report(&phone, &bob);
        phone.stop();
        Town {
            dirs,
            bob,
            phone: phone_config,
            report,
            old,
            old_disk,
        }
    }

    fn open(&self, dir: &str) -> Lifecycle {
        let mut config = config(&self.dirs.path().join(dir));
        // Nothing happens by itself.
        config.sync.after_change = LONG * 100;
        config.network = false;
        let keys = Arc::new(keys(&self.phone));
        Lifecycle::open(config, keys).unwrap()
    }

    /// The wallet is alive on this device, and its newest state is backed up at bob.
    fn backed_up(&self, dir: &str) -> Lifecycle {
        let life = self.open(dir);
        life.report_wallet(self.report.clone());
        life.durably(|storage| storage.adopt()).unwrap().unwrap();
        life.on_network_changed(true);
        let peers = [record(self.bob.node.id(), self.bob.node.addr())];
        let synced = life
            .sync_with_peers(&peers, Work { verify: true }, LONG)
            .unwrap();
        let visit = synced.peers[0].outcome.clone().unwrap();
        assert!(visit.verified, "{visit:?}");
        life
    }
}

impl Town {
    /// No connection is left, and bob comes to know it.
    #[track_caller]
    fn assert_left(&self, life: &Lifecycle) {
        assert!(!life.status().visiting);
        let phone = crate::stage::keys_of(&self.phone.seed);
        wait_until("bob to know", DEADLINE, || {
            !self.bob.node.is_connected(&phone)
        });
    }
}

/// What a listing host reports.
fn report(node: &Node, bob: &Wallet) -> WalletReport {
    let parts = node.parts();
    let address: SocketAddress = bob.node.addr().into();
    let wallet = LdkWallet::new(
        parts.channel_manager.clone(),
        parts.chain_monitor.clone(),
        parts.keys.clone(),
        move |_: &PublicKey| vec![address.clone()],
    );
    let state = wallet.wallet_state();
    assert_eq!(state.channels.len(), 1);
    WalletReport {
        channels: state.channels,
        peers: state.peers,
        monitors: wallet.monitors(),
        ..WalletReport::default()
    }
}

fn assert_do_not_start(start: NodeStart) {
    let NodeStart::DoNotStart { alarms } = start else {
        panic!("{start:?}");
    };
    assert!(!alarms.is_empty());
    let stale = |kind: &AlarmKind| matches!(kind, AlarmKind::StaleState { .. });
    assert!(alarms.iter().all(|alarm| stale(&alarm.kind)));
}

#[test]
fn nothing_is_known_against_a_current_state_and_the_node_starts_without_a_session_beside_it() {
    let town = Town::new();
    let life = town.backed_up("storage");
    assert!(life.on_background(LONG).suspended);
    life.on_foreground();
    let start = within(CHECK, || life.check_before_node_start(CHECK));
    assert_eq!(start, NodeStart::NothingKnownAgainst);
    town.assert_left(&life);
    // Before the host says that it started, the node is taken to run already.
    let peers = [record(town.bob.node.id(), town.bob.node.addr())];
    let refused = life
        .sync_with_peers(&peers, Work::default(), LONG)
        .unwrap_err();
    assert_eq!(refused, Unavailable::Obstacle(Obstacle::HostNodeRuns));

    life.on_host_node_changed(true);
    let node = Node::start(town.phone.clone());
    node.connect_to(&town.bob.node);
    wait_until("the channel", DEADLINE, || {
        node.is_usable_with(&town.bob.node.id())
    });
    pay(&node, &town.bob.node, 1_000_000);
    let newer = report(&node, &town.bob);
    node.stop();
    life.report_wallet(newer);
    life.on_host_node_changed(false);
    assert!(life.on_background(LONG).drained);
    let start = within(CHECK, || life.check_before_node_start(CHECK));
    assert_eq!(start, NodeStart::NothingKnownAgainst);
    assert!(town.bob.node.closed_channels().is_empty());
}

#[test]
fn an_old_state_is_noticed_in_what_the_peer_returns() {
    let town = Town::new();
    assert!(town.backed_up("storage").shutdown(LONG).closed);
    // The node's database was put back by the system; what is not backed up by it is new.
    wipe(&town.phone.dir);
    copy_dir(&town.old_disk, &town.phone.dir);
    let life = town.open("new storage");
    life.report_wallet(town.old.clone());
    assert_eq!(life.storage().unwrap().past(), Past::Unknown);
    life.on_network_changed(true);
    assert_do_not_start(within(CHECK, || life.check_before_node_start(CHECK)));
    town.assert_left(&life);
    // It is known from now on, whatever happens.
    life.on_network_changed(false);
    assert_do_not_start(within(Duration::ZERO, || {
        life.check_before_node_start(CHECK)
    }));
    assert!(life.on_background(LONG).suspended);
    assert!(life.status().storage.backup.held);
    assert_do_not_start(within(Duration::ZERO, || {
        life.check_before_node_start(CHECK)
    }));
    crate::stage::assert_free_with(&town.dirs.path().join("new storage"), &keys(&town.phone));
    // The right database answers it.
    assert!(life.shutdown(LONG).closed);
    assert!(town.bob.node.closed_channels().is_empty());
}

#[test]
fn an_old_state_is_noticed_in_our_own_records_without_a_network() {
    let town = Town::new();
    assert!(town.backed_up("storage").shutdown(LONG).closed);
    let life = town.open("storage");
    let start = within(Duration::ZERO, || life.check_before_node_start(CHECK));
    assert_eq!(start, NodeStart::Unknown(WhyUnknown::NotReported));
    // A list that is not there yet is not an empty list.
    assert!(life.on_background(LONG).suspended);
    life.on_foreground();
    assert!(!life.storage().unwrap().is_holding());
    assert_eq!(life.status().storage.backup.alarms, []);
    life.report_wallet(town.old.clone());
    assert_do_not_start(within(Duration::ZERO, || {
        life.check_before_node_start(CHECK)
    }));
}

#[test]
fn the_last_report_is_compared_before_the_answer() {
    let town = Town::new();
    let life = town.backed_up("storage");
    life.on_network_changed(false);
    // Whoever compares reports by himself has something else to do.
    let (is_busy, busy) = mpsc::channel();
    let (let_go, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    life.set_waker(move || {
        let _ = is_busy.send(());
        let _ = may_go_on.lock().unwrap().recv();
    });
    let storage = life.storage().unwrap();
    let _peer = provoke_a_warning(&storage);
    drop(storage);
    busy.recv().unwrap();
    life.report_wallet(town.old.clone());
    assert!(!life.status().storage.backup.held);
    assert_do_not_start(within(Duration::ZERO, || {
        life.check_before_node_start(CHECK)
    }));
    drop(let_go);
}

#[test]
fn what_was_reported_is_compared_again_at_every_opening() {
    let town = Town::new();
    let life = town.backed_up("storage");
    assert!(life.on_background(LONG).suspended);
    // The host reports an old state while nothing is open to compare it with.
    life.report_wallet(town.old.clone());
    assert!(!life.status().storage.backup.held);
    assert_do_not_start(within(CHECK, || life.check_before_node_start(CHECK)));
    assert_eq!(life.opening(), None);
}

#[test]
fn where_no_state_stamp_was_reported_nobody_knows_how_old_the_state_is() {
    let mut town = Town::new();
    // As ldk-node lists them: the channels, and not how far they have come.
    town.report.monitors.clear();
    for channel in &mut town.report.channels {
        assert_eq!(channel.phase, ChannelPhase::Ready);
        channel.update_id = 0;
    }
    let life = town.backed_up("storage");
    let start = within(CHECK, || life.check_before_node_start(CHECK));
    assert_eq!(start, NodeStart::Unknown(WhyUnknown::NoStateStamps));
    town.assert_left(&life);
    // The wallet may start it, as after any answer of this kind.
    assert_eq!(life.status().obstacle, Some(Obstacle::HostNodeRuns));
}

#[test]
fn on_a_restored_phone_no_node_may_start_before_its_channels_are_recovered() {
    let town = Town::new();
    assert!(town.backed_up("storage").shutdown(LONG).closed);
    let life = town.open("new phone");
    life.on_network_changed(true);
    let at_once = |life: &Lifecycle| within(Duration::ZERO, || life.check_before_node_start(CHECK));
    let restored = NodeStart::Restored { channels: 1 };
    let peers = [record(town.bob.node.id(), town.bob.node.addr())];
    assert_eq!(life.restore(&peers, LONG).unwrap().report.channels.len(), 1);
    // Also where the app forgets to finish what the person has begun.
    assert_eq!(at_once(&life), restored);
    life.durably(|storage| storage.finish_restore())
        .unwrap()
        .unwrap();
    assert_eq!(at_once(&life), restored);
    // A fresh wallet reports that it has nothing.
    life.report_wallet(WalletReport::default());
    assert_eq!(at_once(&life), restored);
    // The node is not taken to run: the recovery needs the connections.
    assert_eq!(life.status().obstacle, None);
    assert!(life.shutdown(LONG).closed);

    let life = town.open("new phone");
    assert_eq!(at_once(&life), restored);
    assert!(life.on_background(LONG).suspended);
    let config = Config::new(town.dirs.path().join("new phone"), Network::Regtest);
    let somebody_else = PeerStorage::open(config, &keys(&town.phone)).unwrap();
    assert_eq!(at_once(&life), restored);
    somebody_else.close(DEADLINE);

    life.on_foreground();
    life.report_wallet(WalletReport::default());
    life.channel_swept(town.report.channels[0].ids).unwrap();
    life.on_network_changed(true);
    let start = within(CHECK, || life.check_before_node_start(CHECK));
    assert_ne!(start, restored);
    assert!(town.bob.node.closed_channels().is_empty());
}

#[test]
fn a_peer_that_returns_an_older_backup_than_was_sent_cannot_tell() {
    let phone = Phone::settled();
    let older = phone.keeper.kept.lock().unwrap().clone();
    phone.write(b"second");
    phone.keeper.wait_for(b"second");
    phone.wait_idle();
    *phone.keeper.kept.lock().unwrap() = older;
    let check = || within(CHECK, || phone.life.check_before_node_start(CHECK));
    assert_eq!(check(), NodeStart::Unknown(WhyUnknown::OnlyOlder));
    // It was sent the newest again.
    phone.keeper.wait_for(b"second");
    assert_eq!(check(), NodeStart::NothingKnownAgainst);
}

#[test]
fn no_node_may_start_beside_a_session_that_does_not_end() {
    let phone = Phone::settled();
    let life = phone.life.clone();
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let at_work = thread::spawn(move || {
        life.with_session(|_, _| {
            begun.send(()).unwrap();
            may_end.recv().unwrap();
        })
    });
    has_begun.recv().unwrap();
    let check = || within(CHECK, || phone.life.check_before_node_start(CHECK));
    assert_eq!(check(), NodeStart::Unknown(WhyUnknown::StillConnected));
    end.send(()).unwrap();
    at_work.join().unwrap().unwrap();
    assert_eq!(check(), NodeStart::NothingKnownAgainst);
}

#[test]
fn an_alarm_that_is_known_counts_also_where_nothing_can_be_opened() {
    let town = Town::new();
    let life = town.backed_up("storage");
    life.report_wallet(town.old.clone());
    wait_until("the alarm", DEADLINE, || life.status().storage.backup.held);
    assert!(life.on_background(LONG).suspended);
    let dir = town.dirs.path().join("storage");
    let config = Config::new(dir, Network::Regtest);
    let somebody_else = PeerStorage::open(config, &keys(&town.phone)).unwrap();
    assert_do_not_start(within(CHECK, || life.check_before_node_start(CHECK)));
    somebody_else.close(DEADLINE);
}

#[test]
fn an_alarm_does_not_count_the_node_as_running() {
    let town = Town::new();
    let life = town.backed_up("storage");
    life.report_wallet(town.old.clone());
    wait_until("the alarm", DEADLINE, || life.status().storage.backup.held);
    assert_do_not_start(life.check_before_node_start(CHECK));
    assert_eq!(life.status().obstacle, None);
}

#[test]
fn what_nobody_knows_is_unknown_and_says_why() {
    let town = Town::new();
    let life = town.open("storage");
    life.on_network_changed(true);
    let unknown = |why| NodeStart::Unknown(why);
    let check = || within(CHECK, || life.check_before_node_start(CHECK));
    assert_eq!(check(), unknown(WhyUnknown::NotReported));
    life.report_wallet(WalletReport::default());
    assert_eq!(check(), unknown(WhyUnknown::NoPeers));
    life.on_host_node_changed(true);
    let runs = Unavailable::Obstacle(Obstacle::HostNodeRuns);
    assert_eq!(check(), unknown(WhyUnknown::Unavailable(runs)));
    life.on_host_node_changed(false);
    // He keeps nothing for this node yet.
    life.report_wallet(town.report.clone());
    assert_eq!(check(), unknown(WhyUnknown::NothingReturned));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut unreachable = town.report.clone();
    for peer in &mut unreachable.peers {
        peer.addresses = vec![nobody.local_addr().unwrap().into()];
    }
    life.report_wallet(unreachable);
    assert_eq!(check(), unknown(WhyUnknown::NobodyReached));
    let short = within(SHORT, || life.check_before_node_start(SHORT));
    assert_eq!(short, unknown(WhyUnknown::NobodyReached));
}
