//! `serve`, from the side of those that use it and of those that abuse it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::Ping;
use lightning::ln::types::ChannelId;
use testkit::{wait_until, Direction, Outgoing, RawPeer, DEADLINE};

use crate::args;
use crate::killing::Moment;
use crate::program::{run, seed_file, Running};

/// A running storer.
pub struct Storer {
    pub node_id: PublicKey,
    pub addr: SocketAddr,
    process: Running,
}

impl Storer {
    /// With this seed and directory, on a free port; `more`: whom it serves, and quotas.
    pub fn start(home: &Path, seed: &[u8; 32], more: &[String]) -> Storer {
        let seed = seed_file(home, "storer-seed", seed);
        let fixed = args![
            "serve",
            "--seed-file",
            seed.display(),
            "--data-dir",
            home.join("storer").display(),
            "--network",
            "regtest",
            "--listen",
            "127.0.0.1:0",
        ];
        let mut process = Running::start([&fixed[..], more].concat());
        let line = process.line().expect("it listens");
        let at = line.strip_prefix("listening ").expect("its first line");
        let (node_id, addr) = at.split_once('@').unwrap();
        Storer {
            node_id: node_id.parse().unwrap(),
            addr: addr.parse().unwrap(),
            process,
        }
    }

    pub fn at(&self) -> String {
        format!("{}@{}", self.node_id, self.addr)
    }

    /// Ends in order.
    pub fn stop(self) {
        self.process.signal("TERM");
        assert_eq!(self.process.ended(), 0);
    }

    pub fn kill(self) -> Moment {
        self.process.kill()
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }
}

/// The seed of the storer in these tests.
pub const SEED: [u8; 32] = [0x5e; 32];

/// Whom it serves: these.
fn allow(peers: &[&RawPeer]) -> Vec<String> {
    let ids = peers.iter().map(|peer| peer.id().to_string());
    ids.flat_map(|id| ["--allow".to_owned(), id]).collect()
}

/// Connects anew, again and again, until the storer returns this.
#[track_caller]
fn assert_returned(owner: &RawPeer, storer: &Storer, blob: &[u8]) {
    wait_until("the backup to come back", DEADLINE, || {
        let before = owner.returned_by(&storer.node_id).len();
        reconnect(owner, storer);
        // What is returned precedes the answer to a ping.
        let mark = owner.wire().mark();
        let ping = Ping {
            ponglen: 4,
            byteslen: 4,
        };
        owner.send(Outgoing::raw(storer.node_id, 18, &ping));
        owner
            .wire()
            .wait_for(mark, &storer.node_id, Direction::Received, "Pong", DEADLINE);
        let returned = owner.returned_by(&storer.node_id);
        returned.len() > before && returned.last().is_some_and(|last| last == blob)
    });
}

fn reconnect(owner: &RawPeer, storer: &Storer) {
    owner.disconnect(&storer.node_id);
    wait_until("the old connection to end", DEADLINE, || {
        !owner.is_connected(&storer.node_id)
    });
    owner.connect(&storer.node_id, storer.addr);
}

#[test]
fn what_was_stored_survives_kill_9_and_an_end_in_order_and_strangers_get_a_warning() {
    let home = tempfile::tempdir().unwrap();
    let (owner, stranger) = (RawPeer::new("owner"), RawPeer::new("stranger"));
    let storer = Storer::start(home.path(), &SEED, &allow(&[&owner]));
    owner.connect(&storer.node_id, storer.addr);
    owner.push_storage(&storer.node_id, &[7; 1024]);
    stranger.connect(&storer.node_id, storer.addr);
    stranger.push_storage(&storer.node_id, &[8; 1024]);
    let wire = stranger.wire();
    wire.wait_received(&storer.node_id, "Warning", DEADLINE);
    assert_returned(&owner, &storer, &[7; 1024]);

    storer.kill();
    let storer = Storer::start(home.path(), &SEED, &allow(&[&owner]));
    assert_returned(&owner, &storer, &[7; 1024]);
    owner.push_storage(&storer.node_id, &[9; 65_531]);
    assert_returned(&owner, &storer, &[9; 65_531]);

    storer.stop();
    let storer = Storer::start(home.path(), &SEED, &allow(&[&owner]));
    assert_returned(&owner, &storer, &[9; 65_531]);
    reconnect(&stranger, &storer);
    assert!(stranger.returned_by(&storer.node_id).is_empty());
}

