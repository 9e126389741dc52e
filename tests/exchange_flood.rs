//! Identities cost a stranger nothing: whatever a hundred thousand of them do, the memory that it takes
//! is bounded.
//!
//! All memory of this test is counted, so that nothing that is kept for a peer is overlooked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/counting.rs"]
#[allow(dead_code)]
mod counting;
#[path = "simulation/example.rs"]
mod example;

use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use counting::live;
use example::*;
use ldk_peer_storage::backup::ChannelPhase::Ready;
use ldk_peer_storage::backup::{OpenError, Tier};
use ldk_peer_storage::exchange::{
    Exchange, Guests, Inbound, PeerFeatures, SavedState, StoragePolicy, Time,
};

const IDENTITIES: usize = 100_000;
/// A bound that the smallest entry for each identity would break several times over.
const MOST_BYTES: isize = 512 * 1024;

/// A node under test. What comes out of it is dropped: it is not what it holds.
struct Host {
    exchange: Exchange,
    now: Time,
}

impl Host {
    fn unknown(guests: Guests) -> Host {
        let now = Time(1_700_000_000_000);
        let policy = StoragePolicy {
            guests,
            guest_count: 50,
            ..StoragePolicy::default()
        };
        Host {
            exchange: Exchange::new(now, SavedState::default(), policy),
            now,
        }
    }

    /// A wallet with a channel and a backup.
    fn wallet(guests: Guests) -> Host {
        let mut host = Host::unknown(guests);
        let live = state(&[(1, 0, 5, Ready)]);
        host.exchange.wallet_changed(host.now, live);
        host.exchange.declare_new(host.now).unwrap();
        host
    }

    fn connect(&mut self, peer: PublicKey) {
        let features = PeerFeatures {
            provides_storage: true,
            hash: 1,
        };
        self.exchange.connected(self.now, peer, features);
    }

    fn store(&mut self, peer: PublicKey, len: usize) {
        let blob = vec![1; len].into();
        self.exchange.storage_received(self.now, peer, blob);
    }

    fn disconnect(&mut self, peer: PublicKey) {
        self.exchange.disconnected(self.now, peer);
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.exchange.tick(self.now);
        drop(self.exchange.take_actions());
    }
}

/// Has each of them come, do something and go, fifty in a second. How many bytes that has left behind,
/// from the first tenth of them on.
fn left_by(identities: &[PublicKey], mut host: Host, deed: impl Fn(&mut Host, PublicKey)) -> isize {
    let mut after_a_tenth = 0;
    for (n, peer) in identities.iter().enumerate() {
        host.connect(*peer);
        deed(&mut host, *peer);
        host.disconnect(*peer);
        drop(host.exchange.take_actions());
        if n % 50 == 0 {
            host.pass(Duration::from_secs(1));
        }
        let tenth = identities.len() / 10;
        if n == tenth {
            after_a_tenth = live() as isize;
        }
        // What is kept for each of them may make it slow as well: enough is known.
        if n > tenth && live() as isize - after_a_tenth >= MOST_BYTES {
            break;
        }
    }
    live() as isize - after_a_tenth
}

/// One test: the memory of another beside it would be counted too.
#[test]
fn a_hundred_thousand_identities_leave_nothing_behind() {
    let secp = Secp256k1::new();
    let identity = |n: usize| {
        let mut secret = [3; 32];
        secret[24..].copy_from_slice(&n.to_be_bytes());
        PublicKey::from_secret_key(&secp, &SecretKey::from_slice(&secret).unwrap())
    };
    let identities: Vec<_> = (0..IDENTITIES).map(identity).collect();
    let of_a_wallet = Host::wallet(Guests::None);
    let ours = of_a_wallet.exchange.snapshot().unwrap().clone();

    type Deed<'a> = &'a dyn Fn(&mut Host, PublicKey);
    let deeds: [(&str, Deed); 5] = [
        ("come and go", &|_, _| {}),
        ("return garbage and store it", &|host, peer| {
            let garbage = Err(OpenError::Unreadable);
            host.exchange
                .retrieval_received(host.now, peer, &[7; 1024], garbage);
            host.store(peer, 1024);
        }),
        ("empty a slot that they do not have", &|host, peer| {
            host.store(peer, 0);
            host.store(peer, 0);
        }),
        ("store much and take it back", &|host, peer| {
            for _ in 0..8 {
                host.store(peer, 100);
            }
            host.disconnect(peer);
            host.connect(peer);
            host.store(peer, 0);
        }),
        ("return a backup of ours", &|host, peer| {
            let (len, contents) = sealed(&ours, Tier::Full);
            host.exchange
                .retrieval_received(host.now, peer, &vec![0; len], Ok(contents));
            host.pass(Duration::from_secs(61));
        }),
    ];
    for (what, deed) in deeds {
        for guests in [Guests::None, Guests::Anyone] {
            let (left, guests) = (Host::wallet(guests.clone()), guests);
            let left = left_by(&identities, left, deed);
            println!("{IDENTITIES} identities that {what}, guests {guests:?}: {left} bytes");
            assert!(left < MOST_BYTES, "{what}: {left} bytes are left");
        }
    }
    let heard: [(&str, Deed); 2] = [
        ("have nothing", &|host, peer| {
            let message = Inbound::Reestablish(channel_id(9), numbers((1, 0)));
            host.exchange.inbound(host.now, peer, message);
        }),
        ("return garbage", &|host, peer| {
            let garbage = Err(OpenError::Unreadable);
            host.exchange
                .retrieval_received(host.now, peer, &[7; 1024], garbage);
        }),
    ];
    for (what, deed) in heard {
        let left = left_by(&identities, Host::unknown(Guests::None), deed);
        println!("{IDENTITIES} identities that {what} in a restore: {left} bytes");
        assert!(left < MOST_BYTES, "{what}: {left} bytes are left");
    }
}
