//! The new phone: it has the seed and the address of one peer. It connects quietly, reads back,
//! learns of more peers from what it read, and asks those too, until no new peer answers. Then it
//! waits for what the person says, on its standard input.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hex::FromHex;
use bitcoin::Network;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::recovery::Identity;
use ldk_peer_storage::service::{Config, PeerStorage};
use ldk_peer_storage::session::{Session, SessionConfig, Work};

use crate::recover;

const BUDGET: Duration = Duration::from_secs(30);

/// The seed, a new directory, the id and address of one peer, and where the chain is.
pub fn run(args: &[String]) {
    let [seed, dir, peer, addr, chain] = args else {
        panic!("a new phone has five arguments")
    };
    let seed = <[u8; 32]>::from_hex(seed).expect("a seed");
    let addr: SocketAddr = addr.parse().expect("an address");
    let known = PeerRecord {
        node_id: peer.parse().expect("a node id"),
        addresses: vec![addr.into()],
    };

    let identity = Identity::from_seed(seed).expect("a seed");
    println!("node {}", identity.node_id());
    let keys = Arc::new(identity.keys());
    let config = Config::new(Path::new(dir), Network::Regtest);
    let storage = PeerStorage::open(config, &*keys).expect("the data directory opens");
    let session = Session::open(storage.clone(), keys, SessionConfig::default());
    let session = session.expect("a session");

    let outcome = session.restore(std::slice::from_ref(&known), BUDGET);
    let outcome = outcome.expect("a directory that is new");
    let report = &outcome.report;
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
    recover::obey(&storage, &identity, chain, &session, &outcome, &known);
    drop(session);
    storage.close(BUDGET);
}
