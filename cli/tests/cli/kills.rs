//! A storer that is killed again and again while its peers push: what it took off the wire more than 100 ms
//! before, it returns in its next life, byte for byte.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lightning::ln::msgs::Ping;
use testkit::{wait_until, Outgoing, RawPeer, DEADLINE};

use crate::args;
use crate::killing::{self, Moment};
use crate::random::Random;
use crate::storer::{Storer, SEED};
use crate::times::{first_seed, times};

const PEERS: [&str; 3] = ["anna", "bert", "carl"];
/// As many as a peer may have written at once, in each life.
const BLOBS: u64 = 6;

struct Peer {
    raw: RawPeer,
    /// The last blob that is known to be durable, and the last that was sent.
    durable: u64,
    sent: u64,
}

/// The blob of this number, of a length of its own.
fn blob(number: u64) -> Vec<u8> {
    let len = 8 + (number * 7919 % 60_000) as usize;
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

impl Peer {
    fn new(name: &str) -> Peer {
        Peer {
            raw: RawPeer::new(name),
            durable: 0,
            sent: 0,
        }
    }

    fn ping(&self, storer: &Storer) {
        let ping = Ping {
            ponglen: 4,
            byteslen: 4,
        };
        self.raw.send(Outgoing::raw(storer.node_id, 18, &ping));
    }

    fn pongs_since(&self, mark: usize, storer: &Storer) -> usize {
        let names = self.raw.wire().received_since(mark, &storer.node_id);
        names.iter().filter(|name| *name == "Pong").count()
    }

    /// Connects to a new life, and looks at what it returns.
    fn check(&mut self, storer: &Storer, seed: u64) {
        let before = self.raw.returned_by(&storer.node_id).len();
        self.raw.disconnect(&storer.node_id);
        wait_until("the old connection to end", DEADLINE, || {
            !self.raw.is_connected(&storer.node_id)
        });
        self.raw.connect(&storer.node_id, storer.addr);
        let mark = self.raw.wire().mark();
        self.ping(storer);
        wait_until("a pong", DEADLINE, || self.pongs_since(mark, storer) > 0);
        // LDK answers pings below its handlers: a ping that it finds together with our `init` is answered first.
        if self.durable > 0 {
            wait_until("what was kept", DEADLINE, || {
                self.raw.returned_by(&storer.node_id).len() > before
            });
        }
        let returned = self.raw.returned_by(&storer.node_id);
        let Some(last) = returned[before..].last().filter(|last| !last.is_empty()) else {
            assert_eq!(self.durable, 0, "seed {seed}: nothing is returned");
            return;
        };
        let number = u64::from_le_bytes(last[..8].try_into().unwrap());
        assert!(*last == blob(number), "seed {seed}: wrong bytes");
        assert!(
            self.durable <= number && number <= self.sent,
            "seed {seed}: {number} is returned, of {} sent and {} accepted",
            self.sent,
            self.durable
        );
        self.durable = number;
    }
}

#[test]
fn a_storer_killed_at_any_moment_under_load_returns_all_that_it_has_accepted() {
    let kills = times();
    let seed = first_seed();
    let mut random = Random::new(seed);
    let home = killing::home();
    let mut peers: Vec<_> = PEERS.into_iter().map(Peer::new).collect();
    let mut accepted = 0;
    for life in 0..=kills {
        let storer = Storer::start(home.path(), &SEED, &args!["--anyone"]);
        if life % 50 == 49 {
            // Their logs of the wire grow without end.
            for (peer, name) in peers.iter_mut().zip(PEERS) {
                peer.raw = RawPeer::new(name);
            }
        }
        peers.iter_mut().for_each(|peer| peer.check(&storer, seed));
        if life == kills {
            storer.stop();
            break;
        }
        // Every third dies at a step: as soon as so much was taken.
        let enough = (life % 3 == 0).then(|| 1 + life as usize % 18);
        let start = Instant::now();
        let begin = Moment::now(storer.process());
        let after = Duration::from_millis(random.between(0, 300));
        let marks: Vec<_> = peers.iter().map(|peer| peer.raw.wire().mark()).collect();
        let first: Vec<_> = peers.iter().map(|peer| peer.sent + 1).collect();
        for _ in 0..BLOBS {
            for peer in &mut peers {
                peer.sent += 1;
                peer.raw.push_storage(&storer.node_id, &blob(peer.sent));
                peer.ping(&storer);
            }
        }
        // When each blob was known to be taken.
        let mut taken: Vec<BTreeMap<u64, Moment>> = vec![BTreeMap::new(); peers.len()];
        loop {
            let now = Moment::now(storer.process());
            for (n, peer) in peers.iter().enumerate() {
                let pongs = peer.pongs_since(marks[n], &storer) as u64;
                for number in first[n]..first[n] + pongs {
                    taken[n].entry(number).or_insert(now);
                }
            }
            let count: usize = taken.iter().map(BTreeMap::len).sum();
            let over = match enough {
                Some(enough) => count >= enough,
                None => begin.is_over(after, storer.process()),
            };
            if over {
                break;
            }
            assert!(start.elapsed() < DEADLINE, "it takes nothing off the wire");
            std::thread::sleep(Duration::from_millis(1));
        }
        let killed = storer.kill();
        for (peer, taken) in peers.iter_mut().zip(taken) {
            let taken = taken.into_iter();
            let in_time: Vec<_> = taken.filter(|(_, at)| at.is_in_time_for(&killed)).collect();
            accepted += in_time.len();
            if let Some((number, _)) = in_time.last() {
                peer.durable = *number;
            }
        }
    }
    println!("{kills} kills, {accepted} blobs accepted in time, seed {seed}");
    assert!(accepted > 0);
    let dir = home.path().join("storer");
    let database = rusqlite::Connection::open(dir.join("peer-storage.sqlite")).unwrap();
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.unwrap(), "ok");
}
