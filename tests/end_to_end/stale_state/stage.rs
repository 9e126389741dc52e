//! The story that most of these tests begin with: alice's database is put back thirty payments.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::OutPoint;
use ldk_peer_storage::exchange::{Alarm, OWN_REESTABLISH_WAIT};
use lightning::ln::msgs::ChannelReestablish;
use lightning::ln::types::ChannelId;
use tempfile::TempDir;
use testkit::{
    copy_dir, open_channel, pay, pay_hold, wait_until, wipe, Chain, ChannelType, Direction, Node,
    NodeConfig, Outgoing, RawPeer, RawPeerConfig, DEADLINE,
};

use crate::support::{Begin, ManualClock, Wallet, WalletConfig};

const PAYMENTS: usize = 30;
/// A held payment expires after so many blocks at the latest.
const HTLC_LIFE: u32 = 100;

/// Directories and a chain.
pub struct Stage {
    pub chain: Arc<Chain>,
    dirs: TempDir,
    channel_type: ChannelType,
}

impl Stage {
    pub fn new(channel_type: ChannelType) -> Stage {
        Stage {
            chain: Chain::new(),
            dirs: tempfile::tempdir().unwrap(),
            channel_type,
        }
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.dirs.path().join(name)
    }

    pub fn node(&self, name: &str) -> NodeConfig {
        NodeConfig::new(name, self.dir(name), self.chain.clone()).channel_type(self.channel_type)
    }

    pub fn wallet(&self, name: &str) -> WalletConfig {
        WalletConfig::new(self.node(name))
    }

    /// Copies what a stopped wallet has on its disk.
    pub fn copy(&self, wallet: &WalletConfig) -> DiskCopy {
        let copy = DiskCopy {
            node: tempfile::tempdir_in(self.dirs.path()).unwrap().keep(),
            storage: tempfile::tempdir_in(self.dirs.path()).unwrap().keep(),
        };
        copy_dir(&wallet.node.dir, &copy.node);
        copy_dir(&wallet.storage_dir, &copy.storage);
        copy
    }

    /// Nothing that this node published touches the channel.
    #[track_caller]
    pub fn assert_published_nothing(&self, name: &str, funding: OutPoint) {
        let spends = |tx: &bitcoin::Transaction| {
            let mut inputs = tx.input.iter();
            inputs.any(|input| input.previous_output == funding)
        };
        let published = self.chain.submitted_by(name);
        assert_eq!(published.iter().filter(|tx| spends(tx)).count(), 0);
    }

    /// Mines far beyond the expiry of every HTLC there is, as fast as the nodes can follow.
    pub fn mine_beyond_all_htlcs(&self, nodes: &[&Node]) {
        for _ in 0..(HTLC_LIFE + 100) / 10 {
            self.chain.mine(10);
            nodes.iter().for_each(|node| node.sync());
        }
        nodes.iter().for_each(|node| node.tick());
    }
}

/// What a wallet had on its disk.
pub struct DiskCopy {
    pub node: PathBuf,
    pub storage: PathBuf,
}

/// What kind of node bob is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// With peer storage of this project.
    Decorated,
    /// LDK as it comes: it keeps 1024 bytes.
    Stock,
}

// There is one of it in a test.
#[allow(clippy::large_enum_variant)]
/// The other side of alice's channel.
pub enum Peer {
    Decorated(Wallet),
    Stock(Node),
}

impl Peer {
    pub fn start(stage: &Stage, kind: PeerKind, clock: Arc<ManualClock>) -> Peer {
        match kind {
            PeerKind::Decorated => Peer::Decorated(Wallet::start(stage.wallet("bob").clock(clock))),
            PeerKind::Stock => Peer::Stock(Node::start(stage.node("bob"))),
        }
    }

    /// His clock was moved.
    fn clock_moved(&self) {
        if let Peer::Decorated(wallet) = self {
            wallet.clock_moved();
        }
    }

    pub fn node(&self) -> &Node {
        match self {
            Peer::Decorated(wallet) => &wallet.node,
            Peer::Stock(node) => node,
        }
    }
}

/// What becomes of the directory of peer storage when the node's own is put back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// It is lost, and the app adopts the wallet that it finds.
    Lost,
    /// It is put back as well.
    PutBack,
    /// It was not touched.
    Current,
}

/// Alice, stopped, with the state of thirty payments ago; and bob, who knows better.
pub struct Stale {
    pub stage: Stage,
    pub alice: WalletConfig,
    pub clock: Arc<ManualClock>,
    pub bob: Peer,
    bobs_clock: Arc<ManualClock>,
    pub channel: ChannelId,
    pub funding: OutPoint,
    /// When the payment that is pending in the old state expires.
    pub expiry: u32,
}

