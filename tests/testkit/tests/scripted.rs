//! What brings each implementation to close, and what does not: the scripts do as was seen or read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Amount;
use lightning::ln::msgs::ChannelReestablish;
use lightning::ln::types::ChannelId;
use testkit::chain::anyone_can_spend;
use testkit::scripted::{CoreLightning, Eclair, Estate, Held, HeldChannel, Lnd, Script};
use testkit::{wait_until, Chain, Outgoing, RawPeer, ScriptedPeer, DEADLINE};

const CHANNEL: ChannelId = ChannelId([5; 32]);
const DIGESTION: Duration = Duration::from_millis(50);
/// LDK knows nothing of it.
const MARK: u16 = 40_001;

/// Something that a node says which has lost its channels.
#[derive(Clone, Copy, Debug)]
enum Say {
    Error(&'static str),
    ErrorToAll,
    Reestablish(u64, u64),
}

const ERROR: Say = Say::Error("lost");
const BOGUS: Say = Say::Reestablish(0, 0);
const BEYOND: Say = Say::Reestablish(1 << 40, 1 << 40);

/// A peer with a channel, and the node that it is with.
struct Pair {
    chain: Arc<Chain>,
    peer: ScriptedPeer,
    phone: RawPeer,
}

impl Pair {
    /// `numbers`: what the peer says of the channel.
    fn new(script: impl Script, numbers: (u64, u64)) -> Pair {
        let chain = Chain::new();
        let phone = RawPeer::new("phone");
        // What is published is of no matter here.
        let script_pubkey = anyone_can_spend(b"a close");
        let commitment = chain.prepare_payment(&script_pubkey, Amount::from_sat(50_000));
        let estate = Estate {
            name: "peer".to_owned(),
            seed: [9; 32],
            port: None,
            other: phone.id(),
            held: Held {
                blob: Some(vec![1; 300]),
                channels: vec![HeldChannel {
                    reestablish: reestablish(phone.id(), numbers),
                    commitment,
                }],
            },
        };
        let peer = ScriptedPeer::start(&chain, estate, script);
        Pair { chain, peer, phone }
    }

    /// Connects anew, waits for what the peer says of its channel, says all this at once, and returns when
    /// the peer has read it.
    fn burst(&self, words: &[Say]) {
        let (id, from) = (self.peer.raw().id(), self.phone.id());
        let mark = self.phone.received().len();
        let marks = self.marks();
        self.phone.connect(&id, self.peer.raw().addr());
        let what = "the peer's channel_reestablish";
        self.phone.wait_received(what, mark, |m| m.type_id == 136);
        let mut all: Vec<_> = words.iter().map(|word| word.to(id, from)).collect();
        all.push(Outgoing::Raw {
            to: id,
            type_id: MARK,
            body: Vec::new(),
        });
        self.phone.send_all(all);
        wait_until("the peer to read, or to hang up", DEADLINE, || {
            self.marks() > marks || !self.phone.is_connected(&id)
        });
    }

    fn marks(&self) -> usize {
        let received = self.peer.raw().received();
        received.iter().filter(|m| m.type_id == MARK).count()
    }

    fn leave(&self) {
        self.phone.disconnect(&self.peer.raw().id());
        let gone = || self.peer.talks().iter().all(|talk| talk.ended.is_some());
        wait_until("the end of the connection", DEADLINE, gone);
    }

    fn has_closed(&self) -> bool {
        self.peer.has_closed(&CHANNEL)
    }

    /// The channel closes on this, and the close is in the mempool.
    #[track_caller]
    fn assert_closes(self, words: &[Say]) {
        self.burst(words);
        wait_until("the close", DEADLINE, || self.has_closed());
        assert_eq!(self.chain.mempool().len(), 1);
    }

