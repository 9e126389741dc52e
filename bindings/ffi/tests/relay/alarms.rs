//! An alarm, as an app with hooks sees it: everything is held, the person decides, everything goes on.

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, ScriptBuf, Sequence, Transaction, TxIn, Witness};
use peer_storage_ffi::alarms::{AlarmEvidence, AlarmKind, AlarmResolution, StorageAlarm};
use peer_storage_ffi::errors::{PeerStorageError, Refusal};
use peer_storage_ffi::relay::MessageRelay as Relay;
use peer_storage_ffi::reports::NodeStart;
use peer_storage_ffi::status::BackupHealth;
use testkit::{copy_dir, open_channel, pay, Chain, Direction, NodeConfig, DEADLINE};

use crate::support::{channel, report, wait, wait_until, ENOUGH};
use crate::wallet::Wallet;

fn spending(outpoint: OutPoint) -> Vec<Vec<u8>> {
    let tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: Vec::new(),
    };
    vec![serialize(&tx)]
}

fn may_spend(relay: &Relay, outpoint: OutPoint) -> bool {
    relay.may_publish(spending(outpoint)).unwrap()
}

fn holding(wallet: &Wallet) -> Vec<StorageAlarm> {
    let mut alarms = wallet.storage.alarms().unwrap();
    alarms.retain(|alarm| alarm.holds);
    alarms
}

struct Two {
    dir: tempfile::TempDir,
    chain: std::sync::Arc<Chain>,
    alice: Wallet,
    bob: Wallet,
    funding: OutPoint,
}

/// A channel, and a backup of it that bob holds.
fn two_with_a_channel() -> Two {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let start = |name: &str| {
        let node = NodeConfig::new(name, dir.path().join(name), chain.clone());
        Wallet::start(node, &dir.path().join(format!("{name}-storage")))
    };
    let (alice, bob) = (start("alice"), start("bob"));
    alice.connect_to(&bob);
    open_channel(&chain, &alice.node, &bob.node, 1_000_000);
    let funding = alice.node.funding_outpoints()[0];
    let two = Two {
        dir,
        chain,
        alice,
        bob,
        funding,
    };
    two.alice.report();
    two.bob.report();
    verify(&two.alice, &two.bob);
    two
}

/// Until bob has returned the newest backup of alice.
fn verify(alice: &Wallet, bob: &Wallet) {
    wait_until("bob to have alice's newest backup", || {
        alice.reconnect(bob);
        let status = alice.storage.status().unwrap();
        let mut peers = status.peers.into_iter();
        status.channels == 1 && peers.any(|peer| peer.health == BackupHealth::Verified)
    });
}

#[test]
fn under_an_alarm_the_relay_holds_all_and_goes_on_when_it_is_over() {
    let Two {
        alice,
        bob,
        funding,
        dir: _dir,
        ..
    } = two_with_a_channel();
    let relay = &alice.relay.0;
    let stranger = OutPoint::new(funding.txid, 77);
    assert!(may_spend(relay, funding));

    // The app's list has lost the channel.
    alice.storage.report_wallet(report(Vec::new())).unwrap();
    wait_until("the alarm", || !holding(&alice).is_empty());
    let [alarm] = &holding(&alice)[..] else {
        panic!("more than one")
    };
    let AlarmKind::StaleState {
        peer: None,
        evidence: AlarmEvidence::ChannelMissing { channel },
    } = &alarm.kind
    else {
        panic!("another alarm")
    };
    assert_eq!(channel.funding_outpoint, Some(funding.to_string()));
    assert!(!may_spend(relay, funding));
    assert!(may_spend(relay, stranger), "what is no channel's");

    let mark = alice.node.wire().mark();
    alice.node.disconnect_from(&bob.node);
    alice.node.connect_to(&bob.node);
    let from_bob = |name| {
        let wire = alice.node.wire();
        wire.wait_for(mark, &bob.node.id(), Direction::Received, name, DEADLINE)
    };
    from_bob("ChannelReestablish");
    assert!(!alice.node.is_usable_with(&bob.node.id()));
    let sent = alice.node.wire().sent_since(mark, &bob.node.id());
    assert!(!sent.contains(&"ChannelReestablish".to_owned()), "{sent:?}");
    assert_eq!(alice.node.panicked(), None);

    // The list is whole again, and the person says so; what bob has returned meanwhile may have raised another.
    alice.report();
    for alarm in holding(&alice) {
        let current = AlarmResolution::ThisDeviceIsCurrent;
        wait(alice.storage.resolve_alarm(alarm.id, current)).unwrap();
    }
    assert!(holding(&alice).is_empty());
    assert!(may_spend(relay, funding));
    wait_until("the channel to work again", || {
        let usable = |a: &Wallet, b: &Wallet| a.node.is_usable_with(&b.node.id());
        usable(&alice, &bob) && usable(&bob, &alice)
    });
    pay(&alice.node, &bob.node, 1_000_000);
    assert_eq!((alice.node.panicked(), bob.node.panicked()), (None, None));
    alice.stop();
    bob.stop();
}

