//! The story, told by the process that starts all others. It owns the chain, and nothing else.

use std::time::Instant;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::{sha256, Hash};
use bitcoin::hex::DisplayHex;
use bitcoin::{Amount, OutPoint, ScriptBuf};
use testkit::{Chain, ChainServer};

use crate::ending;
use crate::process::Process;
use crate::support::QUIET;

const PAYMENTS: usize = 50;
const CHANNELS_SAT: [u64; 3] = [1_000_000, 600_000, 300_000];

pub struct Peer {
    name: &'static str,
    what: &'static str,
    process: Process,
    pub id: String,
    addr: String,
}

/// A channel as the old phone knew it.
struct LostChannel {
    scid: String,
    value_sat: String,
    funding: OutPoint,
}

pub fn tell() {
    let started = Instant::now();
    let dir = tempfile::tempdir().expect("a directory");
    let chain = Chain::named("lost_phone");
    let server = ChainServer::start(&chain);
    let chain_addr = server.addr().to_string();

    say("1. Three peers and a phone start, each a process and a Lightning node of its own.");
    let start = |name: &'static str, what: &'static str, kind: &str| {
        let node_dir = dir.path().join(name);
        let args = [
            "node",
            name,
            node_dir.to_str().expect("a path"),
            kind,
            &chain_addr,
        ];
        let mut process = Process::start(&args);
        let ready = process.hear();
        tell_detail(&format!(
            "{name:<6} {what}, process {}, {}",
            process.id(),
            ready[2]
        ));
        Peer {
            name,
            what,
            process,
            id: ready[1].clone(),
            addr: ready[2].clone(),
        }
    };
    let mut peers = [
        start("anna", "keeps 65531 bytes (this crate)", "decorated"),
        start("bert", "keeps 65531 bytes (this crate)", "decorated"),
        start("carl", "keeps  1024 bytes (stock LDK 0.2.7)", "stock"),
    ];
    let mut phone = start("phone", "the wallet that will be lost", "decorated");

    say("2. The phone opens a channel with each, and the chain confirms them.");
    let mut lost = Vec::new();
    for (peer, sat) in peers.iter_mut().zip(CHANNELS_SAT) {
        phone
            .process
            .ask(&format!("connect {} {}", peer.id, peer.addr));
        lost.push(open_channel(&chain, &mut phone, peer, sat));
        tell_detail(&format!("{:<6} {sat:>9} sat, half on each side", peer.name));
    }

    say("3. The app is closed and opened again: the phone reconnects, and backs up for the first time.");
    for peer in &peers {
        phone
            .process
            .ask(&format!("reconnect {} {}", peer.id, peer.addr));
    }

    say(&format!("4. {PAYMENTS} payments flow, both ways."));
    for n in 0..PAYMENTS {
        let peer = &mut peers[n % 3];
        if n / 3 % 2 == 0 {
            pay(&mut phone, peer, 1_000_000 + n as u64);
        } else {
            pay(peer, &mut phone, 1_000_000 + n as u64);
        }
    }

    say("5. The phone goes to background: it backs up what has changed.");
    let answer = phone.process.ask("background");
    assert_eq!(answer[1..], ["3", "true"], "the backup goes to three peers");
    tell_detail(&format!("backup {} sealed and sent to 3 peers", answer[0]));
    let lost_revision = answer[0].clone();
    let owned_sat: u64 = phone.process.ask("owned")[0].parse().expect("sat");
    tell_detail(&format!("it owns {owned_sat} sat in its channels"));

    say("6. The phone is lost: kill -9, and its files are removed.");
    let phone_id = phone.id.clone();
    phone.process.kill();
    std::fs::remove_dir_all(dir.path().join("phone")).expect("the phone's files");
    // From here on the peers' wires tell of the new phone alone.
    let gone = format!("gone {phone_id}");
    let marks: Vec<_> = peers
        .iter_mut()
        .map(|p| p.process.ask(&gone).remove(0))
        .collect();

    say("7. A new phone gets the seed and anna's address, nothing else.");
    let seed = sha256::Hash::hash(b"phone")
        .to_byte_array()
        .to_lower_hex_string();
    let new_dir = dir.path().join("new-phone");
    let new_dir = new_dir.to_str().expect("a path");
    let anna = &peers[0];
    let args = [
        "new-phone",
        &seed,
        new_dir,
        &anna.id,
        &anna.addr,
        &chain_addr,
    ];
    let mut new_phone = Process::start(&args);
    let mut restored = Vec::new();
    let (mut answers, mut newest) = (0, String::new());
    while newest.is_empty() {
        let line = new_phone.hear();
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        match words[..] {
            ["node", id] => assert_eq!(id, phone_id, "the same seed is the same node"),
            ["answer", peer, revision, channels] => {
                answers += 1;
                let name = name_of(&peers, peer);
                tell_detail(&format!(
                    "{name:<6} returned backup {revision}: {channels} channels"
                ));
            }
            ["silence", peer] => tell_detail(&format!("{} had nothing", name_of(&peers, peer))),
            ["channel", peer, scid, value] => {
                restored.push((peer.to_owned(), scid.to_owned(), value.to_owned()));
            }
            ["done", revision, _, complete] => {
                assert_eq!(complete, "true", "the restored state is backed up in turn");
                newest = revision.to_owned();
            }
            ref other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(newest, lost_revision, "the newest backup came back");

    say("8. What was lost, and what came back:");
    tell_detail("peer    lost: channel, size           restored: channel, size");
    for (peer, lost) in peers.iter().zip(&lost) {
        let back = restored.iter().find(|(id, _, _)| *id == peer.id);
        let (_, scid, value) = back.unwrap_or_else(|| panic!("{} did not come back", peer.name));
        assert_eq!((scid, value), (&lost.scid, &lost.value_sat));
        tell_detail(&format!(
            "{:<7} {:<16} {:>9} sat   {:<16} {:>9} sat",
            peer.name,
            short(&lost.scid),
            lost.value_sat,
            short(scid),
            value,
        ));
    }

    say("9. Nothing is closed, and nothing was overwritten before it was read.");
    let mut closed = 0;
    for ((peer, lost), mark) in peers.iter_mut().zip(&lost).zip(&marks) {
        check_wire(peer, &phone_id, mark);
        let answer = peer.process.ask("channels");
        assert_eq!(answer[0], "1", "{} still has its channel", peer.name);
        closed += answer[1].parse::<usize>().expect("a count");
        closed += usize::from(chain.spender(lost.funding).is_some());
        tell_detail(&format!("{:<6} {}: channel open", peer.name, peer.what));
    }
    assert_eq!(closed, 0, "a channel was closed");

    let coins = ending::tell(&chain, &peers, &mut new_phone, owned_sat);
    new_phone.end();
    tell_detail(&format!("{:.1} s", started.elapsed().as_secs_f64()));
    let generation = newest.split('.').next_back().unwrap_or_default();
    println!(
        "lost_phone: ok peers={answers} restored_channels={} generation={generation} \
         closed_channels={closed} recovered_sat={} expected_sat={owned_sat} fees_sat={}",
        restored.len(),
        coins.recovered,
        coins.fees,
    );
}

fn open_channel(chain: &Chain, phone: &mut Peer, peer: &mut Peer, sat: u64) -> LostChannel {
    let opening = phone.process.ask(&format!("open {} {sat}", peer.id));
    let script: ScriptBuf = deserialize_hex(&opening[1]).expect("a script");
    let funding = chain.prepare_payment(&script, Amount::from_sat(sat));
    let txid = funding.compute_txid();
    let tx = serialize_hex(&funding);
    phone
        .process
        .ask(&format!("fund {} {} {tx}", peer.id, opening[0]));
    testkit::wait_until("the funding transaction", testkit::DEADLINE, || {
        chain.transaction(txid).is_some()
    });
    chain.mine(6);
    let (phone_id, peer_id) = (phone.id.clone(), peer.id.clone());
    phone.process.ask(&format!("usable {peer_id}"));
    peer.process.ask(&format!("usable {phone_id}"));
    let channel = phone.process.ask(&format!("channel {peer_id}"));
    LostChannel {
        scid: channel[0].clone(),
        value_sat: channel[1].clone(),
        funding: OutPoint::new(txid, 0),
    }
}

fn pay(from: &mut Peer, to: &mut Peer, msat: u64) {
    let request = to.process.ask(&format!("request {msat}"));
    from.process.ask(&format!(
        "pay {} {msat} {} {}",
        to.id, request[0], request[1]
    ));
}

/// On the wire, as the peer saw it: the new phone sent no channel message, and no backup before the
/// peer had returned the old one.
fn check_wire(peer: &mut Peer, phone: &str, mark: &str) {
    let messages = peer.process.ask(&format!("wire {phone} {mark}"));
    let returned = messages.iter().position(|m| m == ">PeerStorageRetrieval");
    let returned = returned.unwrap_or_else(|| panic!("{} returned nothing", peer.name));
    for (n, message) in messages.iter().enumerate() {
        if let Some(name) = message.strip_prefix('<') {
            assert!(
                QUIET.contains(&name),
                "the new phone sent {name} to {}",
                peer.name
            );
            assert!(
                name != "PeerStorage" || n > returned,
                "overwritten before it was read"
            );
        }
    }
}

pub fn name_of<'a>(peers: &'a [Peer], id: &str) -> &'a str {
    peers
        .iter()
        .find(|peer| peer.id == id)
        .map_or("a stranger", |peer| peer.name)
}

/// A short channel id as block x transaction x output.
fn short(scid: &str) -> String {
    let scid: u64 = scid.parse().expect("a number");
    format!("{}x{}x{}", scid >> 40, scid >> 16 & 0xffffff, scid & 0xffff)
}

pub fn say(line: &str) {
    println!("\n{line}");
}

pub fn tell_detail(line: &str) {
    println!("   {line}");
}