impl Stale {
    pub fn new(channel_type: ChannelType, kind: PeerKind, directory: Directory) -> Stale {
        let stage = Stage::new(channel_type);
        let clock = ManualClock::new();
        let bobs_clock = ManualClock::new();
        let bob = Peer::start(&stage, kind, bobs_clock.clone());
        let alice = Wallet::start(stage.wallet("alice").clock(clock.clone()));
        alice.connect_to(bob.node());
        let channel = open_channel(&stage.chain, &alice.node, bob.node(), 1_000_000);
        let funding = alice.node.funding_outpoints()[0];
        alice.reconnect(bob.node());
        // LDK wants to go on chain when this one expires.
        pay_hold(&alice.node, bob.node(), 5_000_000);
        let expiry = alice.node.channels()[0].pending_outbound_htlcs[0].cltv_expiry;
        let alice = alice.stop();
        let old = stage.copy(&alice);

        let alice = Wallet::start(alice);
        alice.reconnect(bob.node());
        pay_often(PAYMENTS, &alice.node, bob.node(), 1);
        push(&alice, bob.node());
        let mut alice = alice.stop();
        copy_dir(&old.node, &alice.node.dir);
        match directory {
            Directory::Lost => {
                wipe(&alice.storage_dir);
                alice.begin = Begin::Adopt;
            }
            Directory::PutBack => copy_dir(&old.storage, &alice.storage_dir),
            Directory::Current => {}
        }
        Stale {
            stage,
            alice,
            clock,
            bob,
            bobs_clock,
            channel,
            funding,
            expiry,
        }
    }

    /// Switches alice on, not connected to anyone.
    pub fn start_alice(&self) -> Wallet {
        let alice = Wallet::start(self.alice.clone());
        alice.learn_address(self.bob.node());
        alice
    }

    /// Alice connects, hears what bob has to say, and is held; returns when all waits are over.
    pub fn meet(&self, alice: &Wallet) {
        self.connect(alice, || ());
        self.wait_held(alice);
    }

    /// The same where alice has waited a little longer than bob. Her clock stands still from then on.
    pub fn meet_impatiently(&self, alice: &Wallet) {
        self.clock.stop();
        self.connect(alice, || {
            let longer = OWN_REESTABLISH_WAIT + Duration::from_millis(500);
            self.clock.advance(longer);
            alice.clock_moved();
            alice.storage.flush(DEADLINE);
            alice.node.peer_manager().process_events();
            self.bobs_clock.advance(OWN_REESTABLISH_WAIT);
            self.bob.clock_moved();
        });
        self.wait_held(alice);
    }

    fn connect(&self, alice: &Wallet, then: impl FnOnce()) {
        let (node, bob) = (&alice.node, self.bob.node());
        let mark = node.wire().mark();
        node.connect(&bob.id(), bob.addr());
        then();
        let received = Direction::Received;
        node.wire()
            .wait_for(mark, &bob.id(), received, "ChannelReestablish", DEADLINE);
    }

    /// The wire shows a message a moment before it is handled.
    fn wait_held(&self, alice: &Wallet) {
        wait_until("the alarm", DEADLINE, || alice.storage.is_holding());
        self.let_time_pass(alice);
    }

    /// If alice's own 136 were to leave without bob's, it would do so now.
    pub fn let_time_pass(&self, alice: &Wallet) {
        self.clock.advance(Duration::from_secs(60));
        alice.clock_moved();
        alice.storage.flush(DEADLINE);
        alice.node.peer_manager().process_events();
    }

    /// Somebody with bob's keys says that the channel is newer than alice knows, and refuses it with
    /// an `error` for it alone and with one for all channels.
    pub fn hear_errors(&self, alice: &Wallet) {
        let first = vec![self.reestablish(alice), self.error(alice, self.channel)];
        self.hear(alice, first);
    }

    /// The same without a word about the channel's state, and each error by itself.
    pub fn hear_errors_before_any_reestablish(&self, alice: &Wallet) {
        self.hear(alice, Vec::new());
        self.hear(alice, vec![self.error(alice, self.channel)]);
    }

    fn error(&self, alice: &Wallet, channel: ChannelId) -> Outgoing {
        Outgoing::error(alice.node.id(), channel, "no such channel")
    }

    fn reestablish(&self, alice: &Wallet) -> Outgoing {
        Outgoing::reestablish(alice.node.id(), reestablish(self.channel, 1_000))
    }