#[test]
fn old_state_is_held_for_good_and_no_node_may_start_on_it() {
    let Two {
        dir,
        chain,
        alice,
        bob,
        funding,
    } = two_with_a_channel();
    let node = alice.node.config().clone();
    alice.stop();
    let old = dir.path().join("old");
    copy_dir(&node.dir, &old);
    let storage = dir.path().join("alice-storage");
    let alice = Wallet::start_again(node.clone(), &storage, &bob);
    alice.reconnect(&bob);
    pay(&alice.node, &bob.node, 20_000_000);
    pay(&alice.node, &bob.node, 20_000_000);
    alice.report();
    verify(&alice, &bob);
    alice.stop();
    testkit::wipe(&node.dir);
    copy_dir(&old, &node.dir);

    let alice = Wallet::start_again(node, &storage, &bob);
    alice.report();
    wait_until("the alarm", || !holding(&alice).is_empty());
    let alarm = holding(&alice).remove(0);
    let AlarmKind::StaleState {
        evidence:
            AlarmEvidence::StampAhead {
                channel,
                backup_stamp,
                live_stamp,
            },
        ..
    } = &alarm.kind
    else {
        panic!("another alarm")
    };
    assert_eq!(channel.funding_outpoint, Some(funding.to_string()));
    assert!(backup_stamp > live_stamp, "{backup_stamp} {live_stamp}");
    let mark = alice.node.wire().mark();
    alice.node.connect_to(&bob.node);
    let wire = alice.node.wire();
    let (peer, name) = (bob.node.id(), "ChannelReestablish");
    wire.wait_for(mark, &peer, Direction::Received, name, DEADLINE);
    assert!(!may_spend(&alice.relay.0, funding));
    let resolution = AlarmResolution::ThisDeviceIsCurrent;
    match wait(alice.storage.resolve_alarm(alarm.id, resolution)) {
        Err(PeerStorageError::NotAllowed { why, .. }) => assert_eq!(why, Refusal::ProvedStale),
        other => panic!("{other:?}"),
    }
    wait(
        alice
            .storage
            .resolve_alarm(alarm.id, AlarmResolution::Recover),
    )
    .unwrap();
    assert!(holding(&alice)[0].recovering && !may_spend(&alice.relay.0, funding));
    match wait(alice.storage.check_before_node_start(1_000)).unwrap() {
        NodeStart::DoNotStart { alarms } => assert_eq!(alarms[0].id, alarm.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(alice.node.panicked(), None);
    assert!(chain.spender(funding).is_none());
    alice.stop();
    bob.stop();
}

/// An old relay goes on to be asked by the node's broadcaster; what was found out since counts there, too.
#[test]
fn a_relay_of_an_earlier_opening_heeds_the_alarms_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let node = NodeConfig::new("alice", dir.path().join("alice"), chain);
    let alice = Wallet::start(node, &dir.path().join("storage"));
    let old = &alice.relay.0;
    let listed = channel(2);
    let funding = listed.funding_outpoint.as_deref().unwrap().parse().unwrap();
    alice
        .storage
        .report_wallet(report(vec![listed.clone()]))
        .unwrap();
    wait_until("the channel to be in the backup", || {
        alice.storage.status().unwrap().channels == 1
    });
    assert!(may_spend(old, funding));
    wait(alice.storage.on_background(ENOUGH)).unwrap();
    assert!(may_spend(old, funding), "nothing is known against it");
    alice.storage.on_foreground();
    wait(alice.storage.wait_until_open()).unwrap();
    assert!(!old.is_current().unwrap() && may_spend(old, funding));

    alice.storage.report_wallet(report(Vec::new())).unwrap();
    wait_until("the alarm", || !holding(&alice).is_empty());
    assert!(!may_spend(old, funding));
    let stranger = OutPoint::new(funding.txid, 77);
    assert!(may_spend(old, stranger), "what is no channel's");
    wait(alice.storage.on_background(ENOUGH)).unwrap();
    assert!(!may_spend(old, funding), "nor while nothing is open");
    alice.storage.on_foreground();
    wait(alice.storage.wait_until_open()).unwrap();
    assert!(!may_spend(old, funding));

    alice.storage.report_wallet(report(vec![listed])).unwrap();
    let id = holding(&alice)[0].id;
    wait(
        alice
            .storage
            .resolve_alarm(id, AlarmResolution::ThisDeviceIsCurrent),
    )
    .unwrap();
    assert!(may_spend(old, funding));
    let cut = old.may_publish(vec![vec![1]]);
    assert!(matches!(
        cut,
        Err(peer_storage_ffi::relay::RelayError::InvalidInput { .. })
    ));
    alice.stop();
}
