//! A whole recovery over an Esplora server, and over one that fails or lies in the midst of it.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::{
    absolute, transaction, Amount, FeeRate, Network, OutPoint, Sequence, Transaction, TxIn, TxOut,
    Txid,
};
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::{
    ChannelState, Progress, RecoveryError, RecoveryEvent, Stage as ChannelStage,
};
use serde_json::json;
use testkit::esplora::SUBMITTER;
use testkit::{wait_until, ChannelType, EsploraServer, Fault, KeyDerivation, Node, DEADLINE};

use crate::implementations::{lost_with, OWNED};
use crate::stage::{
    closes, consent, destination, record, Lost, Rescuer, Stage, BUDGET, FEE_RATE, HIGHEST_FEE_RATE,
};

struct Scene {
    stage: Stage,
    server: EsploraServer,
    lost: Lost,
}

impl Scene {
    fn new(channel_type: ChannelType, names: [&str; 2]) -> (Scene, [Node; 2]) {
        let stage = Stage::new(channel_type, KeyDerivation::V2);
        let nodes = names.map(|name| stage.stock(name));
        let lost = lost_with(&stage, &nodes.iter().collect::<Vec<_>>());
        let server = EsploraServer::start(&stage.chain);
        let scene = Scene {
            stage,
            server,
            lost,
        };
        (scene, nodes)
    }

    fn rescuer(&self) -> Rescuer {
        let mut config = EsploraConfig::new(self.server.url(), Network::Regtest);
        config.timeout = Duration::from_secs(2);
        let source = EsploraSource::new(config).unwrap();
        let chain = self.stage.chain.clone();
        let (seed, dir) = (self.lost.seed, self.lost.dir.clone());
        Rescuer::start_with(chain, seed, dir, Arc::new(source))
    }

    /// What the recovery has handed to the network, each once.
    fn sweeps(&self) -> Vec<Transaction> {
        let mut sweeps: Vec<Transaction> = Vec::new();
        for tx in self.stage.chain.submitted_by(SUBMITTER) {
            let txid = tx.compute_txid();
            if sweeps.iter().all(|known| known.compute_txid() != txid) {
                sweeps.push(tx);
            }
        }
        sweeps
    }

    /// In sat per 1000 weight units, rounded up.
    fn fee_rate(&self, sweep: &Transaction) -> u64 {
        let spent = sweep.input.iter().map(|input| {
            let OutPoint { txid, vout } = input.previous_output;
            let parent = self.stage.chain.transaction(txid).unwrap().tx;
            parent.output[vout as usize].value.to_sat()
        });
        let paid = sweep.output.iter().map(|output| output.value.to_sat());
        let fee = spent.sum::<u64>() - paid.sum::<u64>();
        (fee * 1_000).div_ceil(sweep.weight().to_wu())
    }

    /// Whatever the server said: no coin went elsewhere, none was wasted, and no funding output was
    /// spent by the recovery itself.
    #[track_caller]
    fn assert_harmless(&self) {
        for sweep in self.sweeps() {
            let to = destination().script_pubkey();
            assert!(sweep.output.iter().all(|o| o.script_pubkey == to));
            let mut inputs = sweep.input.iter();
            assert!(!inputs.any(|i| self.lost.funding.contains(&i.previous_output)));
            // Signatures that are shorter than reckoned make the rate a little higher.
            let highest = HIGHEST_FEE_RATE.to_sat_per_kwu();
            assert!(self.fee_rate(&sweep) <= highest + highest / 50);
        }
    }
}

#[test]
fn a_recovery_over_an_esplora_server_brings_all_back() {
    for channel_type in [ChannelType::StaticRemoteKey, ChannelType::Anchors] {
        let (scene, [anna, bert]) = Scene::new(channel_type, ["anna", "bert"]);
        let mut rescuer = scene.rescuer();
        rescuer.agree(&[&anna, &bert]);
        let progress = rescuer.finish();
        assert_eq!(progress.found_sat, 2 * OWNED);
        assert_eq!(progress.recovered_sat + progress.fees_sat, 2 * OWNED);
        assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
        scene.assert_harmless();
        assert!(scene
            .stage
            .chain
            .submitted_by(crate::support::SUBMITTER)
            .is_empty());
    }
}

