//! What a restore says while it goes on: who gave what, who is missing, and what is doubtful.

use ldk_peer_storage::exchange::{Event, PastError};
use testkit::{Outgoing, RawPeer, DEADLINE};

use super::{node_id, returns, sealed, seed, snapshot};
use crate::support::{backup_key, take_events, QuietNode};

#[test]
fn a_restore_survives_a_restart_of_the_process_and_loses_nothing_that_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let (anna, bert) = (RawPeer::new("anna"), RawPeer::new("bert"));
    let seed = seed("phone");
    let mut newest = snapshot((1, 9), 1, &[(1, anna.id()), (2, bert.id())]);
    newest.app_data = b"a note of the app".to_vec();
    returns(&anna, sealed(&seed, &newest));
    returns(
        &bert,
        sealed(&seed, &snapshot((1, 4), 1, &[(3, bert.id())])),
    );

    let phone = QuietNode::start(seed, dir.path());
    assert!(phone.connect(anna.id(), anna.addr()));
    phone.wait_read_back(anna.id());
    let unheard = phone.storage.restore_report().unheard;
    assert_eq!(
        unheard.iter().map(|p| p.node_id).collect::<Vec<_>>(),
        [bert.id()]
    );
    phone.stop();

    let phone = QuietNode::start(seed, dir.path());
    let report = phone.storage.restore_report();
    assert_eq!(
        report.newest,
        Some(newest.revision),
        "read before the restart"
    );
    assert_eq!(phone.storage.declare_new(), Err(PastError::NotNew));
    assert!(phone.connect(bert.id(), bert.addr()));
    phone.wait_read_back(bert.id());
    assert!(anna.pushed_by(&phone.id()).is_empty() && bert.pushed_by(&phone.id()).is_empty());
    let report = phone.storage.finish_restore().unwrap();
    assert_eq!(report.newest, Some(newest.revision));
    assert_eq!((report.channels.len(), report.older_channels.len()), (2, 1));
    assert!(report.unheard.is_empty());
    assert_eq!(report.app_data, newest.app_data);

    // And what goes out now, above all that was seen, has all of it.
    let pushed = bert
        .wait_received("the new backup", 0, |m| m.type_id == 7)
        .blob();
    let pushed = backup_key(&seed).open_snapshot(&pushed).unwrap().snapshot;
    assert!(pushed.revision.epoch > 1);
    assert_eq!(pushed.channels.len(), 3);
    assert!(pushed.channels.iter().all(|channel| channel.restored));
    assert_eq!(pushed.app_data, newest.app_data);
    phone.stop();
}

#[test]
fn a_second_loss_is_restored_from_what_the_first_restore_pushed() {
    let home = tempfile::tempdir().unwrap();
    let peer = RawPeer::new("peer");
    let seed = seed("phone");
    let first = snapshot((1, 9), 1, &[(1, peer.id()), (2, peer.id())]);
    returns(&peer, sealed(&seed, &first));
    let mut newest = first.revision;
    for phone in ["second", "third", "fourth"] {
        let mark = peer.received().len();
        let phone = QuietNode::start(seed, &home.path().join(phone));
        assert!(phone.connect(peer.id(), peer.addr()));
        phone.wait_read_back(peer.id());
        let report = phone.storage.finish_restore().unwrap();
        assert_eq!(report.newest, Some(newest));
        assert_eq!(report.channels.len(), 2);
        let blob = peer
            .wait_received("a backup", mark, |m| m.type_id == 7)
            .blob();
        let pushed = backup_key(&seed).open_snapshot(&blob).unwrap().snapshot;
        assert_eq!(pushed.revision.epoch, newest.epoch + 1);
        newest = pushed.revision;
        returns(&peer, blob);
        phone.stop();
    }
}

#[test]
fn a_newer_backup_without_channels_does_not_silently_beat_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let (anna, bert) = (RawPeer::new("anna"), RawPeer::new("bert"));
    let seed = seed("phone");
    returns(&anna, sealed(&seed, &snapshot((2, 1), 2, &[])));
    returns(
        &bert,
        sealed(&seed, &snapshot((1, 9), 1, &[(1, bert.id())])),
    );
    let phone = QuietNode::start(seed, dir.path());
    for peer in [&anna, &bert] {
        assert!(phone.connect(peer.id(), peer.addr()));
        phone.wait_read_back(peer.id());
    }
    let report = phone.storage.restore_report();
    assert!(report.newest_is_empty_but_older_is_not);
    assert_eq!((report.channels.len(), report.older_channels.len()), (0, 1));
    let report = phone.storage.finish_restore().unwrap();
    assert_eq!(report.older_channels.len(), 1);
    let blob = anna.wait_received("a backup", 0, |m| m.type_id == 7).blob();
    let pushed = backup_key(&seed).open_snapshot(&blob).unwrap().snapshot;
    assert_eq!(pushed.channels.len(), 1, "restored as well");
    phone.stop();
}

