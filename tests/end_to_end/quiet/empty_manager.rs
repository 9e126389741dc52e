//! The app starts its whole node on the new phone at once: the `ChannelManager` has the old keys and
//! no channel.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use ldk_peer_storage::exchange::{AlarmKind, Event, Evidence, Past, PastError};
use ldk_peer_storage::service::PeerStorage;
use lightning::ln::types::ChannelId;
use testkit::{open_channel, wait_until, wipe, Chain, Direction, Node, NodeConfig, DEADLINE};

use super::assert_open;
use crate::support::{assert_quiet, Begin, ManualClock, Wallet, WalletConfig};

#[test]
fn an_empty_node_that_does_not_know_its_past_closes_nothing() {
    let world = World::after_the_loss();
    let phone = world.new_phone();
    assert_eq!(phone.storage.status().backup.past, Past::Unknown);

    world.meet_carol(&phone);
    wait_until("word of an unknown channel", DEADLINE, || {
        events(&phone.storage).iter().any(|event| {
            matches!(event, Event::UnknownChannel { peer, channel_id }
                if *peer == world.carol.id() && *channel_id == world.with_carol)
        })
    });
    assert!(phone.storage.alarms().is_empty());
    world.meet_bob_and_assert_alarm(&phone);
    world.assert_that_nothing_happens(phone);
}

#[test]
fn an_empty_node_that_is_wrongly_declared_new_closes_nothing_and_overwrites_nothing() {
    let world = World::after_the_loss();
    let phone = world.new_phone();
    phone.storage.declare_new().unwrap();
    world.meet_carol(&phone);
    world.meet_bob_and_assert_alarm(&phone);
    world.assert_that_nothing_happens(phone);
}

#[test]
fn an_empty_node_is_not_adopted_and_closes_nothing_and_overwrites_nothing() {
    let world = World::after_the_loss();
    let phone = world.new_phone();
    assert_eq!(phone.storage.adopt(), Err(PastError::NothingToAdopt));
    assert_eq!(phone.storage.past(), Past::Unknown);
    world.meet_carol(&phone);
    world.meet_bob_and_assert_alarm(&phone);
    world.assert_that_nothing_happens(phone);
}

/// The phone is gone. Bob keeps its backup, Carol (a stock node) has none.
struct World {
    chain: Arc<Chain>,
    bob: Wallet,
    carol: Node,
    with_carol: ChannelId,
    phone: PublicKey,
    lost: WalletConfig,
    /// Of the new phone.
    clock: Arc<ManualClock>,
    funding: Vec<OutPoint>,
    /// How much the phone had published before.
    submitted: usize,
    _dir: tempfile::TempDir,
}

impl World {
    fn after_the_loss() -> World {
        let dir = tempfile::tempdir().unwrap();
        let chain = Chain::new();
        let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
        let wallet = |name: &str| Wallet::start(WalletConfig::new(config(name)));
        let (phone, bob) = (wallet("phone"), wallet("bob"));
        let carol = Node::start(config("carol"));
        phone.connect_to(&bob.node);
        phone.connect_to(&carol);
        open_channel(&chain, &phone.node, &bob.node, 1_000_000);
        let with_carol = open_channel(&chain, &phone.node, &carol, 1_000_000);
        phone.reconnect(&bob.node);
        assert!(phone.storage.on_background(DEADLINE).complete);
        let id = phone.node.id();
        wait_until("a backup to arrive", DEADLINE, || {
            let received = bob.node.wire().received_from(&id);
            received.iter().any(|name| name == "PeerStorage")
        });
        assert!(bob.storage.flush(DEADLINE));
        let funding = phone.node.funding_outpoints();
        let lost = phone.kill();
        let submitted = chain.submitted_by(&lost.node.name).len();
        wipe(&lost.node.dir);
        wipe(&lost.storage_dir);
        wait_until("the peers to notice", DEADLINE, || {
            !bob.node.is_connected(&id) && !carol.is_connected(&id)
        });
        World {
            chain,
            bob,
            carol,
            with_carol,
            phone: id,
            lost,
            clock: ManualClock::new(),
            funding,
            submitted,
            _dir: dir,
        }
    }

