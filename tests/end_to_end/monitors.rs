//! Channel monitors in the backups of real nodes, and back out of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::backup::{
    ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, Contents, MonitorRecord, Part, Tier,
};
use ldk_peer_storage::exchange::{Capacity, Event, WalletState};
use ldk_peer_storage::service::WalletSource;
use lightning::ln::types::ChannelId;
use testkit::{
    open_channel, pay, pay_hold, wait_until, wipe, Chain, Node, NodeConfig, Outgoing, RawPeer,
    DEADLINE,
};

use crate::support::{
    backup_key, kept_for, of_peer, read_monitor, take_events, wait_pushes_arrived, ManualClock,
    QuietNode, Wallet, WalletConfig,
};

/// A phone with a clock of its own, and its friends.
struct Home {
    chain: Arc<Chain>,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        Home {
            chain: Chain::new(),
            clock: ManualClock::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn node(&self, name: &str) -> NodeConfig {
        NodeConfig::new(name, self.dir.path().join(name), self.chain.clone())
    }

    fn config(&self, name: &str) -> WalletConfig {
        WalletConfig::new(self.node(name))
    }

    fn phone(&self) -> WalletConfig {
        self.config("phone").clock(self.clock.clone())
    }

    /// What a friend that is stopped for it keeps for the phone.
    fn kept(&self, friend: Wallet) -> (Contents, WalletConfig) {
        let seed = self.phone().node.seed;
        let id = backup_owner(&seed);
        let storer_seed = friend.node.config().seed;
        let config = friend.stop();
        let slot = kept_for(id, &storer_seed, &config.storage_dir);
        (slot.contents(&seed), config)
    }
}

fn backup_owner(seed: &[u8; 32]) -> PublicKey {
    use lightning::sign::{KeysManager, NodeSigner, Recipient};
    let keys = KeysManager::new(seed, 0, 0, true);
    keys.get_node_id(Recipient::Node).unwrap()
}

/// How far the wallet's own monitor has come. It is written at once.
fn live_state(wallet: &Wallet, channel: ChannelId) -> u64 {
    let monitor = wallet.node.parts().chain_monitor.get_monitor(channel);
    monitor.unwrap().get_latest_update_id()
}

/// Everything that was pushed has arrived, and is written.
fn background(phone: &Wallet, friends: &[&Wallet]) {
    assert!(phone.storage.on_background(DEADLINE).complete);
    for friend in friends {
        wait_pushes_arrived(&phone.node.id(), phone.node.wire(), &friend.node);
        assert!(friend.storage.flush(DEADLINE));
    }
}

#[test]
fn the_newest_monitor_travels_and_comes_back_to_a_phone_that_has_lost_everything() {
    let home = Home::new();
    let (phone, bob) = (
        Wallet::start(home.phone()),
        Wallet::start(home.config("bob")),
    );
    phone.connect_to(&bob.node);
    let channel = open_channel(&home.chain, &phone.node, &bob.node, 1_000_000);
    phone.reconnect(&bob.node);
    pay(&phone.node, &bob.node, 1_000_000);
    pay(&bob.node, &phone.node, 500_000);
    background(&phone, &[&bob]);
    let state = live_state(&phone, channel);
    assert_eq!(phone.storage.status().backup.channels_without_monitor, 0);
    assert_eq!(phone.storage.restored_monitors(), [], "it has its own");
    assert!(!take_events(&phone.storage)
        .iter()
        .any(|event| matches!(event, Event::PartsOmitted { .. })));
    let lost = phone.kill();
    let seed = lost.node.seed;

    let (kept, bob) = home.kept(bob);
    assert_eq!((kept.tier, kept.partial), (Tier::Full, false));
    let monitors = kept.snapshot.monitors;
    assert_eq!(monitors.len(), 1);
    assert_eq!(kept.snapshot.channels[0].update_id, state);
    assert_eq!(monitors[0].update_id, state, "not ahead and not behind");
    assert_eq!(read_monitor(&seed, &monitors[0].bytes), (channel, state));

    wipe(&lost.node.dir);
    wipe(&lost.storage_dir);
    let bob = Wallet::start(bob);
    let quiet = QuietNode::start(seed, &lost.storage_dir);
    assert!(quiet.connect(bob.node.id(), bob.node.addr()));
    quiet.wait_read_back(bob.node.id());
    let report = quiet.storage.finish_restore().unwrap();
    assert_eq!(report.monitors.len(), 1);
    let restored = &report.monitors[0];
    assert_eq!(restored.channel.channel_id, Some(channel));
    assert_eq!(restored.channel, report.channels[0].ids);
    assert_eq!((restored.update_id, restored.is_outdated()), (state, false));
    assert!(restored.bytes == monitors[0].bytes);
    assert!(quiet.storage.flush(DEADLINE));
    quiet.stop();

    // It is there after a restart, and goes into the backups of the new epoch...
    let quiet = QuietNode::start(seed, &lost.storage_dir);
    assert_eq!(quiet.storage.restored_monitors(), report.monitors);
    assert!(quiet.connect(bob.node.id(), bob.node.addr()));
    quiet.wait_read_back(bob.node.id());
    assert!(quiet.storage.on_background(DEADLINE).complete);
    wait_until("both blobs", DEADLINE, || {
        let received = bob.node.wire().received_from(&quiet.id());
        received.iter().filter(|n| *n == "PeerStorage").count() >= 2
    });
    let epoch = quiet.storage.status().backup.newest.unwrap().epoch;
    assert!(epoch > kept.snapshot.revision.epoch);
    let (again, bob) = home.kept(bob);
    assert_eq!(again.snapshot.revision.epoch, epoch);
    assert!(again.snapshot.channels[0].restored);
    assert!(again.snapshot.monitors == monitors);
    // ...until the channel is resolved.
    quiet.storage.channel_resolved(report.channels[0].ids);
    assert!(quiet.storage.flush(DEADLINE));
    quiet.stop();
    let quiet = QuietNode::start(seed, &lost.storage_dir);
    assert_eq!(quiet.storage.restored_monitors(), []);
    quiet.stop();
    drop(bob);
}

#[test]
fn a_payment_is_backed_up_a_moment_after_it_and_at_most_once_a_minute() {
    let home = Home::new();
    let (phone, bob) = (
        Wallet::start(home.phone()),
        Wallet::start(home.config("bob")),
    );
    phone.connect_to(&bob.node);
    open_channel(&home.chain, &phone.node, &bob.node, 1_000_000);
    phone.reconnect(&bob.node);
    background(&phone, &[&bob]);
    phone.reconnect(&bob.node);
    wait_until("the capacity to be learned", DEADLINE, || {
        of_peer(&phone.storage, &bob.node.id()).unwrap().capacity == Capacity::Large
    });
    // From now on time stands still, but for what the test adds.
    home.clock.advance(Duration::from_secs(120));
    home.clock.stop();
    phone.clock_moved();
    assert!(phone.storage.flush(DEADLINE));
    wait_pushes_arrived(&phone.node.id(), phone.node.wire(), &bob.node);
    let pushed = || {
        let received = bob.node.wire().received_from(&phone.node.id());
        received.iter().filter(|n| *n == "PeerStorage").count()
    };
    let advance = |seconds| {
        home.clock.advance(Duration::from_secs(seconds));
        phone.clock_moved();
    };
    let before = pushed();
    for round in 1..=2 {
        pay(&phone.node, &bob.node, 1_000_000);
        phone.storage.wallet_changed();
        assert!(phone.storage.flush(DEADLINE));
        assert_eq!(pushed(), before + round - 1, "not yet");
        advance(if round == 1 { 4 } else { 60 });
        wait_until("the payment to be backed up", DEADLINE, || {
            pushed() == before + round
        });
    }
}

#[test]
fn where_there_is_room_for_one_it_is_that_with_the_payment_in_flight() {
    let home = Home::new();
    let phone = Wallet::start(home.phone());
    let (bob, carol) = (
        Wallet::start(home.config("bob")),
        Wallet::start(home.config("carol")),
    );
    for friend in [&bob, &carol] {
        phone.connect_to(&friend.node);
    }
    let large = open_channel(&home.chain, &phone.node, &bob.node, 5_000_000);
    let small = open_channel(&home.chain, &phone.node, &carol.node, 1_000_000);
    for friend in [&bob, &carol] {
        phone.reconnect(&friend.node);
    }
    // Leaves less than 9000 bytes; a young monitor takes 5000 to 7000.
    phone.storage.set_app_data(vec![7; 56_000]);
    background(&phone, &[&bob, &carol]);
    let dropped = |channel| {
        let parts = vec![Part::Monitor(channel)];
        let is_it =
            |event: &Event| matches!(event, Event::PartsOmitted { parts: p, .. } if *p == parts);
        take_events(&phone.storage).iter().any(is_it)
    };
    wait_until("the small one to be named", DEADLINE, || dropped(small));

    pay_hold(&phone.node, &carol.node, 50_000_000);
    background(&phone, &[&bob, &carol]);
    wait_until("the large one to be named", DEADLINE, || dropped(large));
    assert_eq!(phone.storage.status().backup.channels_without_monitor, 1);
    for friend in [bob, carol] {
        let (kept, _) = home.kept(friend);
        assert!(kept.partial && !kept.trimmed);
        assert_eq!(kept.snapshot.app_data.len(), 56_000);
        let monitors = &kept.snapshot.monitors;
        let kept: Vec<_> = monitors.iter().map(|m| m.channel).collect();
        assert_eq!(kept, [small]);
        assert!(monitors[0].pending_htlcs);
        assert_eq!(monitors[0].update_id, live_state(&phone, small));
    }
}

#[test]
fn an_app_that_wants_none_sends_none() {
    let home = Home::new();
    let mut config = home.phone();
    config.monitors = false;
    let (phone, bob) = (Wallet::start(config), Wallet::start(home.config("bob")));
    phone.connect_to(&bob.node);
    open_channel(&home.chain, &phone.node, &bob.node, 1_000_000);
    phone.reconnect(&bob.node);
    phone.storage.set_app_data(vec![7; 3_000]);
    pay(&phone.node, &bob.node, 1_000_000);
    background(&phone, &[&bob]);
    let (kept, _) = home.kept(bob);
    assert_eq!((kept.tier, kept.partial), (Tier::Full, false));
    assert_eq!(kept.snapshot.monitors, []);
    assert_eq!(phone.storage.status().backup.channels_without_monitor, 1);
}

#[test]
fn a_stock_peer_is_offered_a_large_blob_once_and_then_no_states_at_all() {
    let home = Home::new();
    let phone = Wallet::start(home.phone());
    let stock = Node::start(home.node("stock"));
    phone.connect_to(&stock);
    open_channel(&home.chain, &phone.node, &stock, 1_000_000);
    phone.reconnect(&stock);
    assert!(phone.storage.on_background(DEADLINE).complete);
    wait_until("the capacity to be learned", DEADLINE, || {
        let status = of_peer(&phone.storage, &stock.id());
        matches!(status.unwrap().capacity, Capacity::Small { .. })
    });
    // What was under way meanwhile has arrived, or is lost.
    phone.reconnect(&stock);
    assert!(phone.storage.flush(DEADLINE));
    wait_pushes_arrived(&phone.node.id(), phone.node.wire(), &stock);
    let pushed = || {
        let received = stock.wire().received_from(&phone.node.id());
        received.iter().filter(|n| *n == "PeerStorage").count()
    };
    let warnings = || phone.node.wire().warnings_from(&stock.id()).len();
    let before = (pushed(), warnings());
    for _ in 0..3 {
        pay(&phone.node, &stock, 1_000_000);
        phone.storage.wallet_changed();
        home.clock.advance(Duration::from_secs(120));
        phone.clock_moved();
        assert!(phone.storage.flush(DEADLINE));
    }
    assert_eq!((pushed(), warnings()), before);
    // On background it has the new stamps, in a small blob.
    assert!(phone.storage.on_background(DEADLINE).complete);
    wait_until("the small blob", DEADLINE, || pushed() == before.0 + 1);
    phone.reconnect(&stock);
    let status = || of_peer(&phone.storage, &stock.id()).unwrap();
    wait_until("it to come back", DEADLINE, || {
        status().verified.is_some_and(|v| {
            v.tier == Tier::Essential && Some(v.revision) == phone.storage.status().backup.newest
        })
    });
    assert_eq!(warnings(), before.1);
    assert!(phone.storage.alarms().is_empty());
}

/// Thirty channels and their monitors, of which a blob holds eight.
struct Crowded(Mutex<Vec<MonitorRecord>>, PublicKey);

const MONITORS: u8 = 30;

impl Crowded {
    fn new(peer: PublicKey) -> Crowded {
        let monitor = |number| MonitorRecord {
            channel: ChannelId([number; 32]),
            update_id: 9,
            pending_htlcs: number < 3,
            bytes: Arc::new(vec![number; 7_500].into()),
        };
        let monitors = (1..=MONITORS).map(monitor);
        Crowded(Mutex::new(monitors.collect()), peer)
    }
}

impl WalletSource for Crowded {
    fn wallet_state(&self) -> WalletState {
        let channel = |number: u8| ChannelRecord {
            counterparty: self.1,
            ids: ChannelIds {
                channel_id: Some(ChannelId([number; 32])),
                short_channel_id: Some(u64::from(number) << 40),
                ..ChannelIds::default()
            },
            update_id: 9,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: Some(u64::from(number)),
        };
        WalletState {
            channels: (1..=MONITORS).map(channel).collect(),
            ..WalletState::default()
        }
    }