fn faults() -> Vec<(&'static str, Fault)> {
    let hidden = || Fault::Answer(404, b"not here".to_vec());
    vec![
        ("", Fault::Close),
        ("", Fault::Stall),
        ("", Fault::Answer(500, b"not now".to_vec())),
        ("", Fault::Answer(200, b"<html>".to_vec())),
        ("", hidden()),
        ("/outspend", hidden()),
        ("/raw", hidden()),
        ("/outspend", Fault::Answer(503, b"not now".to_vec())),
        ("/fee-estimates", Fault::Close),
        ("", Fault::HiddenSpend),
        ("", Fault::WrongSpend),
        ("", Fault::UnknownSpend),
        ("", Fault::WrongTransaction),
        ("", Fault::WrongIndex),
        ("", Fault::ShiftedHeights),
        ("", Fault::ForgedConfirmation),
        ("", Fault::WrongHeader),
        ("", Fault::NoWork),
        ("", Fault::WrongBroadcast),
        ("", Fault::TipBehind(20)),
    ]
}

/// One of two channels is agreed to. At each point of its recovery the server fails and lies in every way,
/// for one round each.
#[test]
fn a_server_that_fails_or_lies_at_any_point_costs_nothing_and_closes_nothing() {
    let (scene, [anna, bert]) = Scene::new(ChannelType::Anchors, ["anna", "bert"]);
    let mut rescuer = scene.rescuer();
    let peers = [record(&anna), record(&bert)];
    let outcome = rescuer.session.restore(&peers, BUDGET).unwrap();
    let (mut failed, mut unseen) = (0, 0);
    for (at, fault) in faults() {
        scene.server.break_at(at, fault.clone());
        match rescuer.recovery.plan(&outcome, &peers) {
            Err(RecoveryError::Chain(_)) => failed += 1,
            Err(error) => panic!("{fault:?}: {error}"),
            Ok(plan) => {
                assert_eq!(plan.channels.len(), 2, "{fault:?}");
                let states = plan.channels.iter().map(|c| c.state);
                let mut told = states.filter(|state| *state != ChannelState::Open);
                unseen += usize::from(told.next().is_some());
            }
        }
        scene.server.repair();
    }
    assert!(failed >= 5 && failed + unseen >= 10, "{failed}, {unseen}");
    let plan = rescuer.recovery.plan(&outcome, &peers).unwrap();
    let mut one = consent(&plan);
    let of_anna = plan.channels.iter().filter(|c| c.peer == anna.id());
    one.channels = of_anna.map(|c| c.ids).collect();
    rescuer.recovery.agree(&plan, &one).unwrap();

    // Open, closed, swept in the mempool, swept in the chain.
    for point in 0..4 {
        match point {
            0 => {}
            1 => {
                // The peer was asked while its channel was open.
                wait_until("the close", DEADLINE, || {
                    closes(&scene.stage.chain, &scene.lost.funding) == 1
                });
                scene.stage.chain.mine(1);
            }
            2 => {
                step(&mut rescuer).unwrap();
                assert_eq!(scene.sweeps().len(), 1);
            }
            _ => scene.stage.chain.mine(1),
        }
        for (at, fault) in faults() {
            // The lies that let a sweep through come to their turn at the next point.
            if point == 1 && !hides_the_close(at, &fault) {
                continue;
            }
            scene.server.break_at(at, fault.clone());
            if let Ok(progress) = step(&mut rescuer) {
                assert!(!progress.done, "{point}: {fault:?}");
                assert_eq!(progress.channels.len(), 1);
                assert_ne!(progress.channels[0].stage, ChannelStage::Over);
            }
            scene.server.repair();
            assert!(scene.sweeps().len() <= point / 2, "{point}: {fault:?}");
            scene.assert_harmless();
            assert!(bert.closed_channels().is_empty(), "{point}: {fault:?}");
        }
        if point == 0 {
            step(&mut rescuer).unwrap();
        }
    }
    let progress = rescuer.finish();
    assert_eq!(progress.found_sat, OWNED);
    assert_eq!(progress.recovered_sat + progress.fees_sat, OWNED);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    assert_eq!(progress.channels[0].asked, 1);
    assert_eq!(scene.sweeps().len(), 1);
    assert!(bert.closed_channels().is_empty());
    assert_eq!(closes(&scene.stage.chain, &scene.lost.funding), 1);
}

fn hides_the_close(at: &str, fault: &Fault) -> bool {
    let passes = [
        Fault::WrongIndex,
        Fault::WrongBroadcast,
        Fault::NoWork,
        Fault::ForgedConfirmation,
    ];
    at != "/fee-estimates" && !passes.contains(fault)
}

fn step(rescuer: &mut Rescuer) -> Result<Progress, RecoveryError> {
    rescuer.recovery.step(&rescuer.session)
}

