//! What restored monitors bring: pending payments, and the penalty. And what they must never do.

use bitcoin::OutPoint;
use ldk_peer_storage::recovery::Claim;
use testkit::{copy_dir, pay, pay_hold, wait_until, ChannelType, KeyDerivation, Node, DEADLINE};

use crate::stage::{closes, consent, Lost, Stage, FEE_RATE};
use crate::support::{Wallet, WalletConfig};

/// Longer than any HTLC here lives, in blocks.
const HTLC_LIFE: u32 = 220;

#[test]
fn pending_payments_come_back_with_the_monitors_of_a_full_backup() {
    for channel_type in [ChannelType::StaticRemoteKey, ChannelType::Anchors] {
        let stage = Stage::new(channel_type, KeyDerivation::V2);
        let peer = stage.wallet("peer");
        let phone = stage.wallet("phone");
        stage.fund(&phone, &peer.node);
        pay_hold(&phone.node, &peer.node, 50_000_000);
        stage.back_up(&phone, &[&peer.node]);
        let lost = stage.lose(phone);

        let mut rescuer = stage.rescuer(&lost);
        let plan = rescuer.agree(&[&peer.node]);
        let Claim::BalanceAndPayments { estimate_sat, .. } = plan.channels[0].claim else {
            panic!("{:?}", plan.channels[0]);
        };
        assert!(estimate_sat >= 440_000, "{estimate_sat}");
        let progress = rescuer.finish_within(HTLC_LIFE);
        // Without the monitor it is 450_000.
        assert!(progress.found_sat > 490_000, "{progress:?}");
        assert_eq!(
            progress.recovered_sat + progress.fees_sat,
            progress.found_sat
        );
        assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
        assert_nothing_published(&stage, &lost.funding);
    }
}

/// Safety rule 9: LDK wants to publish the commitment of the restored monitor when its HTLC runs out.
/// The peer holds its revocation.
#[test]
fn a_stale_monitor_with_an_expired_payment_publishes_nothing_and_the_sweep_still_comes() {
    for channel_type in [ChannelType::StaticRemoteKey, ChannelType::Anchors] {
        let stage = Stage::new(channel_type, KeyDerivation::V2);
        let peer = stage.wallet("peer");
        let phone = stage.wallet("phone");
        stage.fund(&phone, &peer.node);
        let held = pay_hold(&phone.node, &peer.node, 50_000_000);
        stage.back_up(&phone, &[&peer.node]);
        let funding = phone.node.funding_outpoints();
        let original = phone.stop();

        let lost = Lost {
            seed: original.node.seed,
            dir: stage.home.path().join("new-phone"),
            funding,
        };
        let mut rescuer = stage.rescuer(&lost);
        rescuer.agree(&[&peer.node]);
        rescuer.stop();

        // The channel goes on: the state of the backup is revoked.
        let phone = Wallet::start(original);
        phone.reconnect(&peer.node);
        held.claim_and_wait(&phone.node, &peer.node);
        pay(&phone.node, &peer.node, 10_000_000);
        pay(&phone.node, &peer.node, 10_000_000);
        phone.kill();
        let port = peer.node.addr().port();
        let mut peer = peer.stop();
        peer.node.listen = Some(port);

        let mut rescuer = stage.rescuer(&lost);
        for _ in 0..(HTLC_LIFE + 100) / 10 {
            let progress = rescuer.step();
            assert!(!progress.done);
            stage.chain.mine(10);
        }
        assert_eq!(closes(&stage.chain, &lost.funding), 0);
        assert_nothing_published(&stage, &lost.funding);

        let peer = Wallet::start(peer);
        wait_until("the peer to follow the chain", DEADLINE, || {
            peer.node.channel_manager().current_best_block().height == stage.chain.height()
        });
        let progress = rescuer.finish_within(HTLC_LIFE);
        assert_eq!(progress.found_sat, 430_000);
        assert_eq!(progress.recovered_sat + progress.fees_sat, 430_000);
        assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
        assert_nothing_published(&stage, &lost.funding);
    }
}

