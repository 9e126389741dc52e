//! Asking a peer to close: the one thing that closes a channel, and only when it is asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint};
use lightning::ln::types::ChannelId;
use lightning::util::logger::Logger;
use lightning::util::ser::Writeable;
use testkit::{
    open_channel, raw_peer, wait_until, Chain, Direction, Node, NodeConfig, Outgoing, RawPeer,
    WireTap, DEADLINE,
};

use super::support::{keys, Wallet, WalletConfig};
use crate::backup::PeerRecord;
use crate::service::{Config, PeerStorage};
use crate::session::close::NotAsked;
use crate::session::{CloseAttempt, NotReached, Session, SessionConfig, Times, Work};

const REST: Duration = Duration::from_millis(600);
const STAY: Duration = Duration::from_millis(1500);

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: lightning::util::logger::Record) {}
}

struct Quiet {
    session: Session,
    wire: Arc<WireTap>,
}

fn open(node: &NodeConfig, storage_dir: &Path) -> Quiet {
    let keys = Arc::new(keys(node));
    let storage = PeerStorage::open(Config::new(storage_dir, Network::Regtest), &*keys).unwrap();
    let wire = Arc::new(WireTap::new(Arc::new(Silent)));
    let config = SessionConfig {
        logger: Some(wire.clone()),
        times: Times {
            after_reestablish: REST,
            first_reestablish: 2 * REST,
            ..Times::default()
        },
        ..SessionConfig::default()
    };
    Quiet {
        session: Session::open(storage, keys, config).unwrap(),
        wire,
    }
}

fn record(peer: PublicKey, addr: std::net::SocketAddr) -> PeerRecord {
    PeerRecord {
        node_id: peer,
        addresses: vec![addr.into()],
    }
}

/// A phone that has lost the state of its channels: two with Bob, who runs this crate, and two with
/// Carol, who runs stock LDK.
struct Stage {
    chain: Arc<Chain>,
    phone_id: PublicKey,
    bob: Wallet,
    carol: Node,
    /// The first channel with each.
    channels: [ChannelId; 2],
    funding: Vec<OutPoint>,
    quiet: Quiet,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let chain = Chain::new();
        let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
        let phone = Wallet::start(WalletConfig::new(config("phone")));
        let bob = Wallet::start(WalletConfig::new(config("bob")));
        let carol = Node::start(config("carol"));
        let channels = [&bob.node, &carol].map(|peer| {
            phone.connect_to(peer);
            let first = open_channel(&chain, &phone.node, peer, 1_000_000);
            open_channel(&chain, &phone.node, peer, 500_000);
            first
        });
        let funding = phone.node.funding_outpoints();
        assert_eq!(funding.len(), 4);
        let phone_id = phone.node.id();
        let stopped = phone.stop();
        Stage {
            chain,
            phone_id,
            bob,
            carol,
            channels,
            funding,
            quiet: open(&stopped.node, &stopped.storage_dir),
            _dir: dir,
        }
    }

    fn peers(&self) -> [&Node; 2] {
        [&self.bob.node, &self.carol]
    }

    fn spent(&self) -> usize {
        let spent = |f: &&OutPoint| self.chain.spender(**f).is_some();
        self.funding.iter().filter(spent).count()
    }

    fn request(&self, peer: &Node, attempt: CloseAttempt, stay: Duration) {
        let record = record(peer.id(), peer.addr());
        let outcome =
            self.quiet
                .session
                .request_close(&record, attempt, Box::new(|_, _| true), stay);
        assert_eq!(outcome.asked, Ok(()));
        assert_eq!(outcome.seen.len(), 2, "{outcome:?}");
    }

    /// The channel that was named closes on chain, and no other.
    fn assert_first_closes(&self, peer: &Node, channel: ChannelId, closed_before: usize) {
        peer.wait_closed(&channel);
        wait_until("the channel to close on chain", DEADLINE, || {
            self.spent() == closed_before + 1
        });
        assert_eq!(peer.closed_channels().len(), 1);
        assert_eq!(peer.channels_with(&self.phone_id).len(), 1);
    }

    fn assert_sent(&self, peer: &Node, name: &str) {
        let sent = self.quiet.wire.sent_to(&peer.id());
        let about_channels = sent.iter().filter(|sent| *sent == name).count();
        assert_eq!(about_channels, 1, "{sent:?}");
        super::assert_quiet_but_for(&sent, name);
        assert_eq!(peer.panicked(), None);
    }
}