#[test]
fn two_backups_of_one_revision_are_reported_as_a_conflict_and_both_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (anna, bert) = (RawPeer::new("anna"), RawPeer::new("bert"));
    let seed = seed("phone");
    returns(
        &anna,
        sealed(&seed, &snapshot((1, 9), 1, &[(1, anna.id())])),
    );
    returns(
        &bert,
        sealed(&seed, &snapshot((1, 9), 2, &[(2, bert.id())])),
    );
    let phone = QuietNode::start(seed, dir.path());
    for peer in [&anna, &bert] {
        assert!(phone.connect(peer.id(), peer.addr()));
        phone.wait_read_back(peer.id());
    }
    let report = phone.storage.finish_restore().unwrap();
    assert!(report.answers.len() == 2 && report.answers.iter().all(|a| a.conflicts));
    let blob = anna.wait_received("a backup", 0, |m| m.type_id == 7).blob();
    let pushed = backup_key(&seed).open_snapshot(&blob).unwrap().snapshot;
    assert_eq!(pushed.channels.len(), 2);
    phone.stop();
}

#[test]
fn who_gave_what_does_not_open_and_who_was_not_heard_are_named_apart() {
    let dir = tempfile::tempdir().unwrap();
    let good = RawPeer::new("good");
    let (other, random) = (RawPeer::new("other"), RawPeer::new("random"));
    let (seed, another) = (seed("phone"), seed("another phone"));
    let absent = node_id(&super::seed("absent"));
    let ids = [good.id(), other.id(), random.id(), absent];
    let peers: Vec<_> = (1..).zip(ids).collect();
    returns(&good, sealed(&seed, &snapshot((1, 9), 1, &peers)));
    let foreign = snapshot((5, 9), 1, &[(8, node_id(&another))]);
    returns(&other, sealed(&another, &foreign));
    random.on_connect(|to, _| vec![Outgoing::retrieval(to, vec![0x5a; 1024])]);

    let phone = QuietNode::start(seed, dir.path());
    for peer in [&good, &other, &random] {
        assert!(phone.connect(peer.id(), peer.addr()));
        phone.wait_read_back(peer.id());
    }
    let mut named: Vec<_> = take_events(&phone.storage)
        .into_iter()
        .filter_map(|event| match event {
            Event::Unreadable { peer, .. } => Some(peer),
            _ => None,
        })
        .collect();
    named.sort();
    let mut expected = vec![other.id(), random.id()];
    expected.sort();
    assert_eq!(named, expected);
    let report = phone.storage.restore_report();
    assert_eq!(report.answers.len(), 1);
    let mut silent = report.silent.clone();
    silent.sort();
    assert_eq!(silent, expected);
    let unheard: Vec<_> = report.unheard.iter().map(|p| p.node_id).collect();
    assert_eq!(unheard, [absent]);
    assert_eq!((report.channels.len(), report.older_channels.len()), (4, 0));
    assert!(phone.storage.flush(DEADLINE));
    phone.stop();
}

#[test]
fn of_fifty_storers_with_old_backups_and_one_with_the_newest_the_one_is_believed() {
    const LIARS: u64 = 50;
    let dir = tempfile::tempdir().unwrap();
    let (seed, honest) = (seed("phone"), RawPeer::new("honest"));
    let newest = snapshot((2, 9), 1, &[(1, honest.id()), (2, honest.id())]);
    returns(&honest, sealed(&seed, &newest));
    let phone = QuietNode::start(seed, dir.path());
    let (honest_id, mut honest) = (honest.id(), Some(&honest));
    for n in 1..=LIARS {
        let liar = RawPeer::new(&format!("liar {n}"));
        // The wallet's own, from all its past: with the channels that it had then.
        let (epoch, generation) = (1 + (n % 2) as u32, 1 + n % 8);
        let old = snapshot((epoch, generation), 1, &[(1, honest_id), (3, liar.id())]);
        returns(&liar, sealed(&seed, &old));
        assert!(phone.connect(liar.id(), liar.addr()));
        phone.wait_read_back(liar.id());
        if n == LIARS / 2 {
            let honest = honest.take().unwrap();
            assert!(phone.connect(honest.id(), honest.addr()));
            phone.wait_read_back(honest.id());
        }
    }
    let report = phone.storage.restore_report();
    assert_eq!(report.newest, Some(newest.revision));
    assert_eq!(report.answers.len() as u64, LIARS + 1);
    assert_eq!(report.answers.iter().filter(|a| a.newest).count(), 1);
    assert_eq!(report.channels.len(), 2);
    let counterparties = report.channels.iter().map(|c| c.counterparty);
    let theirs: Vec<_> = newest.channels.iter().map(|c| c.counterparty).collect();
    assert!(counterparties.eq(theirs), "as the newest says");
    assert!(!report.newest_is_empty_but_older_is_not);
    // That it knew one more channel then is told, apart.
    assert_eq!(report.older_channels.len(), 1);
    phone.stop();
}