#[test]
fn a_peer_that_publishes_a_revoked_state_pays_the_penalty() {
    for channel_type in [ChannelType::StaticRemoteKey, ChannelType::Anchors] {
        let stage = Stage::new(channel_type, KeyDerivation::V2);
        let peer = stage.wallet("peer");
        let phone = stage.wallet("phone");
        stage.fund(&phone, &peer.node);
        pay(&phone.node, &peer.node, 10_000_000);
        let port = peer.node.addr().port();
        let mut config = peer.stop();
        config.node.listen = Some(port);
        let old = stage.home.path().join("an old state of the peer");
        copy_dir(&config.node.dir, &old);

        let peer = Wallet::start(WalletConfig { ..config });
        phone.reconnect(&peer.node);
        pay(&phone.node, &peer.node, 10_000_000);
        pay(&phone.node, &peer.node, 10_000_000);
        stage.back_up(&phone, &[&peer.node]);
        let lost = stage.lose(phone);
        let mut rescuer = stage.rescuer(&lost);
        rescuer.agree(&[&peer.node]);
        peer.kill();

        let mut config = stage.config("peer");
        config.dir = old;
        let cheat = Node::start(config);
        let channel = cheat.channels()[0].channel_id;
        cheat.force_close(&channel);
        wait_until("the revoked commitment", DEADLINE, || {
            closes(&stage.chain, &lost.funding) == 1
        });
        cheat.kill();

        let progress = rescuer.finish();
        assert!(progress.found_sat > 970_000, "{progress:?}");
        assert_eq!(
            progress.recovered_sat + progress.fees_sat,
            progress.found_sat
        );
        assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
        assert_nothing_published(&stage, &lost.funding);
    }
}

/// Nothing that the recovery published spends a funding output.
#[track_caller]
fn assert_nothing_published(stage: &Stage, funding: &[OutPoint]) {
    let published = stage.chain.submitted_by(crate::support::SUBMITTER);
    let inputs = published.iter().flat_map(|tx| &tx.input);
    let mut inputs = inputs.map(|input| input.previous_output);
    assert!(!inputs.any(|spent| funding.contains(&spent)));
}

#[test]
fn a_claim_does_not_go_out_again_when_the_person_allows_less_than_it_pays() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.wallet("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer.node);
    pay_hold(&phone.node, &peer.node, 50_000_000);
    stage.back_up(&phone, &[&peer.node]);
    let lost = stage.lose(phone);
    let mut rescuer = stage.rescuer(&lost);
    let plan = rescuer.agree(&[&peer.node]);
    while rescuer.arrived().to_sat() == 0 {
        rescuer.step();
        stage.chain.mine(1);
        rescuer.clock.advance(std::time::Duration::from_secs(600));
    }
    let mut steps = 0;
    while stage.rates_of_claims(0).last() < Some(&2_000) {
        rescuer.step();
        stage.chain.mine_empty(1);
        steps += 1;
        assert!(steps < 2 * HTLC_LIFE, "it is not raised");
    }
    let mut terms = consent(&plan);
    terms.highest_fee_rate = FEE_RATE;
    rescuer.recovery.agree(&plan, &terms).unwrap();
    let before = stage.chain.submitted_by(crate::support::SUBMITTER).len();
    for _ in 0..30 {
        rescuer.step();
        stage.chain.mine_empty(1);
    }
    let after = stage.rates_of_claims(before);
    let highest = FEE_RATE.to_sat_per_kwu() * 102 / 100;
    assert!(after.iter().all(|rate| *rate <= highest), "{after:?}");
}

#[test]
fn blocks_that_are_replaced_all_the_time_cost_nothing() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.wallet("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer.node);
    pay_hold(&phone.node, &peer.node, 50_000_000);
    stage.back_up(&phone, &[&peer.node]);
    let lost = stage.lose(phone);
    // The lost device had seen a block that is no longer in the chain.
    stage.chain.reorg(1);
    stage.chain.mine(1);

    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer.node]);
    for round in 0..2 * HTLC_LIFE {
        let progress = rescuer.step();
        if progress.done {
            assert!(progress.found_sat > 490_000, "{progress:?}");
            assert_eq!(
                progress.recovered_sat + progress.fees_sat,
                progress.found_sat
            );
            assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
            assert_nothing_published(&stage, &lost.funding);
            return;
        }
        if round % 5 == 4 {
            stage.chain.reorg(2);
        }
        stage.chain.mine(1);
        rescuer.clock.advance(std::time::Duration::from_secs(600));
    }
    panic!("not done: {:?}", rescuer.recovery);
}