    /// What bob says at the beginning of a connection, and then an error for all channels.
    fn hear(&self, alice: &Wallet, first: Vec<Outgoing>) {
        let bob = self.bob.node().id();
        if alice.node.is_connected(&bob) {
            alice.node.disconnect_from(self.bob.node());
        }
        let mut config = RawPeerConfig::new("an angry bob");
        config.seed = self.bob.node().config().seed;
        let angry = RawPeer::start(config);
        let messages = first.len();
        let has_state = messages == 2;
        angry.on_connect(move |_, _| first.clone());
        let mark = alice.node.wire().mark();
        let heard = || {
            let received = alice.node.wire().received_since(mark, &bob).into_iter();
            let told = received.filter(|name| name == "Error" || name == "ChannelReestablish");
            told.count()
        };
        alice.node.connect(&bob, angry.addr());
        // Whoever dials is connected a moment earlier.
        angry.wait_connected(&alice.node.id());
        wait_until("what bob says first", DEADLINE, || heard() == messages);
        if has_state {
            // The 136 has come. Alice's own does not leave, however long she waits.
            self.let_time_pass(alice);
        }
        // LDK ends the connection after this one.
        angry.send(self.error(alice, ChannelId::new_zero()));
        wait_until("the error for all channels", DEADLINE, || {
            heard() == messages + 1
        });
        wait_until("alice to disconnect", DEADLINE, || {
            !alice.node.is_connected(&bob)
        });
        let said = alice.node.wire().sent_since(mark, &bob);
        assert!(!said.contains(&"ChannelReestablish".to_owned()), "{said:?}");
    }

    /// Alice has done no harm, and bob noticed nothing.
    #[track_caller]
    pub fn assert_harmless(&self, alice: &Wallet) {
        assert_eq!(alice.node.panicked(), None);
        self.stage.assert_published_nothing("alice", self.funding);
    }

    #[track_caller]
    pub fn assert_open_at_bob(&self) {
        let bob = self.bob.node();
        assert_eq!(bob.panicked(), None);
        assert_eq!(self.stage.chain.spender(self.funding), None);
        assert_eq!(bob.channels().len(), 1);
    }

    /// Bob closes the channel by himself, and it is his transaction that spends it.
    pub fn bob_closes(&self, alice: &Wallet) {
        let bob = self.bob.node();
        bob.force_close(&self.channel);
        wait_until("bob's commitment transaction", DEADLINE, || {
            self.stage.chain.spender(self.funding).is_some()
        });
        self.stage.chain.mine(6);
        alice.node.sync();
        bob.sync();
        assert_eq!(bob.panicked(), None);
    }
}

/// Backs up the present state, and waits until the peer has it.
pub fn push(wallet: &Wallet, peer: &Node) {
    let pushes = |node: &Node, other: &Node, direction: Direction| {
        let messages = node.wire().with(&other.id()).into_iter().rev();
        let connection = messages.filter(|m| m.direction == direction);
        let mut connection = connection.take_while(|m| m.name != "Init");
        connection
            .by_ref()
            .filter(|m| m.name == "PeerStorage")
            .count()
    };
    let sent = || pushes(&wallet.node, peer, Direction::Sent);
    assert!(wallet.storage.on_background(DEADLINE).complete);
    let before = sent();
    // Again, in case that there was nothing new.
    wallet.storage.push_now();
    assert!(wallet.storage.flush(DEADLINE));
    wait_until("the peer to have the backup", DEADLINE, || {
        let received = pushes(peer, &wallet.node, Direction::Received);
        sent() > before && received == sent()
    });
}

/// Pays so often that a state from before is long revoked, and waits until nothing but the `held`
/// payments is pending: the payee must have no reason of its own to go on chain.
pub fn pay_often(times: usize, payer: &Node, payee: &Node, held: usize) {
    for _ in 0..times {
        pay(payer, payee, 1_000_000);
    }
    wait_until("the payments to be settled", DEADLINE, || {
        let pending = |node: &Node| {
            let channels = node.channels().into_iter();
            let count = |c: lightning::ln::channel_state::ChannelDetails| {
                c.pending_inbound_htlcs.len() + c.pending_outbound_htlcs.len()
            };
            channels.map(count).sum::<usize>()
        };
        pending(payer) == held && pending(payee) == held
    });
}

/// The alarms that hold channels.
pub fn holding_alarms(wallet: &Wallet) -> Vec<Alarm> {
    let alarms = wallet.storage.alarms().into_iter();
    alarms.filter(|alarm| alarm.kind.holds()).collect()
}

/// A 136 that no state of alice's can match.
pub fn reestablish(channel_id: ChannelId, number: u64) -> ChannelReestablish {
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let secret = bitcoin::secp256k1::SecretKey::from_slice(&[7; 32]).unwrap();
    ChannelReestablish {
        channel_id,
        next_local_commitment_number: number,
        next_remote_commitment_number: number,
        your_last_per_commitment_secret: [7; 32],
        my_current_per_commitment_point: secret.public_key(&secp),
        next_funding: None,
        my_current_funding_locked: None,
    }
}