#[test]
fn an_error_closes_the_channel_it_names_at_stock_ldk_and_visits_close_none() {
    let stage = Stage::new();
    let records = stage.peers().map(|peer| record(peer.id(), peer.addr()));
    let report = stage.quiet.session.run(&records, Work::default(), DEADLINE);
    assert!(
        report.peers.iter().all(|peer| peer.outcome.is_ok()),
        "{report:?}"
    );
    for peer in stage.peers() {
        assert_eq!(peer.channels_with(&stage.phone_id).len(), 2);
        assert!(peer.closed_channels().is_empty());
    }
    assert_eq!(stage.spent(), 0);

    // A node of this project keeps an error from LDK until it has seen a 136: its state may be old.
    let [bobs, carols] = stage.channels;
    for (peer, channel) in stage.peers().into_iter().zip([bobs, carols]) {
        let channels = vec![channel];
        stage.request(peer, CloseAttempt::Error { channels }, 2 * STAY);
        stage.assert_sent(peer, "Error");
    }
    stage.assert_first_closes(&stage.carol, carols, 0);
    assert!(stage.bob.node.closed_channels().is_empty());
}

#[test]
fn a_bogus_reestablish_closes_the_channel_it_names_at_stock_ldk_and_at_ours() {
    let stage = Stage::new();
    for (n, (peer, channel)) in stage.peers().into_iter().zip(stage.channels).enumerate() {
        let channels = vec![channel];
        stage.request(peer, CloseAttempt::BogusReestablish { channels }, 2 * STAY);
        stage.assert_sent(peer, "ChannelReestablish");
        stage.assert_first_closes(peer, channel, n);
    }
}

#[test]
fn a_peer_is_asked_only_when_it_has_said_no_136_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = Arc::new(RawPeer::new("bob"));
    let id = quiet.session.node_id;
    let reestablish = |n: u8| {
        let samples = raw_peer::channel_messages(ChannelId([n; 32]));
        let (type_id, body) = samples.into_iter().find(|(id, _)| *id == 136).unwrap();
        Outgoing::Raw {
            to: id,
            type_id,
            body,
        }
    };
    // A second one comes when the first wait is nearly over.
    let (first, second) = (reestablish(1), reestablish(2));
    bob.on_connect(move |_, _| vec![first.clone()]);
    let sender = bob.clone();
    let late = std::thread::spawn(move || {
        sender.wait_connected(&id);
        std::thread::sleep(REST * 3 / 4);
        sender.send(second);
    });
    let attempt = CloseAttempt::Error {
        channels: vec![ChannelId([1; 32]), ChannelId([2; 32])],
    };
    let record = record(bob.id(), bob.addr());
    let outcome = quiet
        .session
        .request_close(&record, attempt, Box::new(|_, _| true), STAY);
    late.join().unwrap();
    assert_eq!(outcome.asked, Ok(()));
    assert_eq!(outcome.seen.len(), 2);

    // At the wire of the asking side: bytes that are still under way are nobody's fault.
    let all = quiet.wire.with(&bob.id());
    let at = |direction, name: &str| {
        let mut found = all
            .iter()
            .filter(|m| (m.direction, m.name.as_str()) == (direction, name));
        found.next_back().unwrap().at
    };
    let asked = all.iter().find(|m| m.name == "Error").unwrap().at;
    let last = at(Direction::Received, "ChannelReestablish");
    assert!(
        asked >= last + REST,
        "asked {:?} after the last 136",
        asked - last
    );
    let errors: Vec<_> = bob
        .received()
        .into_iter()
        .filter(|m| m.type_id == 17)
        .collect();
    assert_eq!(errors.len(), 2);
    let text = b"force close requested: channel state lost";
    for (error, channel) in errors.iter().zip([1, 2]) {
        assert!(error.body.starts_with(&[channel; 32]) && error.body.ends_with(text));
    }
    super::assert_quiet_but_for(&quiet.wire.sent_to(&bob.id()), "Error");
}

#[test]
fn a_peer_that_says_no_136_is_asked_after_a_longer_while() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = RawPeer::new("bob");
    let attempt = CloseAttempt::BogusReestablish {
        channels: vec![ChannelId([1; 32])],
    };
    let record = record(bob.id(), bob.addr());
    let outcome = quiet
        .session
        .request_close(&record, attempt, Box::new(|_, _| true), STAY);
    assert_eq!((outcome.asked, outcome.seen.len()), (Ok(()), 0));
    let all = quiet.wire.with(&bob.id());
    let at = |name: &str| all.iter().rfind(|m| m.name == name).unwrap().at;
    assert!(at("ChannelReestablish") - at("Init") >= 2 * REST);
    let bogus = bob
        .received()
        .into_iter()
        .find(|m| m.type_id == 136)
        .unwrap();
    let bogus: lightning::ln::msgs::ChannelReestablish = bogus.read();
    assert_eq!(bogus.next_local_commitment_number, 0);
    assert_eq!(bogus.next_remote_commitment_number, 0);
    assert_eq!(bogus.your_last_per_commitment_secret, [1; 32]);
    super::assert_quiet_but_for(&quiet.wire.sent_to(&bob.id()), "ChannelReestablish");
}

