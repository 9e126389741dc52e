//! Beside a node that cannot be extended, or is stopped: read back, push, verify.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use ldk_peer_storage::session::{Returned, Session, SessionConfig, SessionError, Times, Work};
use lightning::ln::msgs::{ErrorAction, MessageSendEvent};
use lightning::sign::KeysManager;
use testkit::{open_channel, wait_until, Chain, Node, NodeConfig, RawPeer, DEADLINE};

use crate::stage::{
    assert_all_delivered, assert_read_before_written, of_node, of_raw, outcome, Quiet,
};
use crate::support::{assert_quiet, Wallet, WalletConfig};

#[test]
fn what_peers_keep_is_read_back_replaced_and_verified_and_no_channel_closes() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let config = |name: &str| NodeConfig::new(name, dir.path().join(name), chain.clone());
    let wallet = |name: &str| Wallet::start(WalletConfig::new(config(name)));
    let phone = wallet("phone");
    let (bob, dave) = (wallet("bob"), Node::start(config("dave")));
    let peers = [&bob.node, &dave];
    for peer in peers {
        phone.connect_to(peer);
        open_channel(&chain, &phone.node, peer, 1_000_000);
        phone.reconnect(peer);
        wait_until("a first backup to arrive", DEADLINE, || {
            let received = peer.wire().received_from(&phone.node.id());
            received.iter().any(|name| name == "PeerStorage")
        });
    }
    let newest = phone.storage.on_background(DEADLINE).status.backup.newest;
    let newest = newest.unwrap();
    let (phone_id, funding) = (phone.node.id(), phone.node.funding_outpoints());
    let stopped = phone.stop();
    wait_until("the peers to notice", DEADLINE, || {
        peers.iter().all(|peer| !peer.is_connected(&phone_id))
    });
    let marks = peers.map(|peer| peer.wire().mark());

    let quiet = Quiet::open(stopped.node.seed, &stopped.storage_dir);
    let records = peers.map(of_node);
    let work = Work { verify: true };
    let report = quiet.session.run(&records, work, DEADLINE);
    assert_all_delivered(&report);
    for peer in peers {
        let visit = outcome(&report.peers, &peer.id()).unwrap();
        assert_eq!(visit.returned, Returned::Backup(newest));
        assert!(visit.verified);
        assert!(!peer.is_connected(&phone_id), "the connection has ended");
    }

    // Something to push: it is sent, and with `verify` it comes back on a second connection.
    quiet.storage.set_app_data(vec![7; 3_000]);
    quiet.storage.flush(DEADLINE);
    let newer = quiet.storage.status().backup.newest.unwrap();
    assert!(newer > newest);
    let report = quiet.session.run(&records, work, DEADLINE);
    assert_all_delivered(&report);
    for peer in peers {
        let visit = outcome(&report.peers, &peer.id()).unwrap();
        assert_eq!(visit.returned, Returned::Backup(newest));
        assert_eq!(visit.sent, Some(newer));
        assert!(visit.verified);
    }
    assert_eq!(quiet.storage.status().backup.verified_by, 2);
    for (peer, mark) in peers.into_iter().zip(marks) {
        assert_quiet(&peer.wire().received_since(mark, &phone_id));
        assert_quiet(&quiet.wire.sent_to(&peer.id()));
        assert_read_before_written(&quiet.wire, &peer.id());
        assert_eq!(peer.panicked(), None);
        assert_eq!(peer.channels_with(&phone_id).len(), 1);
        assert!(peer.closed_channels().is_empty());
    }
    assert!(funding.iter().all(|f| chain.spender(*f).is_none()));
    quiet.close();

    // The wallet goes on where it was, and its channels work.
    let phone = Wallet::start(stopped);
    for peer in peers {
        phone.connect_to(peer);
        wait_until("the channel to be usable", DEADLINE, || {
            phone.node.is_usable_with(&peer.id())
        });
        testkit::pay(&phone.node, peer, 10_000);
    }
    assert!(!phone.storage.is_holding());
}

#[test]
fn nothing_is_pushed_to_a_peer_that_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let times = Times {
        read_back: Duration::from_millis(500),
        ..Times::default()
    };
    let quiet = Quiet::with_times([7; 32], dir.path(), times);
    let bob = RawPeer::new("bob");
    quiet.storage.declare_new().unwrap();
    quiet.storage.list_peers([bob.id()].into());
    quiet.storage.set_app_data(vec![1]);
    let over = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        // Whatever happens meanwhile.
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                quiet.storage.push_now();
                quiet.storage.flush(DEADLINE);
            }
        });
        let report = quiet
            .session
            .run(&[of_raw(&bob)], Work { verify: true }, DEADLINE);
        over.store(true, Ordering::SeqCst);
        report
    });
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert_eq!(
        (visit.returned, visit.sent),
        (Returned::NothingInTime, None)
    );
    assert!(bob.pushed_by(&quiet_id()).is_empty());
    assert_quiet(&quiet.wire.sent_to(&bob.id()));
}

