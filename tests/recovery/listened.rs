//! A new phone with a tap on its wire, and what a request to close has to keep to, seen by the peer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::Network;
use ldk_peer_storage::recovery::chain::ChainSource;
use ldk_peer_storage::recovery::{Identity, Recovery, Way};
use ldk_peer_storage::service::{Config, PeerStorage};
use ldk_peer_storage::session::{Session, SessionConfig, Times};
use lightning::ln::msgs::{ChannelReestablish, ErrorMessage};
use lightning::ln::types::ChannelId;
use lightning::util::logger::{Logger, Record};
use testkit::scripted::Talk;
use testkit::{ScriptedPeer, WireTap};

use crate::stage::{Lost, Rescuer, Stage};
use crate::support::{ManualClock, OwnChainSource};

/// As a wallet would wait after the last `channel_reestablish`.
pub const REST: Duration = Duration::from_secs(1);
/// Long enough for peers that take their time.
pub const STAY: Duration = Duration::from_millis(1_500);

/// A new phone that waits before it asks as a wallet would, and stays for a while.
pub fn listened(stage: &Stage, lost: &Lost) -> (Rescuer, Arc<WireTap>) {
    let source = Arc::new(OwnChainSource::new(&stage.chain));
    listened_with(stage, lost, source, REST, STAY)
}

/// With a chain source and times of its own.
pub fn listened_with(
    stage: &Stage,
    lost: &Lost,
    source: Arc<dyn ChainSource>,
    rest: Duration,
    stay: Duration,
) -> (Rescuer, Arc<WireTap>) {
    let identity = Identity::from_seed(lost.seed).unwrap();
    let keys = Arc::new(identity.keys());
    let storage = PeerStorage::open(Config::new(&lost.dir, Network::Regtest), &*keys).unwrap();
    let wire = Arc::new(WireTap::new(Arc::new(Silent)));
    let config = SessionConfig {
        logger: Some(wire.clone()),
        times: Times {
            connect: Duration::from_secs(2),
            read_back: Duration::from_secs(2),
            settle: Duration::from_millis(500),
            after_reestablish: rest,
            first_reestablish: rest,
            linger: Duration::from_secs(1),
            ..Times::default()
        },
        ..SessionConfig::default()
    };
    let session = Session::open(storage.clone(), keys, config).unwrap();
    let clock = ManualClock::new();
    let recovery = Recovery::open(storage.clone(), &identity, Network::Regtest, source).unwrap();
    let mut recovery = recovery.clock(clock.clone()).stay(stay);
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    recovery.on_event(move |event| heard.lock().unwrap().push(event.clone()));
    let rescuer = Rescuer {
        chain: stage.chain.clone(),
        storage,
        session,
        recovery,
        clock,
        events,
    };
    (rescuer, wire)
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}

/// The attempts to have a peer close that it has seen, each on a connection of its own and in the right
/// form, and that nothing else was said to it.
#[track_caller]
pub fn attempts(peer: &ScriptedPeer, wire: &WireTap, rest: Duration, stay: Duration) -> Vec<Way> {
    let may_leave = [
        "Init",
        "PeerStorageRetrieval",
        "Ping",
        "Pong",
        "Error",
        "ChannelReestablish",
    ];
    let sent = wire.sent_to(&peer.raw().id());
    let other = sent.iter().find(|name| !may_leave.contains(&name.as_str()));
    assert_eq!(other, None, "left the phone, among: {sent:?}");
    let talks = peer.talks();
    let attempts = talks.iter().filter_map(|t| attempt(peer, t, rest, stay));
    attempts.collect()
}

/// None: the connection was one to read back alone.
#[track_caller]
fn attempt(peer: &ScriptedPeer, talk: &Talk, rest: Duration, stay: Duration) -> Option<Way> {
    let (first, _) = talk.heard.first()?;
    let mut ids = Vec::new();
    let mut ways = Vec::new();
    for (_, message) in &talk.heard {
        match message.type_id {
            17 => {
                let error: ErrorMessage = message.read();
                assert!(!ignored(&error.data), "{}", error.data);
                ids.push(error.channel_id);
                ways.push(Way::Error);
            }
            136 => {
                let bogus: ChannelReestablish = message.read();
                assert_eq!(bogus.next_local_commitment_number, 0);
                assert_eq!(bogus.next_remote_commitment_number, 0);
                ids.push(bogus.channel_id);
                ways.push(Way::BogusReestablish);
            }
            other => panic!("a message of type {other} was sent"),
        }
    }
    assert!(ways.iter().all(|way| *way == ways[0]), "both: {ways:?}");
    assert!(!ids.contains(&ChannelId::new_zero()), "all channels");
    let held = peer.held().channels.iter();
    let mut known: Vec<_> = held.map(|c| c.reestablish.channel_id).collect();
    known.sort_by_key(|id| id.0);
    ids.sort_by_key(|id| id.0);
    assert_eq!(ids, known, "each of its channels once, and no other");

    // Measured at the peer: that its words were still under way makes the true pause shorter.
    if let Some(reestablished) = talk.reestablished {
        let pause = *first - reestablished;
        assert!(pause >= rest, "asked {pause:?} after the last 136");
    }
    if let Some(ended) = talk.ended {
        let stayed = ended - *first;
        assert!(stayed >= stay * 3 / 4, "left after {stayed:?}");
    }
    Some(ways[0])
}

/// Texts at which one of the implementations does not close.
fn ignored(text: &str) -> bool {
    let ignored = [
        "internal error",
        "link failed to shutdown",
        "cannot co-op close channel w/ active htlcs",
    ];
    text.is_empty() || ignored.iter().any(|ignored| text.contains(ignored))
}
