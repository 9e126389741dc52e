//! LDK keeps 1024 bytes for a peer with a channel. That is learned, and never concluded from a loss.

use std::sync::Arc;
use std::time::Duration;

use ldk_peer_storage::backup::{encode, Padding, Tier, MAX_BLOB, SMALL_BLOB};
use ldk_peer_storage::exchange::{Capacity, Event, Health};
use testkit::{open_channel, wait_until, Chain, Node, NodeConfig, DEADLINE};

use crate::support::{
    backup_key, kept_for, of_peer, take_events, ManualClock, Wallet, WalletConfig,
};

/// A phone with a channel to a stock node, and a clock.
struct Pair {
    stock: Node,
    phone: Wallet,
    clock: Arc<ManualClock>,
    chain: Arc<Chain>,
    _home: tempfile::TempDir,
}

impl Pair {
    fn new(hears_warnings: bool) -> Pair {
        let home = tempfile::tempdir().unwrap();
        let chain = Chain::new();
        let config = |name: &str| NodeConfig::new(name, home.path().join(name), chain.clone());
        let clock = ManualClock::new();
        let mut phone = WalletConfig::new(config("phone")).clock(clock.clone());
        phone.hears_warnings = hears_warnings;
        // Without warnings it counts when the last blob was sent: no state is to be pushed in between.
        phone.monitors = hears_warnings;
        Pair {
            stock: Node::start(config("stock")),
            phone: Wallet::start(phone),
            clock,
            chain,
            _home: home,
        }
    }

    fn with_channel(self) -> Pair {
        self.phone.connect_to(&self.stock);
        open_channel(&self.chain, &self.phone.node, &self.stock, 1_000_000);
        self
    }

    fn capacity(&self) -> Capacity {
        let status = of_peer(&self.phone.storage, &self.stock.id());
        status.map(|status| status.capacity).unwrap_or_default()
    }

    fn is_verified(&self) -> bool {
        let status = of_peer(&self.phone.storage, &self.stock.id()).unwrap();
        let newest = self.phone.storage.status().backup.newest;
        status.health == Health::Verified
            && status.verified.map(|v| (Some(v.revision), v.tier))
                == Some((newest, Tier::Essential))
    }

    fn pushed(&self) -> usize {
        let received = self.stock.wire().received_from(&self.phone.node.id());
        received
            .iter()
            .filter(|name| *name == "PeerStorage")
            .count()
    }
}

#[test]
fn the_essentials_are_kept_by_a_stock_peer_and_its_warning_tells_the_capacity() {
    let pair = Pair::new(true).with_channel();
    let (phone, stock) = (&pair.phone, &pair.stock);
    phone.storage.set_app_data(vec![7; 3000]);
    phone.reconnect(stock);
    wait_until("the capacity to be learned", DEADLINE, || {
        matches!(pair.capacity(), Capacity::Small { .. })
    });
    assert!(pair.pushed() >= 2, "a small one first, then a large one");
    let learned = Event::CapacityLearned {
        peer: stock.id(),
        bytes: SMALL_BLOB,
    };
    wait_until("the event", DEADLINE, || {
        take_events(&phone.storage).contains(&learned)
    });
    assert!(phone.storage.flush(DEADLINE));

    phone.reconnect(stock);
    wait_until("the small blob to be verified", DEADLINE, || {
        pair.is_verified()
    });
    assert_eq!(phone.storage.status().backup.unprotected_channels, 0);
    assert_eq!(phone.storage.status().backup.verified_whole_by, 0);

    // From now on only what it keeps is sent.
    let (before, warnings) = (pair.pushed(), warnings(&pair));
    phone.storage.set_app_data(vec![8; 3000]);
    wait_until("the next backup", DEADLINE, || pair.pushed() > before);
    phone.reconnect(stock);
    wait_until("it to be verified too", DEADLINE, || pair.is_verified());
    assert!(phone.storage.flush(DEADLINE));
    assert_eq!(
        (pair.pushed(), self::warnings(&pair)),
        (before + 1, warnings)
    );
    assert!(phone.storage.alarms().is_empty());
    assert!(!take_events(&phone.storage).contains(&learned), "told once");
}

fn warnings(pair: &Pair) -> usize {
    pair.phone.node.wire().warnings_from(&pair.stock.id()).len()
}

#[test]
fn without_the_warnings_two_late_returns_of_the_small_blob_tell_the_capacity() {
    let pair = Pair::new(false).with_channel();
    let (phone, stock) = (&pair.phone, &pair.stock);
    phone.storage.set_app_data(vec![7; 3000]);
    phone.reconnect(stock);
    wait_until("the large blob to be sent", DEADLINE, || pair.pushed() >= 2);
    // Too early to tell anything.
    phone.reconnect(stock);
    let returns = |wanted| {
        wait_until("the small blob to count", DEADLINE, || {
            match pair.capacity() {
                Capacity::Probing { small_returns, .. } => small_returns == wanted,
                _ => false,
            }
        })
    };
    returns(0);
    pair.clock.advance(Duration::from_secs(125));
    phone.reconnect(stock);
    returns(1);
    // The large one was sent again just now, and must have its time as well.
    phone.reconnect(stock);
    returns(1);
    pair.clock.advance(Duration::from_secs(125));
    phone.reconnect(stock);
    wait_until("the capacity to be learned", DEADLINE, || {
        matches!(pair.capacity(), Capacity::Small { .. })
    });
    let learned = Event::CapacityLearned {
        peer: stock.id(),
        bytes: SMALL_BLOB,
    };
    wait_until("the event", DEADLINE, || {
        take_events(&phone.storage).contains(&learned)
    });
    phone.reconnect(stock);
    wait_until("the small blob to be verified", DEADLINE, || {
        pair.is_verified()
    });
    assert!(phone.storage.alarms().is_empty());
}