    /// The same seed, and nothing else.
    fn new_phone(&self) -> Wallet {
        let config = self.lost.clone().begin(Begin::AsIs);
        let phone = Wallet::start(config.clock(self.clock.clone()));
        assert_eq!(phone.node.id(), self.phone);
        phone
    }

    fn meet_carol(&self, phone: &Wallet) {
        phone.connect_to(&self.carol);
        let wire = phone.node.wire();
        wire.wait_received(&self.carol.id(), "ChannelReestablish", DEADLINE);
        let received = wire.received_from(&self.carol.id());
        assert!(!received.iter().any(|name| name == "PeerStorageRetrieval"));
        // All waits are over by now, those of messages and those of pushes.
        self.clock.advance(Duration::from_secs(60));
        phone.clock_moved();
        wait_until("the phone to have nothing to do", DEADLINE, || {
            phone.storage.flush(Duration::from_millis(100))
        });
        phone.node.peer_manager().process_events();
        assert_quiet(&wire.sent_to(&self.carol.id()));
    }

    /// The app is told what is missing, and by whom it is known.
    fn meet_bob_and_assert_alarm(&self, phone: &Wallet) {
        phone.connect_to(&self.bob.node);
        wait_until("an alarm", DEADLINE, || phone.storage.is_holding());
        let alarms = phone.storage.alarms();
        let [alarm] = &alarms[..] else {
            panic!("one alarm: {alarms:?}")
        };
        let AlarmKind::StaleState {
            peer,
            evidence: Evidence::ChannelMissing { .. },
        } = &alarm.kind
        else {
            panic!("a channel is missing: {alarm:?}")
        };
        assert_eq!(*peer, Some(self.bob.node.id()));
        assert!(phone.storage.flush(DEADLINE));
        let events = events(&phone.storage);
        assert!(events.contains(&Event::AlarmRaised(alarm.clone())));
        let merged = events.iter().find_map(|event| match event {
            Event::ChannelsMerged { channels, .. } => Some(channels),
            _ => None,
        });
        assert_eq!(merged.expect("the backup's channels").len(), 2);
        assert_eq!(phone.storage.status().backup.restored_channels, 2);
    }

    /// Neither time nor blocks nor a new connection makes the phone say anything of channels, or
    /// overwrite the backup.
    fn assert_that_nothing_happens(self, phone: Wallet) {
        let peers = [&self.bob.node, &self.carol];
        // LDK loses patience with a peer that owes it a 136, and disconnects.
        for peer in [&self.bob.node, &self.carol, &phone.node] {
            (0..3).for_each(|_| peer.tick());
        }
        self.chain.mine(10);
        for peer in [&self.bob.node, &self.carol, &phone.node] {
            peer.sync();
        }
        for peer in peers {
            let mark = phone.node.wire().mark();
            phone.node.disconnect_from(peer);
            phone.connect_to(peer);
            let (id, wire) = (peer.id(), phone.node.wire());
            wire.wait_for(
                mark,
                &id,
                Direction::Received,
                "ChannelReestablish",
                DEADLINE,
            );
        }
        phone.storage.push_now();
        assert!(phone.storage.on_background(DEADLINE).complete);
        for peer in peers {
            let sent = phone.node.wire().sent_to(&peer.id());
            assert_quiet(&sent);
            assert!(!sent.iter().any(|name| name == "PeerStorage"), "{sent:?}");
        }
        assert_eq!(phone.node.panicked(), None);
        let submitted = self.chain.submitted_by(phone.node.name()).len();
        assert_eq!(submitted, self.submitted, "the phone publishes nothing");
        assert_open(&self.chain, &self.phone, &self.funding, &peers);
    }
}

/// All that the app is told, each once.
fn events(storage: &PeerStorage) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((id, event)) = storage.next_event().unwrap() {
        storage.event_handled(id).unwrap();
        events.push(event);
    }
    events
}
