//! How a data directory comes to know its past.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use bitcoin::{Amount, ScriptBuf, TxOut};
use example::*;
use ldk_peer_storage::backup::ChannelPhase::{Closing, Opening, Ready};
use ldk_peer_storage::backup::{ChannelIds, OpenError, Tier};
use ldk_peer_storage::exchange::PastError;
use lightning::sign::SpendableOutputDescriptor;

#[test]
fn a_directory_that_does_not_know_its_past_pushes_to_no_one() {
    let mut w = Example::unknown();
    w.live(&[(1, 0, 5, Ready)]);
    w.exchange.list_peers(w.now, [node_id(2)].into());
    w.connect(1).connect(2).returns_nothing(1).pass(3600);
    w.exchange.push_now(w.now);
    w.exchange.background(w.now);
    w.take();
    assert_eq!(w.pushed(), []);
    w.exchange.declare_new(w.now).unwrap();
    w.take();
    assert_eq!(w.pushed().len(), 2);
}

#[test]
fn a_wallet_with_a_backup_is_not_new() {
    let mut w = Example::unknown();
    w.connect(1).returns(1, &foreign((1, 4), &[]), Tier::Full);
    assert_eq!(w.exchange.declare_new(w.now), Err(PastError::NotNew));
    let mut w = Example::unknown();
    w.connect(1).returns_garbage(1, OpenError::NewerFormat);
    assert_eq!(w.exchange.declare_new(w.now), Err(PastError::NotNew));
    let mut w = Example::unknown();
    w.connect(1).returns_garbage(1, OpenError::Unreadable);
    assert_eq!(w.exchange.declare_new(w.now), Ok(()));
}

#[test]
fn each_way_has_its_conditions() {
    let mut w = Example::unknown();
    assert_eq!(w.exchange.adopt(w.now), Err(PastError::NoWallet));
    let nothing = w.exchange.finish_restore(w.now).err();
    assert_eq!(nothing, Some(PastError::NothingRead));
    w.exchange.declare_new(w.now).unwrap();
    assert_eq!(w.exchange.adopt(w.now), Err(PastError::Known));
}

#[test]
fn an_empty_wallet_is_not_adopted() {
    // What a phone that has lost everything reports when it starts a fresh node.
    let mut w = Example::unknown();
    w.live(&[]);
    let refused = Err(PastError::NothingToAdopt);
    assert_eq!(w.exchange.adopt(w.now), refused);
    w.connect(1).returns(1, &foreign((1, 4), &[]), Tier::Full);
    assert_eq!(w.exchange.adopt(w.now), refused);
    assert!(!w.knows_its_past());
    assert_eq!(w.pushed(), []);
    w.exchange.finish_restore(w.now).unwrap();

    // One channel, also one that is closing, is a wallet.
    for phase in [Opening, Ready, Closing] {
        let mut w = Example::unknown();
        w.live(&[(1, 0, 5, phase)]);
        w.exchange.adopt(w.now).unwrap();
    }
    // So is an output that waits to be swept.
    let mut w = Example::unknown();
    let mut state = example::state(&[]);
    state.spendable_outputs = vec![unswept(3)];
    w.exchange.wallet_changed(w.now, state);
    w.exchange.adopt(w.now).unwrap();
}

#[test]
fn a_restore_takes_the_newest_and_every_channel() {
    let mut w = Example::unknown();
    w.connect(1).connect(2);
    w.returns(
        1,
        &foreign((1, 4), &[(1, 0, 5, Ready), (3, 2, 1, Closing)]),
        Tier::Full,
    );
    w.returns(
        2,
        &foreign((1, 6), &[(1, 0, 7, Ready), (2, 1, 1, Ready)]),
        Tier::Full,
    );
    let report = w.exchange.restore_report();
    assert_eq!(report.newest.unwrap().generation, 6);
    assert_eq!(report.channels.len(), 2);
    assert_eq!(report.older_channels.len(), 1);
    assert_eq!(report.channels[0].update_id, 7);
    let newest: Vec<_> = report.answers.iter().map(|a| a.newest).collect();
    assert_eq!(newest, [true, false]);
    let unheard: Vec<_> = report.unheard.iter().map(|p| p.node_id).collect();
    assert_eq!(unheard, [node_id(3)]);
    w.exchange.finish_restore(w.now).unwrap();
    let snapshot = w.take().snapshot();
    assert_eq!(
        (snapshot.revision.epoch, snapshot.revision.generation),
        (2, 7)
    );
    assert!(snapshot.channels.len() == 3 && snapshot.channels.iter().all(|c| c.restored));
}

#[test]
fn a_newer_backup_without_channels_does_not_win_in_silence() {
    let mut w = Example::unknown();
    w.connect(1).connect(2);
    w.returns(1, &foreign((2, 1), &[]), Tier::Full);
    assert!(!w.exchange.restore_report().newest_is_empty_but_older_is_not);
    w.returns(2, &foreign((1, 4), &[(1, 0, 5, Ready)]), Tier::Full);
    let report = w.exchange.restore_report();
    assert!(report.newest_is_empty_but_older_is_not);
    assert_eq!(report.older_channels.len(), 1);
}

