//! The new phone: it has the seed and the address of one peer. It connects quietly, reads back,
//! learns of more peers from what it read, and asks those too, until no new peer answers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hex::FromHex;
use bitcoin::Network;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::service::{Config, PeerStorage};
use ldk_peer_storage::session::{Session, SessionConfig, Work};
use lightning::sign::{KeysManager, NodeSigner, Recipient};

const BUDGET: Duration = Duration::from_secs(30);

/// The seed, a new directory, and the id and address of one peer.
pub fn run(args: &[String]) {
    let [seed, dir, peer, addr] = args else {
        panic!("a new phone has four arguments")
    };
    let seed = <[u8; 32]>::from_hex(seed).expect("a seed");
    let addr: SocketAddr = addr.parse().expect("an address");
    let known = PeerRecord {
        node_id: peer.parse().expect("a node id"),
        addresses: vec![addr.into()],
    };

    let keys = Arc::new(KeysManager::new(&seed, 0, 0, true));
    let config = Config::new(Path::new(dir), Network::Regtest);
    let storage = PeerStorage::open(config, &*keys).expect("the data directory opens");
    println!(
        "node {}",
        keys.get_node_id(Recipient::Node).expect("a node id")
    );
    let session = Session::open(storage.clone(), keys, SessionConfig::default());
    let session = session.expect("a session");

    let outcome = session.restore(&[known], BUDGET);
    let report = outcome.expect("a directory that is new").report;
    for answer in &report.answers {
        println!(
            "answer {} {} {}",
            answer.peer, answer.revision, answer.channels
        );
    }
    for peer in &report.silent {
        println!("silence {peer}");
    }
    for channel in &report.channels {
        let scid = channel.ids.short_channel_id.unwrap_or_default();
        let value = channel.value_sat.unwrap_or_default();
        println!("channel {} {scid} {value}", channel.counterparty);
    }

    // The person takes it. Only now does a backup leave this device: the restored channels, as a new
    // epoch, which each peer has to show on a second connection.
    storage.finish_restore().expect("a backup was read");
    let pushed = session.run(&report.peers, Work { verify: true }, BUDGET);
    let mut visits = pushed.peers.iter().map(|peer| &peer.outcome);
    let complete = visits.all(|visit| visit.as_ref().is_ok_and(|v| v.verified && v.delivered));
    let newest = report.newest.expect("a backup was read");
    println!("done {newest} {} {complete}", report.answers.len());
    drop(session);
    storage.close(BUDGET);
}
