//! What may pass between a peer and the node's own handler, and when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/example.rs"]
mod example;

use example::*;
use ldk_peer_storage::backup::{ChannelPhase::Ready, Tier};
use ldk_peer_storage::exchange::{
    AlarmKind, Event, Evidence, Inbound, Outbound, Proof, Resolution, ResolveError, Verdict,
};

fn wallet() -> Example {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (1, 1, 5, Ready)]);
    w.connect(1);
    w
}

#[test]
fn our_136_waits_for_the_peer_s() {
    let mut w = wallet();
    assert!(!w.our_136(1, 0, (4, 3)));
    assert_eq!(w.reestablish(1, 0, (4, 3)), Verdict::Forward);
    assert!(w.our_136(1, 0, (4, 3)));
}

#[test]
fn our_136_leaves_after_two_seconds_without_the_peer_s() {
    let mut w = wallet();
    assert!(!w.our_136(1, 0, (4, 3)));
    let wake = w.exchange.wake_at(w.now).unwrap();
    assert_eq!(wake.since(w.now).as_secs(), 2);
    w.pass(2);
    assert!(w.our_136(1, 0, (4, 3)));
    // Only that: anything else about the channel still waits.
    assert!(!w.may_leave(1, Outbound::Channel(channel_id(0))));
}

#[test]
fn each_of_two_channels_with_a_peer_has_its_own_gate() {
    let mut w = wallet();
    assert!(!w.our_136(1, 0, (4, 3)));
    assert!(!w.our_136(1, 1, (8, 7)));
    assert_eq!(w.reestablish(1, 0, (4, 3)), Verdict::Forward);
    assert!(w.our_136(1, 0, (4, 3)));
    assert!(!w.our_136(1, 1, (8, 7)));
    assert_eq!(w.inbound(1, Inbound::Error(None)), Verdict::Keep);
    let second = Inbound::Error(Some(channel_id(1)));
    assert_eq!(w.inbound(1, second), Verdict::Keep);
    let first = Inbound::Error(Some(channel_id(0)));
    assert_eq!(w.inbound(1, first), Verdict::Forward);
    assert_eq!(w.reestablish(1, 1, (9, 9)), Verdict::Drop);
    assert!(w.exchange.holding());
}

#[test]
fn an_error_is_kept_and_delivered_after_the_136() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    assert_eq!(w.inbound(1, Inbound::Error(None)), Verdict::Keep);
    w.reestablish(1, 0, (4, 3));
    assert_eq!(w.inbound(1, Inbound::Error(None)), Verdict::Forward);
}

#[test]
fn an_error_that_outruns_our_own_136_is_kept() {
    let mut w = wallet();
    assert_eq!(w.inbound(1, Inbound::Error(None)), Verdict::Keep);
    let one = Inbound::Error(Some(channel_id(0)));
    assert_eq!(w.inbound(1, one), Verdict::Keep);
}

#[test]
fn what_a_peer_sends_before_its_136_is_kept() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    let message = Inbound::Channel(channel_id(0));
    assert_eq!(w.inbound(1, message), Verdict::Keep);
    w.reestablish(1, 0, (4, 3));
    assert_eq!(w.inbound(1, message), Verdict::Forward);
}

#[test]
fn messages_of_unknown_channels_are_dropped_and_reported_once() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    assert_eq!(w.reestablish(1, 7, (1, 0)), Verdict::Drop);
    assert_eq!(w.reestablish(1, 7, (1, 0)), Verdict::Drop);
    assert_eq!(w.inbound(1, Inbound::Channel(channel_id(7))), Verdict::Drop);
    let told = w
        .events
        .iter()
        .filter(|e| matches!(e, Event::UnknownChannel { .. }));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_channel_that_is_being_opened_passes() {
    let mut w = wallet();
    let id = channel_id(9);
    assert_eq!(w.inbound(1, Inbound::Channel(id)), Verdict::Drop);
    assert_eq!(w.inbound(1, Inbound::Opening(id)), Verdict::Forward);
    assert_eq!(w.inbound(1, Inbound::Channel(id)), Verdict::Forward);
}

#[test]
fn numbers_that_prove_our_state_stale_hold_everything() {
    for theirs in [(4, 4), (6, 3)] {
        let mut w = wallet();
        w.our_136(1, 0, (4, 3));
        assert_eq!(w.reestablish(1, 0, theirs), Verdict::Drop);
        assert!(w.exchange.holding());
        w.pass(10);
        assert!(!w.our_136(1, 0, (4, 3)));
        assert_eq!(w.inbound(1, Inbound::Error(None)), Verdict::Drop);
    }
}

#[test]
fn one_commitment_ahead_is_no_proof() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    assert_eq!(w.reestablish(1, 0, (5, 3)), Verdict::Forward);
}

