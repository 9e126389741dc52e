//! Peers that are not there, not who they should be, or not well-behaved: the budget is kept, and the
//! others are served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::Network;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::ldk::QuietHandler;
use ldk_peer_storage::session::{NotReached, Returned, SessionConfig, Times, Work};
use lightning::ln::msgs::SocketAddress;
use lightning::types::features::{InitFeatures, NodeFeatures};
use testkit::{Outgoing, RawPeer, RawPeerConfig, DEADLINE};

use crate::stage::{of_raw, outcome, record, Quiet};
use crate::support::assert_quiet;

const SECOND: Duration = Duration::from_secs(1);
const BUDGET: Duration = Duration::from_secs(4);

fn id(n: u8) -> PublicKey {
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[n; 32]).unwrap())
}

fn times() -> Times {
    Times {
        connect: SECOND,
        retry: Duration::from_millis(100),
        read_back: 10 * SECOND,
        ..Times::default()
    }
}

/// Listens, and does this with whoever comes, for as long as the process lives.
fn listen(with: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let with = with.clone();
            std::thread::spawn(move || with(stream));
        }
    });
    addr
}

/// Says nothing, and reads.
fn silent(mut stream: TcpStream) {
    let mut drain = [0; 4096];
    while stream.read(&mut drain).is_ok_and(|count| count > 0) {}
}

#[test]
fn the_budget_is_kept_whatever_peers_do_and_good_peers_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::with_times([7; 32], dir.path(), times());
    let good = RawPeer::new("good");
    good.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![1; 300])]);
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let junk = listen(|mut stream| {
        let _ = stream.write_all(&[0xab; 100_000]);
        silent(stream);
    });
    let flood = listen(|mut stream| while stream.write_all(&[0; 65_536]).is_ok() {});
    let other = RawPeer::new("other");
    let mute = RawPeer::new("mute");
    let flooding = RawPeer::new("flooding");
    flooding.on_connect(|to, _| noise(to));
    flooding.on_message(|message| noise(message.from));
    let stranger = RawPeer::start(RawPeerConfig {
        features: {
            let mut features = InitFeatures::empty();
            features.set_required_custom_bit(1_000).unwrap();
            features
        },
        ..RawPeerConfig::new("stranger")
    });
    let nowhere = PeerRecord {
        node_id: id(20),
        addresses: Vec::new(),
    };
    let hidden = PeerRecord {
        node_id: id(21),
        addresses: vec![onion()],
    };
    let peers = [
        of_raw(&good),
        record(id(10), closed),
        record(id(11), listen(silent)),
        record(id(12), junk),
        record(id(13), flood),
        record(id(14), other.addr()),
        record(id(15), listen(drop)),
        of_raw(&mute),
        of_raw(&flooding),
        of_raw(&stranger),
        nowhere,
        hidden,
    ];
    let begun = Instant::now();
    let report = quiet.session.run(&peers, Work { verify: true }, BUDGET);
    let took = begun.elapsed();
    assert!(took < BUDGET + SECOND, "{took:?}");
    assert!(took >= BUDGET / 2, "the mute one is waited for");

    let of = |peer: &PublicKey| outcome(&report.peers, peer);
    assert_eq!(of(&good.id()).unwrap().returned, Returned::Unreadable);
    assert!(of(&good.id()).unwrap().delivered);
    let expected = [
        (10, NotReached::Unreachable),
        (11, NotReached::TimedOut),
        (12, NotReached::HandshakeFailed),
        (13, NotReached::HandshakeFailed),
        (14, NotReached::HandshakeFailed),
        (15, NotReached::HandshakeFailed),
        (20, NotReached::NoAddress),
        (21, NotReached::NeedsTor),
    ];
    for (n, error) in expected {
        assert_eq!(of(&id(n)), Err(error), "peer {n}");
    }
    // Whoever reads the other's `init` first.
    let does_not_fit = [NotReached::Incompatible, NotReached::Refused];
    assert!(does_not_fit.contains(&of(&stranger.id()).unwrap_err()));
    assert_eq!(of(&mute.id()).unwrap().returned, Returned::NothingInTime);
    assert_eq!(
        of(&flooding.id()).unwrap().returned,
        Returned::NothingInTime
    );
    for peer in [&good, &mute, &flooding] {
        assert_quiet(&quiet.wire.sent_to(&peer.id()));
        assert_eq!(peer.panicked(), None);
    }
}

/// A few unknown messages that need no answer, and pings that do.
fn noise(to: PublicKey) -> Vec<Outgoing> {
    let raw = |type_id, body| Outgoing::Raw { to, type_id, body };
    let ping = [&[0xff, 0x00, 0, 100][..], &[0; 100]].concat();
    let storage = raw(7, [&[0, 100][..], &[1; 100]].concat());
    (0..20)
        .flat_map(|_| [raw(40_001, vec![0; 60_000]), raw(18, ping.clone())])
        .chain([storage])
        .collect()
}