    fn monitors(&self) -> Vec<MonitorRecord> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn of_thirty_channels_the_monitors_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let peer = RawPeer::new("peer");
    let seed = [3; 32];
    let phone = QuietNode::start(seed, dir.path());
    phone.storage.attach(Arc::new(Crowded::new(peer.id())));
    phone.storage.declare_new().unwrap();
    peer.on_connect(|to, _| vec![Outgoing::retrieval(to, Vec::new())]);
    assert!(phone.connect(peer.id(), peer.addr()));
    wait_until("the gate to open", DEADLINE, || {
        !peer.pushed_by(&phone.id()).is_empty()
    });
    assert!(phone.storage.on_background(DEADLINE).complete);
    let mut large = None;
    wait_until("a blob with monitors", DEADLINE, || {
        let pushed = peer.pushed_by(&phone.id());
        let mut opened = pushed
            .iter()
            .map(|blob| backup_key(&seed).open_snapshot(blob).unwrap());
        large = opened.find(|contents| !contents.snapshot.monitors.is_empty());
        large.is_some()
    });
    let large = large.unwrap();
    let kept = large.snapshot.monitors.iter().map(|m| m.channel.0[0]);
    let kept: Vec<u8> = kept.collect();
    // Those with HTLCs pending, and the largest.
    assert_eq!(kept, [1, 2, 25, 26, 27, 28, 29, 30]);
    assert_eq!((large.snapshot.channels.len(), large.trimmed), (30, false));
    let named = take_events(&phone.storage)
        .into_iter()
        .find_map(|event| match event {
            Event::PartsOmitted { parts, .. } => Some(parts),
            _ => None,
        });
    let expected: Vec<_> = (3..25)
        .rev()
        .map(|number| Part::Monitor(ChannelId([number; 32])))
        .collect();
    assert_eq!(named, Some(expected));
    let status = phone.storage.status().backup;
    assert_eq!(status.channels_without_monitor, 22);
    // Here all of them are kept.
    phone.stop();
    let phone = QuietNode::start(seed, dir.path());
    assert_eq!(phone.storage.restored_monitors().len(), 30);
    phone.stop();
}