#[test]
fn a_peer_that_hangs_up_once_it_has_answered_is_not_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open([7; 32], dir.path());
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, _| {
        let action = ErrorAction::DisconnectPeer { msg: None };
        let hang_up = MessageSendEvent::HandleError {
            node_id: to,
            action,
        };
        let answer = testkit::Outgoing::retrieval(to, vec![1; 300]);
        vec![answer, testkit::Outgoing::Event(hang_up)]
    });
    for _ in 0..20 {
        let before = bob.received().len();
        let outcome_of = |peers: &[_]| outcome(peers, &bob.id()).unwrap();
        let restored = quiet.session.restore(&[of_raw(&bob)], DEADLINE).unwrap();
        assert_eq!(outcome_of(&restored.peers).returned, Returned::Unreadable);
        assert_eq!(bob.received().len(), before + 1, "one `init`");
    }
}

#[test]
fn a_storage_that_is_closed_sends_nothing_and_the_report_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open([7; 32], dir.path());
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, _| vec![testkit::Outgoing::retrieval(to, vec![1; 300])]);
    quiet.storage.declare_new().unwrap();
    quiet.storage.list_peers([bob.id()].into());
    quiet.storage.set_app_data(vec![1]);
    quiet.storage.close(DEADLINE);
    let report = quiet
        .session
        .run(&[of_raw(&bob)], Work::default(), DEADLINE);
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert_eq!((visit.returned, visit.sent), (Returned::Unreadable, None));
    assert!(bob.pushed_by(&quiet_id()).is_empty());
}

#[test]
fn a_peer_has_each_connection_read_back_before_anything_is_pushed_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let times = Times {
        read_back: Duration::from_secs(2),
        ..Times::default()
    };
    let quiet = Quiet::with_times([7; 32], dir.path(), times);
    let bob = RawPeer::new("bob");
    quiet.storage.declare_new().unwrap();
    quiet.storage.list_peers([bob.id()].into());
    bob.on_connect(|to, _| vec![testkit::Outgoing::retrieval(to, vec![1; 300])]);
    for n in 0..3 {
        quiet.storage.set_app_data(vec![n; 100]);
        let report = quiet
            .session
            .run(&[of_raw(&bob)], Work::default(), DEADLINE);
        let visit = outcome(&report.peers, &bob.id()).unwrap();
        assert_eq!(visit.returned, Returned::Unreadable);
        assert_eq!(visit.sent, quiet.storage.status().backup.newest);
        assert!(visit.sent.is_some() && visit.delivered && !visit.verified);
    }
    // On the fourth it keeps its silence.
    bob.on_connect(|_, _| Vec::new());
    quiet.storage.set_app_data(vec![4; 100]);
    let report = quiet
        .session
        .run(&[of_raw(&bob)], Work::default(), DEADLINE);
    let visit = outcome(&report.peers, &bob.id()).unwrap();
    assert_eq!(
        (visit.returned, visit.sent),
        (Returned::NothingInTime, None)
    );
    assert_eq!(bob.pushed_by(&quiet_id()).len(), 3);
    assert_read_before_written(&quiet.wire, &bob.id());
    assert_quiet(&quiet.wire.sent_to(&bob.id()));
}

#[test]
fn a_session_is_that_of_the_node_whose_storage_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open([7; 32], dir.path());
    let others = Arc::new(KeysManager::new(&[8; 32], 0, 0, true));
    let refused = Session::open(quiet.storage.clone(), others, SessionConfig::default());
    assert!(matches!(refused, Err(SessionError::OtherNode)));
}

#[test]
fn a_session_can_be_called_from_a_thread_of_another_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = Quiet::open([7; 32], dir.path());
    let bob = RawPeer::new("bob");
    bob.on_connect(|to, _| vec![testkit::Outgoing::retrieval(to, vec![1; 300])]);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let report = runtime.unwrap().block_on(async {
        quiet
            .session
            .run(&[of_raw(&bob)], Work::default(), DEADLINE)
    });
    assert_all_delivered(&report);
}

fn quiet_id() -> bitcoin::secp256k1::PublicKey {
    use lightning::sign::{NodeSigner, Recipient};
    let keys = KeysManager::new(&[7; 32], 0, 0, true);
    keys.get_node_id(Recipient::Node).unwrap()
}