fn onion() -> SocketAddress {
    SocketAddress::OnionV3 {
        ed25519_pubkey: [7; 32],
        checksum: 1,
        version: 3,
        port: 9735,
    }
}

#[test]
fn twenty_peers_that_do_not_answer_cost_one_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let timeout = 2 * SECOND;
    let times = Times {
        connect: timeout,
        ..times()
    };
    let quiet = Quiet::with_times([7; 32], dir.path(), times);
    let addr = listen(silent);
    let peers: Vec<_> = (1..=20).map(|n| record(id(n), addr)).collect();
    let begun = Instant::now();
    let report = quiet.session.run(&peers, Work::default(), DEADLINE);
    let took = begun.elapsed();
    assert!(took >= timeout && took < 2 * timeout, "{took:?}");
    for n in 1..=20 {
        assert_eq!(outcome(&report.peers, &id(n)), Err(NotReached::TimedOut));
    }
}

#[test]
fn no_more_peers_than_configured_are_visited_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = SessionConfig {
        at_once: 2,
        times: Times {
            connect: SECOND / 4,
            ..times()
        },
        ..SessionConfig::default()
    };
    let quiet = Quiet::with_config([7; 32], dir.path(), config);
    let addr = listen(silent);
    let peers: Vec<_> = (1..=8).map(|n| record(id(n), addr)).collect();
    let begun = Instant::now();
    quiet.session.run(&peers, Work::default(), DEADLINE);
    assert!(begun.elapsed() >= SECOND);
}

#[test]
fn the_addresses_of_a_peer_are_tried_one_after_the_other_and_names_are_looked_up() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::with_times([7; 32], dir.path(), times());
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![1; 300])]);
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let name = SocketAddress::Hostname {
        hostname: "localhost".to_owned().try_into().unwrap(),
        port: bob.addr().port(),
    };
    let peer = PeerRecord {
        node_id: bob.id(),
        addresses: vec![onion(), closed.into(), listen(silent).into(), name],
    };
    let report = quiet.session.run(&[peer], Work::default(), DEADLINE);
    assert!(outcome(&report.peers, &bob.id()).unwrap().delivered);
}

#[test]
fn an_onion_address_is_reached_through_the_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![1; 300])]);
    let target = bob.addr();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = asked.clone();
    let proxy = listen(move |stream| {
        if let Ok(host) = serve_socks(stream, target) {
            note.lock().unwrap().push(host);
        }
    });
    let config = SessionConfig {
        tor_proxy: Some(proxy),
        times: times(),
        ..SessionConfig::default()
    };
    let quiet = Quiet::with_config([7; 32], dir.path(), config);
    let peer = PeerRecord {
        node_id: bob.id(),
        addresses: vec![onion()],
    };
    let report = quiet.session.run(&[peer], Work::default(), DEADLINE);
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert_eq!(visit.returned, Returned::Unreadable);
    let expected = onion().to_string().replace(":9735", "");
    assert!(expected.ends_with(".onion"));
    testkit::wait_until("the proxy to end", DEADLINE, || {
        *asked.lock().unwrap() == [expected.clone()]
    });
}

/// A SOCKS5 proxy for which every name is the same place. Returns the name when all is over.
fn serve_socks(mut client: TcpStream, target: SocketAddr) -> std::io::Result<String> {
    let mut hello = [0; 3];
    client.read_exact(&mut hello)?;
    client.write_all(&[5, 0])?;
    let mut head = [0; 5];
    client.read_exact(&mut head)?;
    let mut name = vec![0; usize::from(head[4]) + 2];
    client.read_exact(&mut name)?;
    assert_eq!(name.split_off(usize::from(head[4])), 9735_u16.to_be_bytes());
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let mut there = TcpStream::connect(target)?;
    let (mut from, mut to) = (client.try_clone()?, there.try_clone()?);
    let up = std::thread::spawn(move || {
        let copied = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
        copied
    });
    std::io::copy(&mut there, &mut client)?;
    client.shutdown(std::net::Shutdown::Write)?;
    let _ = up.join();
    Ok(String::from_utf8(name).unwrap())
}

#[test]
fn a_node_says_of_itself_what_its_wallet_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut features = InitFeatures::empty();
    features.set_wumbo_optional();
    features.set_static_remote_key_required();
    let config = SessionConfig {
        handler: Some(QuietHandler::with_features(
            Network::Regtest,
            features,
            NodeFeatures::empty(),
        )),
        ..SessionConfig::default()
    };
    let quiet = Quiet::with_config([7; 32], dir.path(), config);
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, init| {
        assert!(init.features.supports_wumbo() && init.features.supports_provide_storage());
        assert!(!init.features.supports_basic_mpp());
        vec![Outgoing::retrieval(to, vec![1; 300])]
    });
    let report = quiet
        .session
        .run(&[of_raw(&bob)], Work::default(), DEADLINE);
    assert!(outcome(&report.peers, &bob.id()).unwrap().delivered);
    assert_eq!(bob.panicked(), None);
}