#[test]
fn a_server_that_keeps_sweeps_back_or_makes_up_spends_delays_and_no_more() {
    let (scene, [anna, bert]) = Scene::new(ChannelType::StaticRemoteKey, ["anna", "bert"]);
    let chain = &scene.stage.chain;
    let mut rescuer = scene.rescuer();
    rescuer.agree(&[&anna, &bert]);
    rescuer.step();
    wait_until("the closes", DEADLINE, || {
        closes(chain, &scene.lost.funding) == 2
    });
    chain.mine(1);

    // A spend that nobody has signed, said to be in the mempool.
    for funding in &scene.lost.funding {
        make_up_a_spend(&scene, chain.spender(*funding).unwrap().tx);
    }
    for _ in 0..10 {
        let progress = rescuer.step();
        assert!(!progress.done);
        assert_eq!((progress.found_sat, progress.recovered_sat), (2 * OWNED, 0));
        assert!(scene.sweeps().is_empty());
        chain.mine(1);
    }
    scene.server.repair();

    scene.server.break_with(Fault::RefusedBroadcast);
    for _ in 0..3 {
        assert!(!rescuer.step().done);
        chain.mine(1);
    }
    scene.server.repair();
    scene.server.break_with(Fault::LostBroadcast);
    for _ in 0..20 {
        assert!(!rescuer.step().done);
        chain.mine(1);
    }
    scene.server.repair();
    assert!(scene.sweeps().is_empty());

    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 2 * OWNED);
    assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
    scene.assert_harmless();
    let events = rescuer.events.lock().unwrap();
    let refused = |e: &&RecoveryEvent| matches!(e, RecoveryEvent::SweepRefused { reason, .. } if reason.contains("min relay fee"));
    assert!(events.iter().any(|e| refused(&e)));
}

fn make_up_a_spend(scene: &Scene, close: Transaction) {
    let closed_by = close.compute_txid();
    let inputs = (0..close.output.len() as u32).map(|vout| TxIn {
        previous_output: OutPoint::new(closed_by, vout),
        sequence: Sequence::MAX,
        ..TxIn::default()
    });
    let spend = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: inputs.collect(),
        output: vec![TxOut {
            value: Amount::from_sat(1_000),
            script_pubkey: testkit::chain::anyone_can_spend(b"nobody"),
        }],
    };
    let txid: Txid = spend.compute_txid();
    let unconfirmed = json!({ "confirmed": false });
    let spent = json!({ "spent": true, "txid": txid, "vin": 0, "status": unconfirmed });
    let say = |at: String, body: Vec<u8>| scene.server.break_at(&at, Fault::Answer(200, body));
    say(
        format!("/tx/{closed_by}/outspend"),
        spent.to_string().into(),
    );
    say(format!("/tx/{txid}/raw"), serialize(&spend));
    say(format!("/tx/{txid}/status"), unconfirmed.to_string().into());
}

#[test]
fn absurd_fee_estimates_never_cost_more_than_the_person_allows() {
    let (scene, [anna, bert]) = Scene::new(ChannelType::Anchors, ["anna", "bert"]);
    let mut rescuer = scene.rescuer();
    rescuer.agree(&[&anna, &bert]);
    rescuer.step();
    wait_until("the closes", DEADLINE, || {
        closes(&scene.stage.chain, &scene.lost.funding) == 2
    });
    scene.stage.chain.mine(1);
    // In satoshi for a virtual byte; the last is one that a server may mean.
    let estimates = [None, Some(0.0), Some(-1.0), Some(1e9), Some(999_999.0)];
    let mut estimates = estimates.into_iter();
    let mut rates: Vec<u64> = Vec::new();
    for _ in 0..4 {
        let estimate = estimates.next().flatten();
        scene.server.set_fees(estimate.map(|rate| (1, rate)));
        rescuer.step();
        rates = scene.sweeps().iter().map(|s| scene.fee_rate(s)).collect();
        scene.stage.chain.mine_empty(6);
    }
    // By half each time, whatever the server says.
    let wanted = [1_000, 1_500, 2_250, 3_375];
    assert_eq!(rates.len(), wanted.len(), "{rates:?}");
    for (rate, wanted) in rates.iter().zip(wanted) {
        assert!(rate.abs_diff(wanted) <= wanted / 50, "{rates:?}");
    }
    scene
        .server
        .set_fees(estimates.next().flatten().map(|rate| (1, rate)));
    for _ in 0..3 {
        rescuer.step();
        scene.stage.chain.mine_empty(6);
    }
    let highest = scene.fee_rate(scene.sweeps().last().unwrap());
    let allowed = HIGHEST_FEE_RATE.to_sat_per_kwu();
    assert!(highest.abs_diff(allowed) <= allowed / 50, "{highest}");
    assert_eq!(scene.sweeps().len(), wanted.len() + 1);
    scene.assert_harmless();
    let progress = rescuer.finish();
    assert_eq!(progress.recovered_sat + progress.fees_sat, 2 * OWNED);
    assert!(FeeRate::from_sat_per_kwu(wanted[0]) == FEE_RATE);
}
