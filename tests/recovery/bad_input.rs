//! What a person may get wrong: a clear error, nothing lost, and nothing closed.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::ldk::QuietHandler;
use ldk_peer_storage::recovery::{
    ConsentError, Identity, IdentityError, Recovery, RecoveryError, RecoveryEvent,
};
use ldk_peer_storage::service::{Config, OpenError, PeerStorage};
use ldk_peer_storage::session::{NotReached, Returned, Session, SessionConfig};
use ldk_peer_storage::store::StoreError;
use lightning::ln::msgs::SocketAddress;
use testkit::{ChannelType, KeyDerivation, Node, RawPeer, RawPeerConfig};

use crate::implementations::{assert_all_came, lost_with, OWNED};
use crate::stage::{closes, consent, open_quietly, peer_record, record, Stage, BUDGET};
use crate::support::OwnChainSource;

const OTHER: [u8; 32] = [0x42; 32];

#[test]
fn keys_directories_sessions_and_plans_of_different_wallets_are_not_mixed() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with(&stage, &[&peer]);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&peer]);
    let right = Identity::from_seed(lost.seed).unwrap();
    let other = Identity::from_seed(OTHER).unwrap();
    let source = Arc::new(OwnChainSource::new(&stage.chain));

    let open = |identity: &Identity, network| {
        let storage = rescuer.storage.clone();
        Recovery::open(storage, identity, network, source.clone()).map(|_| ())
    };
    assert_eq!(open(&right, Network::Regtest), Ok(()));
    let refused = Err(RecoveryError::OtherNode);
    assert_eq!(open(&other, Network::Regtest), refused);
    assert_eq!(open(&right, Network::Bitcoin), refused);

    // Another wallet, with a directory and a session of its own.
    let dir = stage.home.path().join("another wallet");
    let (storage, session) = open_quietly(&other, dir.clone());
    let mut elsewhere =
        Recovery::open(storage.clone(), &other, Network::Regtest, source.clone()).unwrap();
    let good = consent(&plan);
    assert_eq!(
        elsewhere.agree(&plan, &good),
        Err(ConsentError::OtherWallet)
    );
    assert!(!elsewhere.is_begun());
    rescuer.recovery.agree(&plan, &good).unwrap();
    let mixed = rescuer.recovery.step(&session).map(|_| ());
    assert_eq!(mixed, refused);
    assert_eq!(
        peer.wire().received_from(&other.node_id()),
        Vec::<String>::new()
    );
    drop(session);
    storage.close(Duration::from_secs(5));
    let keys = right.keys();
    let opened = PeerStorage::open(Config::new(&dir, Network::Regtest), &keys);
    let wrong_node = matches!(opened, Err(OpenError::Store(StoreError::WrongNode)));
    assert!(wrong_node, "the directory is another wallet's");

    // A plan from another directory of this wallet is as good as one of its own.
    assert_eq!(closes(&stage.chain, &lost.funding), 0);
    rescuer.stop();
    let mut elsewhere = stage.rescuer(&crate::stage::Lost {
        dir: stage.home.path().join("a third phone"),
        ..lost
    });
    elsewhere.recovery.agree(&plan, &good).unwrap();
    let progress = elsewhere.finish();
    assert_all_came(&elsewhere, &progress, OWNED);
}

#[test]
fn a_wallet_that_is_looked_for_on_another_network_is_not_found_and_not_harmed() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let lost = lost_with(&stage, &[&peer]);
    let identity = Identity::from_seed(lost.seed).unwrap();
    let looked_for = |name: &str, handler| {
        let keys = Arc::new(identity.keys());
        let config = Config::new(stage.home.path().join(name), Network::Bitcoin);
        let storage = PeerStorage::open(config, &*keys).unwrap();
        let config = SessionConfig {
            handler,
            ..SessionConfig::default()
        };
        let session = Session::open(storage.clone(), keys, config).unwrap();
        let outcome = session
            .restore(&[record(&peer)], Duration::from_secs(8))
            .unwrap();
        assert_eq!(outcome.report.newest, None);
        assert!(outcome.report.channels.is_empty());
        assert!(storage.finish_restore().is_err());
        outcome.peers[0].outcome.clone()
    };
    // Who hangs up first is a matter of milliseconds.
    let honest = looked_for("honest", None).unwrap_err();
    let hung_up = [NotReached::Incompatible, NotReached::Refused];
    assert!(hung_up.contains(&honest), "{honest}");
    // Even to one who says to be of the right network the backup does not open.
    let handler = QuietHandler::new(Network::Regtest);
    let visit = looked_for("confused", Some(handler)).unwrap();
    assert_eq!(visit.returned, Returned::Unreadable);
    assert_eq!(closes(&stage.chain, &lost.funding), 0);

    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);
    let progress = rescuer.finish();
    assert_all_came(&rescuer, &progress, OWNED);
}