#[test]
fn quotas_hold_for_anyone() {
    let home = tempfile::tempdir().unwrap();
    let quotas = args![
        "--anyone",
        "--peers",
        2,
        "--backup-bytes",
        2000,
        "--total-bytes",
        3000
    ];
    let storer = Storer::start(home.path(), &SEED, &quotas);
    let peers = ["anna", "bert", "carl"].map(RawPeer::new);
    for peer in &peers {
        peer.connect(&storer.node_id, storer.addr);
    }
    let [anna, bert, carl] = &peers;
    let refused = |peer: &RawPeer, blob: &[u8]| {
        peer.push_storage(&storer.node_id, blob);
        let warnings = || peer.wire().warnings_from(&storer.node_id);
        wait_until("a warning", DEADLINE, || !warnings().is_empty());
        warnings().remove(0)
    };
    anna.push_storage(&storer.node_id, &[1; 2000]);
    assert_returned(anna, &storer, &[1; 2000]);
    assert!(refused(anna, &[2; 2001]).contains("too large"));
    assert!(refused(bert, &[3; 1001]).contains("no space"));
    bert.push_storage(&storer.node_id, &[4; 1000]);
    assert_returned(bert, &storer, &[4; 1000]);
    assert!(refused(carl, &[5; 100]).contains("no more peers"));
    assert_returned(anna, &storer, &[1; 2000]);
}

#[test]
fn whoever_floods_it_keeps_nobody_out_for_long_and_does_not_end_it() {
    let home = tempfile::tempdir().unwrap();
    let owner = RawPeer::new("owner");
    let more = [allow(&[&owner]), args!["--connections-per-address", 4]].concat();
    let storer = Storer::start(home.path(), &SEED, &more);
    let mut flood: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(storer.addr).unwrap())
        .collect();
    // Four are let in, and are silent; the others are hung up on at once.
    for stream in &flood {
        stream.set_nonblocking(true).unwrap();
    }
    let waits = |stream: &mut TcpStream| {
        let read = stream.read(&mut [0]);
        read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    };
    wait_until("all but four to be turned away", DEADLINE, || {
        flood
            .iter_mut()
            .filter_map(|s| waits(s).then_some(()))
            .count()
            == 4
    });
    assert!(!owner.try_connect(&storer.node_id, storer.addr), "no place");
    for stream in &mut flood {
        let _ = stream.write_all(&[0xab; 1000]);
    }
    drop(flood);

    // It has done with them, and serves whoever is allowed.
    owner.connect(&storer.node_id, storer.addr);
    owner.send_every_channel_message(&storer.node_id, ChannelId([3; 32]));
    reconnect(&owner, &storer);
    owner.push_storage(&storer.node_id, &[7; 1024]);
    assert_returned(&owner, &storer, &[7; 1024]);
    let said = owner.wire().received_from(&storer.node_id);
    let allowed = ["Init", "PeerStorageRetrieval", "Ping", "Pong"];
    assert!(
        said.iter().all(|name| allowed.contains(&name.as_str())),
        "{said:?}"
    );
    storer.stop();
}

#[test]
fn it_says_where_it_listens_and_refuses_what_cannot_be_meant() {
    let home = tempfile::tempdir().unwrap();
    let seed = seed_file(home.path(), "seed", &SEED);
    let dir = home.path().join("storer");
    let serve = |more: &[&str]| {
        let fixed = args![
            "serve",
            "--seed-file",
            seed.display(),
            "--data-dir",
            dir.display(),
            "--network",
            "regtest",
            "--json",
        ];
        let more = more.iter().map(ToString::to_string).collect();
        [fixed, more].concat()
    };
    let mut storer = Running::start(serve(&["--anyone", "--listen", "127.0.0.1:0"]));
    let listening = storer.event("listening");
    let (node, address) = (&listening["node_id"], &listening["address"]);
    let at = format!("{}@{}", node.as_str().unwrap(), address.as_str().unwrap());
    assert_eq!(listening["node"], at);

    let in_use = run(serve(&["--anyone", "--listen", "127.0.0.1:0"])).expect(5);
    assert!(in_use.stderr.contains("in use by another process"));
    storer.signal("INT");
    storer.event("stopped");
    assert_eq!(storer.ended(), 0);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    run(serve(&["--anyone", "--listen", &addr])).expect(6);
    run(serve(&["--listen", "127.0.0.1:0"])).expect(2);
    run(serve(&["--anyone", "--allow", node.as_str().unwrap()])).expect(2);
}