#[test]
fn an_alarm_of_one_peer_shuts_the_gates_of_all() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready), (2, 1, 5, Ready)]);
    w.connect(1).connect(2);
    w.our_136(2, 1, (4, 3));
    w.returns(1, &foreign((3, 9), &[(1, 0, 6, Ready)]), Tier::Full);
    assert!(w.exchange.holding());
    w.pass(5);
    assert!(!w.our_136(2, 1, (4, 3)));
    assert_eq!(w.reestablish(2, 1, (4, 3)), Verdict::Keep);
    assert!(w.pushed().is_empty());
}

#[test]
fn disputed_numbers_stay_out_without_an_alarm() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    w.reestablish(1, 0, (9, 9));
    let alarm = w.exchange.alarms()[0].id;
    let now = w.now;
    w.exchange
        .resolve_alarm(now, alarm, Resolution::ThisDeviceIsCurrent)
        .unwrap();
    assert!(!w.exchange.holding());
    assert_eq!(w.reestablish(1, 0, (9, 9)), Verdict::Drop);
    assert!(!w.exchange.holding());
    // Nor does the peer hear from us that we are behind, at this connection or the next.
    w.pass(5);
    assert!(!w.our_136(1, 0, (4, 3)));
    w.disconnect(1).connect(1);
    w.pass(5);
    assert!(!w.our_136(1, 0, (4, 3)));
    assert_eq!(w.reestablish(1, 0, (4, 3)), Verdict::Forward);
    assert!(w.our_136(1, 0, (4, 3)));
    // What the peer says now does not make true what it said before.
    assert_eq!(
        w.exchange.disputed_funding(),
        channel_ids(0, true).funding_outpoint.into_iter().collect()
    );
}

fn evidence(w: &Example) -> Evidence {
    match &w.exchange.alarms()[0].kind {
        AlarmKind::StaleState { evidence, .. } => evidence.clone(),
        other => panic!("{other:?}"),
    }
}

fn decide_that_it_is_current(w: &mut Example) -> Result<(), ResolveError> {
    let alarm = w.exchange.alarms()[0].id;
    let current = Resolution::ThisDeviceIsCurrent;
    let decided = w.exchange.resolve_alarm(w.now, alarm, current);
    w.take();
    decided
}

#[test]
fn a_proof_is_not_overridden_but_answered_by_the_right_database() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    assert_eq!(w.proves(1, 0, (6, 5), Proof::Valid), Verdict::Drop);
    let (channel_id, proved) = (channel_id(0), Some(5));
    assert_eq!(evidence(&w), Evidence::Numbers { channel_id, proved });
    let refused = Err(ResolveError::ProvedStale);
    assert_eq!(decide_that_it_is_current(&mut w), refused);
    w.restart();
    w.live(&[(1, 0, 5, Ready), (1, 1, 5, Ready)]);
    assert_eq!(decide_that_it_is_current(&mut w), refused);
    w.connect(1).our_136(1, 0, (5, 4));
    assert_eq!(decide_that_it_is_current(&mut w), refused);
    w.disconnect(1).connect(1).our_136(1, 0, (6, 5));
    assert_eq!(w.proves(1, 0, (6, 5), Proof::Unchecked), Verdict::Keep);
    assert_eq!(decide_that_it_is_current(&mut w), Ok(()));
    assert!(w.exchange.disputed_funding().is_empty());
    assert_eq!(w.reestablish(1, 0, (6, 5)), Verdict::Forward);
}

#[test]
fn a_proof_holds_until_its_channel_is_resolved() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    w.proves(1, 0, (6, 5), Proof::Valid);
    w.exchange.channel_resolved(w.now, channel_ids(0, true));
    w.live(&[(1, 1, 5, Ready)]);
    assert_eq!(decide_that_it_is_current(&mut w), Ok(()));
}

#[test]
fn a_proof_is_heard_where_a_word_was_disputed() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    w.reestablish(1, 0, (9, 9));
    assert_eq!(decide_that_it_is_current(&mut w), Ok(()));
    assert_eq!(w.proves(1, 0, (6, 5), Proof::Valid), Verdict::Drop);
    assert!(w.exchange.holding());
    let refused = Err(ResolveError::ProvedStale);
    assert_eq!(decide_that_it_is_current(&mut w), refused);
}

#[test]
fn commitments_that_nothing_can_prove_are_an_alarm_that_the_person_may_lift() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    assert_eq!(w.proves(1, 0, (6, 3), Proof::Valid), Verdict::Drop);
    assert!(w.exchange.holding());
    assert_eq!(decide_that_it_is_current(&mut w), Ok(()));
    assert_eq!(w.exchange.disputed_funding().len(), 1);
}