#[test]
fn an_address_that_leads_nowhere_or_to_another_is_told_until_the_right_one_is_given() {
    let stage = Stage::new(ChannelType::StaticRemoteKey, KeyDerivation::V2);
    let (moved, keeper) = (stage.stock("moved"), stage.stock("keeper"));
    let lost = lost_with(&stage, &[&moved, &keeper]);
    let (id, old_port) = (moved.id(), moved.addr().port());
    moved.stop();
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.plan(&[&keeper]);
    let unheard: Vec<_> = plan.unheard.iter().map(|peer| peer.node_id).collect();
    assert_eq!(unheard, [id]);
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();

    let why = |rescuer: &mut crate::stage::Rescuer| {
        rescuer.step();
        rescuer.clock.advance(Duration::from_secs(24 * 60 * 60));
        let events = rescuer.events.lock().unwrap();
        let told = events.iter().rev().find_map(|event| match event {
            RecoveryEvent::NotReached { peer, why, .. } if *peer == id => Some(why.clone()),
            _ => None,
        });
        told.unwrap()
    };
    assert_eq!(why(&mut rescuer), "nobody answers there");
    let impostor = RawPeer::start(RawPeerConfig {
        listen: Some(old_port),
        ..RawPeerConfig::new("impostor")
    });
    assert_eq!(why(&mut rescuer), "somebody else answers there");
    assert!(impostor.received().is_empty());

    let nowhere = |hostname: &str| PeerRecord {
        node_id: id,
        addresses: vec![SocketAddress::Hostname {
            hostname: hostname.to_owned().try_into().unwrap(),
            port: 9735,
        }],
    };
    let known = [nowhere("nobody.invalid"), record(&keeper)];
    let outcome = rescuer.session.restore(&known, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, &known).unwrap();
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    // Of several reasons the most telling.
    assert_eq!(why(&mut rescuer), "somebody else answers there");

    let moved = Node::start(stage.config("moved"));
    assert_ne!(moved.addr().port(), old_port);
    let known = [peer_record(id, moved.addr()), record(&keeper)];
    let outcome = rescuer.session.restore(&known, BUDGET).unwrap();
    let plan = rescuer.recovery.plan(&outcome, &known).unwrap();
    assert!(plan.unheard.is_empty());
    rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
    let progress = rescuer.finish();
    assert_all_came(&rescuer, &progress, 2 * OWNED);
}

#[test]
fn seed_words_that_were_copied_wrongly_are_refused() {
    const TWELVE: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                          abandon abandon about";
    let of = |words: &str| Identity::from_ldk_node_mnemonic(words, "", Network::Regtest);
    let right = of(TWELVE).unwrap();
    let words: Vec<&str> = TWELVE.split_whitespace().collect();
    let swapped = {
        let mut swapped = words.clone();
        swapped.swap(0, 11);
        swapped.join(" ")
    };
    let bad = [
        swapped,
        words[1..].join(" "),
        format!("{TWELVE} abandon"),
        format!("{TWELVE} {TWELVE}"),
        TWELVE.replace("about", "abaut"),
        TWELVE.replace("about", "art"),
        TWELVE.replace(' ', "-"),
    ];
    for bad in bad {
        match of(&bad) {
            Err(IdentityError::Mnemonic(why)) => {
                assert!(!why.contains("abandon") && !why.contains("abaut"), "{why}");
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
    // As people type.
    let spaced = of(&format!("  {} \n", words.join("   "))).unwrap();
    assert_eq!(spaced.node_id(), right.node_id());

    // A passphrase gives another node without an error: the node id tells.
    let with = Identity::from_ldk_node_mnemonic(TWELVE, "secret", Network::Regtest).unwrap();
    let found = with.node_id();
    let refused = with.expect(right.node_id()).map(|_| ());
    assert_eq!(refused, Err(IdentityError::OtherNode { found }));
    let other = of("legal winner thank year wave sausage worth useful legal winner thank yellow");
    assert_ne!(other.unwrap().node_id(), right.node_id());
}