#[test]
fn a_stock_peer_without_a_channel_refuses_and_the_status_shows_it() {
    let pair = Pair::new(true);
    let (phone, stock) = (&pair.phone, &pair.stock);
    phone.storage.list_peers([stock.id()].into());
    phone.connect_to(stock);
    phone.storage.push_now();
    assert!(phone.storage.on_background(DEADLINE).complete);
    assert_eq!(pair.pushed(), 0, "not before its time to answer is over");
    pair.clock.advance(Duration::from_secs(31));
    phone.clock_moved();
    wait_until("the refusal", DEADLINE, || {
        of_peer(&phone.storage, &stock.id()).is_some_and(|p| p.health == Health::Refused)
    });
    let refused = Event::Refused { peer: stock.id() };
    wait_until("the event", DEADLINE, || {
        take_events(&phone.storage).contains(&refused)
    });
    assert_eq!(phone.storage.status().backup.verified_by, 0);
    // Asked no more until there is a channel; then it keeps the backup.
    let pushed = pair.pushed();
    phone.storage.set_app_data(vec![1; 10]);
    assert!(phone.storage.flush(DEADLINE));
    assert_eq!(pair.pushed(), pushed);
    open_channel(&pair.chain, &phone.node, stock, 1_000_000);
    wait_until("a backup for the channel", DEADLINE, || {
        pair.pushed() > pushed
    });
    assert!(phone.storage.on_background(DEADLINE).complete);
    phone.reconnect(stock);
    wait_until("it to come back", DEADLINE, || {
        of_peer(&phone.storage, &stock.id()).is_some_and(|p| p.health == Health::Verified)
    });
}

#[test]
fn a_peer_that_lost_the_large_blob_in_a_crash_is_not_taken_for_a_small_one() {
    let home = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| {
        WalletConfig::new(NodeConfig::new(name, home.path().join(name), chain.clone()))
    };
    let clock = ManualClock::new();
    let peer = Wallet::start(config("peer"));
    let phone = Wallet::start(config("phone").clock(clock.clone()));
    phone.connect_to(&peer.node);
    open_channel(&chain, &phone.node, &peer.node, 1_000_000);
    phone.storage.set_app_data(vec![7; 3000]);
    phone.reconnect(&peer.node);
    let pushed = |peer: &Wallet| {
        let received = peer.node.wire().received_from(&phone.node.id());
        received
            .iter()
            .filter(|name| *name == "PeerStorage")
            .count()
    };
    wait_until("small and large", DEADLINE, || pushed(&peer) >= 2);
    assert!(phone.storage.on_background(DEADLINE).complete);

    // As if it had been killed between the two writes; both have arrived.
    clock.advance(Duration::from_secs(180));
    let seeds = (phone.node.config().seed, peer.node.config().seed);
    let peer = peer.stop();
    let slot = kept_for(phone.node.id(), &seeds.1, &peer.storage_dir);
    let large = slot.contents(&seeds.0);
    assert_eq!(large.tier, Tier::Full);
    let small = encode(&large.snapshot, Tier::Essential, SMALL_BLOB).unwrap();
    let key = backup_key(&seeds.0);
    let small = key.seal(&small.plaintext, Padding::Buckets, SMALL_BLOB, [1; 24]);
    slot.replace(&small.unwrap());
    drop(slot);

    let peer = Wallet::start(peer);
    phone.reconnect(&peer.node);
    let capacity = || of_peer(&phone.storage, &peer.node.id()).unwrap().capacity;
    wait_until("the large blob to be sent again", DEADLINE, || {
        pushed(&peer) >= 2
    });
    assert!(matches!(
        capacity(),
        Capacity::Probing {
            small_returns: 1,
            ..
        }
    ));
    assert!(phone.storage.flush(DEADLINE) && peer.storage.flush(DEADLINE));
    phone.reconnect(&peer.node);
    wait_until("the large blob to come back", DEADLINE, || {
        capacity() == Capacity::Large
    });
    let learned = Event::CapacityLearned {
        peer: peer.node.id(),
        bytes: MAX_BLOB,
    };
    wait_until("the event", DEADLINE, || {
        take_events(&phone.storage).contains(&learned)
    });
    assert!(phone.storage.alarms().is_empty());
    assert_eq!(phone.storage.status().backup.verified_whole_by, 1);
}