#[test]
fn answers_that_contradict_each_other_are_marked() {
    let mut w = Example::unknown();
    w.connect(1).connect(2).connect(3);
    w.returns(1, &foreign((1, 4), &[(1, 0, 5, Ready)]), Tier::Full);
    w.returns(2, &foreign((1, 4), &[(1, 0, 6, Ready)]), Tier::Full);
    w.returns(3, &foreign((1, 3), &[(1, 0, 6, Ready)]), Tier::Full);
    let report = w.exchange.restore_report();
    let marked: Vec<_> = report.answers.iter().map(|a| a.conflicts).collect();
    assert_eq!(marked, [true, true, false]);
}

#[test]
fn a_restore_goes_on_after_a_restart() {
    let mut w = Example::unknown();
    let backup = foreign((1, 4), &[(1, 0, 5, Ready)]);
    w.connect(1).returns(1, &backup, Tier::Full);
    assert_eq!(w.foreign.len(), 1);
    w.restart();
    let (_, contents) = sealed(&backup, Tier::Full);
    w.exchange.returned_before(node_id(1), contents);
    let report = w.exchange.finish_restore(w.now).unwrap();
    assert_eq!(
        (report.newest, report.channels.len()),
        (Some(backup.revision), 1)
    );
}

#[test]
fn what_comes_to_light_after_a_restore_is_merged() {
    let mut w = Example::unknown();
    w.connect(1)
        .returns(1, &foreign((1, 4), &[(1, 0, 5, Ready)]), Tier::Full);
    w.exchange.finish_restore(w.now).unwrap();
    w.live(&[]);
    w.connect(2)
        .returns(2, &foreign((1, 3), &[(2, 1, 5, Ready)]), Tier::Full);
    assert!(!w.exchange.holding(), "the loss is known");
    assert_eq!(w.snapshot().channels.len(), 2);
}

#[test]
fn what_a_restore_brought_here_is_known_from_everything_else_that_only_backups_know() {
    let backup = || {
        foreign(
            (1, 4),
            &[(1, 0, 5, Ready), (2, 1, 1, Opening), (3, 2, 1, Closing)],
        )
    };
    let mut w = Example::unknown();
    w.connect(1).returns(1, &backup(), Tier::Full);
    // Read, and not yet taken.
    assert_eq!(
        w.exchange.restored_channels().len(),
        2,
        "a closed one is over"
    );
    w.exchange.finish_restore(w.now).unwrap();
    w.take().restart();
    assert_eq!(w.exchange.restored_channels().len(), 2);
    // The wallet was restored from elsewhere as well.
    w.live(&[(1, 0, 5, Ready)]);
    let ids: Vec<_> = w.exchange.restored_channels();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].counterparty, node_id(2));
    w.exchange.channel_resolved(w.now, ids[0].ids);
    assert_eq!(w.exchange.restored_channels(), []);

    // A wallet that was adopted lacks a channel, and the person says that this is how it is.
    let mut w = Example::unknown();
    w.live(&[(1, 0, 5, Ready)]);
    w.connect(1).returns(1, &backup(), Tier::Full);
    w.exchange.adopt(w.now).unwrap();
    w.take().restart();
    w.live(&[(1, 0, 5, Ready)]);
    assert_eq!(w.exchange.restored_channels(), []);
    assert!(w.exchange.status().restored_channels > 0);
}

#[test]
fn an_adopted_wallet_comes_after_all_that_was_before() {
    let mut w = Example::unknown();
    w.live(&[(1, 0, 5, Ready)]);
    w.connect(1)
        .returns(1, &foreign((7, 40), &[(1, 0, 5, Ready)]), Tier::Full);
    w.exchange.adopt(w.now).unwrap();
    let revision = w.take().snapshot().revision;
    assert_eq!((revision.epoch, revision.generation), (8, 41));
    w.restart();
    assert!(w.knows_its_past());
}

#[test]
fn outputs_that_were_not_swept_survive_a_restore() {
    let mut w = Example::unknown();
    let mut backup = foreign((1, 4), &[(1, 0, 5, Ready)]);
    let outpoint = names::output_of(3);
    backup.spendable_outputs = vec![unswept(3)];
    w.connect(1).returns(1, &backup, Tier::Full);
    let report = w.exchange.finish_restore(w.now).unwrap();
    assert_eq!(report.spendable_outputs, backup.spendable_outputs);
    w.live(&[]);
    assert_eq!(w.snapshot().spendable_outputs, backup.spendable_outputs);
    let swept = ChannelIds {
        funding_outpoint: Some(outpoint),
        ..ChannelIds::default()
    };
    w.exchange.channel_resolved(w.now, swept);
    w.take();
    assert_eq!(w.snapshot().spendable_outputs, []);
}

/// An output of ours that waits to be swept.
fn unswept(n: usize) -> SpendableOutputDescriptor {
    let outpoint = names::output_of(n);
    SpendableOutputDescriptor::StaticOutput {
        outpoint: lightning::chain::transaction::OutPoint {
            txid: outpoint.txid,
            index: outpoint.vout as u16,
        },
        output: TxOut {
            value: Amount::from_sat(5_000),
            script_pubkey: ScriptBuf::new(),
        },
        channel_keys_id: None,
    }
}