#[test]
fn a_peer_that_hangs_up_is_not_waited_for_and_its_words_are_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = Arc::new(RawPeer::new("bob"));
    let answer = Outgoing::error(
        quiet.session.node_id,
        ChannelId([1; 32]),
        "recovery required",
    );
    bob.on_message(move |message| match message.type_id {
        17 => vec![answer.clone()],
        _ => Vec::new(),
    });
    let hanging_up = bob.clone();
    let id = quiet.session.node_id;
    let leave = std::thread::spawn(move || {
        hanging_up.wait_received("the order", 0, |m| m.type_id == 17);
        wait_until("the answer to leave", DEADLINE, || {
            let sent = hanging_up.wire().sent_to(&id);
            sent.iter().any(|name| name == "Error")
        });
        hanging_up.disconnect(&id);
    });
    let attempt = CloseAttempt::Error {
        channels: vec![ChannelId([1; 32])],
    };
    let begun = Instant::now();
    let stay = 10 * DEADLINE;
    let record = record(bob.id(), bob.addr());
    let outcome = quiet
        .session
        .request_close(&record, attempt, Box::new(|_, _| true), stay);
    assert!(begun.elapsed() < DEADLINE);
    assert!(outcome.hung_up);
    assert_eq!(outcome.errors, ["recovery required"]);
    leave.join().unwrap();
}

#[test]
fn nobody_is_asked_to_close_all_channels_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = RawPeer::new("bob");
    let record = record(bob.id(), bob.addr());
    let ask = |attempt| {
        quiet
            .session
            .request_close(&record, attempt, Box::new(|_, _| true), STAY)
            .asked
    };
    let zero = || vec![ChannelId([1; 32]), ChannelId::new_zero()];
    let attempts = [
        CloseAttempt::Error { channels: zero() },
        CloseAttempt::BogusReestablish { channels: zero() },
    ];
    for attempt in attempts {
        assert_eq!(ask(attempt), Err(NotAsked::AllChannels));
    }
    let nothing = CloseAttempt::Error {
        channels: Vec::new(),
    };
    assert_eq!(ask(nothing), Err(NotAsked::NoChannel));
    assert!(bob.received().is_empty(), "nobody has even connected");
}

#[test]
fn a_peer_that_leaves_before_it_was_asked_is_told_nothing_later() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = Arc::new(RawPeer::new("bob"));
    let id = quiet.session.node_id;
    let leaving = bob.clone();
    let leave = std::thread::spawn(move || {
        leaving.wait_connected(&id);
        leaving.disconnect(&id);
    });
    let attempt = CloseAttempt::Error {
        channels: vec![ChannelId([1; 32])],
    };
    let bobs = record(bob.id(), bob.addr());
    let outcome = quiet
        .session
        .request_close(&bobs, attempt, Box::new(|_, _| true), STAY);
    assert_eq!(outcome.asked, Err(NotAsked::NoRest));
    assert!(outcome.hung_up);
    leave.join().unwrap();
    let blob = 9u16.encode();
    bob.on_connect(move |to, _| vec![Outgoing::retrieval(to, blob.clone())]);
    let report = quiet.session.run(&[bobs], Work::default(), DEADLINE);
    assert!(report.peers[0].outcome.is_ok(), "{report:?}");
    super::assert_quiet_but_for(&quiet.wire.sent_to(&bob.id()), "");
}

#[test]
fn a_peer_that_is_not_reached_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = RawPeer::new("bob");
    let mut nowhere = record(bob.id(), bob.addr());
    nowhere.addresses.clear();
    let attempt = CloseAttempt::Error {
        channels: vec![ChannelId([1; 32])],
    };
    let outcome = quiet
        .session
        .request_close(&nowhere, attempt, Box::new(|_, _| true), STAY);
    assert_eq!(
        outcome.asked,
        Err(NotAsked::NotReached(NotReached::NoAddress))
    );
}

#[test]
fn of_the_channels_of_an_attempt_a_peer_is_asked_for_those_that_may_be_by_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = open(
        &NodeConfig::new("phone", dir.path(), Chain::new()),
        dir.path(),
    );
    let bob = RawPeer::new("bob");
    let named = ChannelId([1; 32]);
    bob.on_connect(move |to, _| {
        let samples = raw_peer::channel_messages(named).into_iter();
        let message = samples.filter(|(type_id, _)| *type_id == 136);
        message
            .map(|(type_id, body)| Outgoing::Raw { to, type_id, body })
            .collect()
    });
    let bobs = record(bob.id(), bob.addr());
    let ask = |channels| {
        let attempt = CloseAttempt::Error { channels };
        let may_ask = |id: &ChannelId, named: &[ChannelId]| named.contains(id);
        let session = &quiet.session;
        session
            .request_close(&bobs, attempt, Box::new(may_ask), STAY)
            .asked
    };
    assert_eq!(ask(vec![ChannelId([2; 32])]), Err(NotAsked::NotNamed));
    super::assert_quiet_but_for(&quiet.wire.sent_to(&bob.id()), "");
    assert_eq!(ask(vec![ChannelId([2; 32]), named]), Ok(()));
    let sent = quiet.wire.sent_to(&bob.id());
    assert_eq!(sent.iter().filter(|name| *name == "Error").count(), 1);
}