    /// The channel stays open, however long the other side stays.
    #[track_caller]
    fn assert_stays(&self, words: &[Say]) {
        self.burst(words);
        // As long as anything can take that was begun.
        std::thread::sleep(DIGESTION * 3);
        assert!(!self.has_closed(), "closed at {words:?}");
        self.leave();
    }
}

impl Say {
    fn to(&self, to: PublicKey, from: PublicKey) -> Outgoing {
        match self {
            Say::Error(text) => Outgoing::error(to, CHANNEL, text),
            Say::ErrorToAll => Outgoing::error(to, ChannelId::new_zero(), "lost"),
            Say::Reestablish(next, revoked) => {
                Outgoing::reestablish(to, reestablish(from, (*next, *revoked)))
            }
        }
    }
}

fn reestablish(point: PublicKey, numbers: (u64, u64)) -> ChannelReestablish {
    ChannelReestablish {
        channel_id: CHANNEL,
        next_local_commitment_number: numbers.0,
        next_remote_commitment_number: numbers.1,
        your_last_per_commitment_secret: [1; 32],
        my_current_per_commitment_point: point,
        next_funding: None,
        my_current_funding_locked: None,
    }
}

const FRESH: (u64, u64) = (1, 0);
const ADVANCED: (u64, u64) = (9, 8);

#[test]
fn core_lightning_closes_at_an_error_and_when_fresh_at_a_bogus_reestablish() {
    let pair = |numbers| Pair::new(CoreLightning::default(), numbers);
    pair(FRESH).assert_closes(&[ERROR]);
    pair(ADVANCED).assert_closes(&[ERROR]);
    pair(ADVANCED).assert_closes(&[ERROR, BOGUS]);
    pair(FRESH).assert_closes(&[BOGUS]);
    pair(FRESH).assert_closes(&[BOGUS, ERROR]);
    pair(ADVANCED).assert_closes(&[Say::Reestablish(0, 8)]);

    let advanced = pair(ADVANCED);
    advanced.assert_stays(&[BOGUS]);
    let said = advanced
        .phone
        .wire()
        .warnings_from(&advanced.peer.raw().id());
    assert_eq!(said.len(), 1);
    advanced.assert_stays(&[BOGUS, ERROR]);
    advanced.assert_stays(&[BOGUS, BOGUS, ERROR]);
    advanced.assert_stays(&[Say::ErrorToAll]);
    advanced.assert_closes(&[ERROR]);
}

#[test]
fn lnd_closes_at_a_bogus_reestablish_alone() {
    let pair = || Pair::new(Lnd::new(DIGESTION).older(), ADVANCED);
    pair().assert_closes(&[BOGUS]);
    pair().assert_closes(&[BOGUS, ERROR]);

    let peer = pair();
    peer.assert_stays(&[ERROR]);
    let answers = peer.phone.received().into_iter();
    let answers = answers.filter(|m| m.type_id == 17);
    let answers: Vec<lightning::ln::msgs::ErrorMessage> = answers.map(|m| m.read()).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].data, Lnd::RECOVERY_REQUIRED);
    peer.assert_stays(&[ERROR, BOGUS]);
    // Who leaves at once is not heard.
    peer.burst(&[BOGUS]);
    peer.leave();
    peer.assert_stays(&[Say::ErrorToAll]);
    peer.assert_closes(&[BOGUS]);

    let borked = pair();
    borked.assert_stays(&[BEYOND]);
    borked.assert_stays(&[BOGUS]);
}

#[test]
fn eclair_closes_at_an_error_but_for_some_texts() {
    let pair = || Pair::new(Eclair::default(), ADVANCED);
    pair().assert_closes(&[ERROR]);
    pair().assert_closes(&[BOGUS, ERROR]);
    pair().assert_closes(&[ERROR, BOGUS]);
    pair().assert_closes(&[Say::ErrorToAll]);

    let peer = pair();
    peer.assert_stays(&[BOGUS]);
    peer.assert_stays(&[Say::Error("internal error")]);
    peer.assert_stays(&[Say::Error("link failed to shutdown")]);
    peer.assert_closes(&[ERROR]);

    let stuck = pair();
    stuck.assert_stays(&[BEYOND]);
    stuck.assert_stays(&[ERROR]);
}

#[test]
fn each_begins_a_connection_in_its_own_way() {
    let begins = |script: Box<dyn FnOnce() -> Pair>| {
        let pair = script();
        pair.burst(&[]);
        let received = pair.phone.received().into_iter();
        let ids: Vec<_> = received.map(|m| m.type_id).collect();
        ids
    };
    let first = begins(Box::new(|| Pair::new(CoreLightning::default(), FRESH)));
    assert_eq!(first, [16, 7, 9, 136]);
    let first = begins(Box::new(|| Pair::new(Lnd::new(DIGESTION).older(), FRESH)));
    assert_eq!(first, [16, 258, 36, 259, 136]);
    let first = begins(Box::new(|| Pair::new(Eclair::default(), FRESH)));
    assert_eq!(first[..3], [16, 9, 136]);
}