#[test]
fn a_lie_holds_nothing_but_its_channel() {
    for lie in [(4, 4), (6, 3), (9, 9)] {
        let mut w = wallet();
        w.our_136(1, 0, (4, 3));
        w.our_136(1, 1, (8, 7));
        assert_eq!(w.proves(1, 0, lie, Proof::Invalid), Verdict::Drop);
        assert_eq!(w.proves(1, 0, lie, Proof::Invalid), Verdict::Drop);
        assert!(w.exchange.alarms().is_empty());
        assert!(w.exchange.disputed_funding().is_empty());
        let (peer, channel_id) = (node_id(1), channel_id(0));
        let told = Event::FalseNumbers { peer, channel_id };
        assert_eq!(w.events.iter().filter(|e| **e == told).count(), 1);
        // The channel keeps silent, and the others work.
        w.pass(60);
        assert!(!w.our_136(1, 0, (4, 3)));
        let about_it = Inbound::Error(Some(channel_id));
        assert_eq!(w.inbound(1, about_it), Verdict::Keep);
        assert!(w.our_136(1, 1, (8, 7)));
        assert_eq!(w.reestablish(1, 1, (8, 7)), Verdict::Forward);
        assert!(w.may_leave(1, Outbound::Channel(self::channel_id(1))));
        // The truth is still welcome.
        assert_eq!(w.reestablish(1, 0, (4, 3)), Verdict::Forward);
        assert!(w.our_136(1, 0, (4, 3)));
    }
}

#[test]
fn our_136_waits_while_a_proof_is_checked() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    let (peer, channel) = (node_id(1), channel_id(0));
    let theirs = numbers((6, 5));
    assert!(w.exchange.wants_proof(&peer, &channel, &theirs));
    w.pass(60);
    assert!(!w.our_136(1, 0, (4, 3)));
}

#[test]
fn a_second_136_after_honest_progress_is_left_to_the_node() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    assert_eq!(w.reestablish(1, 0, (4, 3)), Verdict::Forward);
    for proof in [Proof::Unchecked, Proof::Valid, Proof::Invalid] {
        assert!(!w
            .exchange
            .wants_proof(&node_id(1), &channel_id(0), &numbers((9, 8))));
        assert_eq!(w.proves(1, 0, (9, 8), proof), Verdict::Forward);
    }
    assert!(w.exchange.alarms().is_empty() && w.events.is_empty());
}

#[test]
fn nothing_is_pushed_before_the_9_or_the_136_of_a_peer_with_a_channel() {
    let mut w = wallet();
    w.pushed();
    w.pass(3600);
    assert_eq!(w.pushed(), []);
    w.returns_nothing(1);
    assert_eq!(w.pushed().len(), 1);
}

#[test]
fn a_listed_peer_without_a_channel_has_thirty_seconds() {
    let mut w = wallet();
    w.exchange.list_peers(w.now, [node_id(2)].into());
    w.connect(2);
    w.pushed();
    w.pass(29);
    assert_eq!(w.pushed(), []);
    w.pass(1);
    assert_eq!(w.pushed().len(), 1);
}

#[test]
fn a_channel_that_comes_to_light_ends_the_grace_even_when_it_has_passed() {
    let mut w = Example::unknown();
    w.connect(1).connect(2).pass(31);
    w.returns(1, &foreign((1, 4), &[(2, 3, 1, Ready)]), Tier::Full);
    w.exchange.finish_restore(w.now).unwrap();
    w.take();
    assert!(w.pushed().iter().all(|(peer, ..)| *peer == 1));
    w.returns_nothing(2);
    assert!(w.pushed().iter().any(|(peer, ..)| *peer == 2));
}

#[test]
fn a_wallet_that_is_reported_late_ends_the_grace() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.saved.snapshot = None;
    w.restart();
    w.exchange.list_peers(w.now, [node_id(1)].into());
    w.connect(1);
    w.live(&[(1, 0, 5, Ready)]).pass(40);
    assert_eq!(w.pushed(), []);
}

#[test]
fn a_push_for_a_connection_that_is_over_is_withdrawn() {
    let mut w = Example::wallet(&[(1, 0, 5, Ready)]);
    w.connect(1).pushed();
    let now = w.now;
    w.exchange.inbound(
        now,
        node_id(1),
        Inbound::Reestablish(channel_id(0), numbers((1, 0))),
    );
    w.exchange.disconnected(now, node_id(1));
    w.take();
    assert_eq!(w.pushed(), []);
}

#[test]
fn a_136_that_proves_our_state_stale_opens_no_push_gate() {
    let mut w = wallet();
    w.our_136(1, 0, (4, 3));
    w.pushed();
    w.reestablish(1, 0, (9, 9));
    assert_eq!(w.pushed(), []);
}
