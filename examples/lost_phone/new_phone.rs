//! The new phone: it has the seed and the address of one peer. It connects quietly, reads back,
//! learns of more peers from what it read, and asks those too, until no new peer answers.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bitcoin::hex::FromHex;
use ldk_peer_storage::backup::PeerRecord;
use lightning::ln::msgs::SocketAddress;

use crate::support::QuietNode;

/// The seed, a new directory, and the id and address of one peer.
pub fn run(args: &[String]) {
    let [seed, dir, peer, addr] = args else {
        panic!("a new phone has four arguments")
    };
    let seed = <[u8; 32]>::from_hex(seed).expect("a seed");
    let phone = QuietNode::start(seed, Path::new(dir));
    println!("node {}", phone.id());

    let mut asked = BTreeSet::new();
    let mut to_ask = vec![(
        peer.parse().expect("a node id"),
        addr.parse().expect("an address"),
    )];
    while let Some((peer, addr)) = to_ask.pop() {
        if !asked.insert(peer) || !phone.connect(peer, addr) {
            continue;
        }
        phone.wait_read_back(peer);
        let report = phone.storage.restore_report();
        let gave = report.answers.iter().find(|answer| answer.peer == peer);
        match gave {
            Some(answer) => println!("answer {peer} {} {}", answer.revision, answer.channels),
            None => println!("silence {peer}"),
        }
        let known = report
            .unheard
            .iter()
            .filter_map(|peer| Some((peer.node_id, address(peer)?)));
        to_ask.extend(known.filter(|(peer, _)| !asked.contains(peer)));
    }

    let report = phone.storage.finish_restore().expect("a backup was read");
    for channel in &report.channels {
        let scid = channel.ids.short_channel_id.unwrap_or_default();
        let value = channel.value_sat.unwrap_or_default();
        println!("channel {} {scid} {value}", channel.counterparty);
    }
    // Only now does a backup leave this device: the restored channels, as a new epoch.
    let complete = phone.storage.flush(Duration::from_secs(10));
    let newest = report.newest.expect("a backup was read");
    println!("done {newest} {} {complete}", report.answers.len());
    phone.stop();
}

fn address(peer: &PeerRecord) -> Option<SocketAddr> {
    peer.addresses.iter().find_map(|address| match address {
        SocketAddress::TcpIpV4 { addr, port } => Some((Ipv4Addr::from(*addr), *port).into()),
        _ => None,
    })
}
