//! A server that is broken or lies: a clear error in time, and nothing wrong is believed.

use std::time::{Duration, Instant};

use bitcoin::{Network, OutPoint, Transaction};
use ldk_peer_storage::recovery::chain::esplora::{BadAddress, EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::chain::{ChainError, ChainSource};
use serde_json::json;
use testkit::esplora::ELSEWHERE;
use testkit::{wait_until, EsploraServer, Fault, DEADLINE};

use crate::suite::{script, spend};
use crate::Stage;

/// A stage with a confirmed funding transaction, a confirmed spend of its output 0, and a spend of its
/// output 1 in the mempool.
struct Scene {
    stage: Stage,
    source: EsploraSource,
    funding: Transaction,
    pending: Transaction,
}

fn scene() -> Scene {
    let stage = Stage::new();
    let source = stage.esplora();
    let funding = stage
        .chain
        .pay_many(&script(), &[bitcoin::Amount::from_sat(50_000); 3]);
    stage.chain.mine(1);
    let spent = spend(&funding, 0, 500, b"channel");
    stage.chain.submit(&spent).unwrap();
    stage.chain.mine(1);
    let pending = spend(&funding, 1, 500, b"channel");
    stage.chain.submit(&pending).unwrap();
    Scene {
        stage,
        source,
        funding,
        pending,
    }
}

impl Scene {
    fn server(&self) -> &EsploraServer {
        &self.stage.server
    }

    fn output(&self, vout: u32) -> OutPoint {
        OutPoint::new(self.funding.compute_txid(), vout)
    }

    /// Every call of the trait, with the error that it came to.
    fn every_call(&self) -> Vec<(&'static str, Option<ChainError>)> {
        let source = &self.source;
        let txid = self.funding.compute_txid();
        let sweep = spend(&self.funding, 2, 500, b"wallet");
        let height = self.stage.chain.height();
        vec![
            ("tip", source.tip().err()),
            ("header_at", source.header_at(height).err()),
            ("transaction", source.transaction(&txid).err()),
            ("txid_at", source.txid_at(height, 1).err()),
            ("spend_of", source.spend_of(&self.output(0)).err()),
            ("outputs_to", source.outputs_to(&script()).err()),
            ("broadcast", source.broadcast(&sweep).err()),
            ("fee_rate", source.fee_rate(6).err()),
        ]
    }

    /// All calls fail like this, each in time; and all work again once the server is repaired.
    #[track_caller]
    fn all_fail(self, fault: Fault, like_this: impl Fn(&ChainError) -> bool) {
        self.all_fail_now(&fault, &like_this);
        // Now the network becomes known, and the calls come to their own requests.
        let known = || self.source.tip().is_ok();
        wait_until("a server without fault answers", DEADLINE, known);
        self.all_fail_now(&fault, &like_this);
        let healthy = || self.every_call().iter().all(|(_, error)| error.is_none());
        wait_until("a repaired server answers", DEADLINE, healthy);
    }

    #[track_caller]
    fn all_fail_now(&self, fault: &Fault, like_this: impl Fn(&ChainError) -> bool) {
        self.server().break_with(fault.clone());
        let start = Instant::now();
        let calls = self.every_call();
        let most = DEADLINE * calls.len() as u32;
        assert!(start.elapsed() < most, "{fault:?}: {:?}", start.elapsed());
        for (call, error) in calls {
            let error = error.unwrap_or_else(|| panic!("{fault:?}: {call} succeeded"));
            assert!(like_this(&error), "{fault:?}: {call}: {error:?}");
        }
        self.server().repair();
    }

    /// With a source that waits half a second for an answer.
    fn impatient(mut self) -> Scene {
        let mut config = self.stage.config();
        config.timeout = Duration::from_millis(500);
        self.source = EsploraSource::new(config).expect("a good address");
        self
    }
}

fn unreachable(error: &ChainError) -> bool {
    matches!(error, ChainError::Unreachable(_))
}

fn invalid(error: &ChainError) -> bool {
    matches!(error, ChainError::Invalid(_))
}

#[track_caller]
fn is_invalid<T: std::fmt::Debug>(answer: Result<T, ChainError>, what: &str) {
    match answer {
        Err(ChainError::Invalid(text)) => assert!(text.contains(what), "{text}"),
        other => panic!("not invalid: {other:?}"),
    }
}

#[test]
fn a_server_that_never_answers_costs_its_time_and_no_more() {
    scene().impatient().all_fail(Fault::Stall, unreachable);
}

#[test]
fn a_server_that_hangs_up_is_out_of_reach() {
    scene().all_fail(Fault::Close, unreachable);
}

#[test]
fn a_body_that_never_ends_costs_its_time_and_no_more() {
    scene().impatient().all_fail(Fault::Drip, unreachable);
}

#[test]
fn a_flood_is_cut_off() {
    let scene = scene();
    let start = Instant::now();
    scene.server().break_with(Fault::Endless);
    is_invalid(scene.source.tip(), "more than 65536 bytes");
    scene.server().repair();
    scene.server().break_at("/raw", Fault::Endless);
    let txid = scene.funding.compute_txid();
    is_invalid(scene.source.transaction(&txid), "more than 4000000 bytes");
    scene.server().break_at("/scripthash", Fault::Endless);
    is_invalid(
        scene.source.outputs_to(&script()),
        "more than 16777216 bytes",
    );
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn a_server_in_trouble_is_out_of_reach() {
    for status in [429, 500, 503, 403] {
        scene().all_fail(Fault::Answer(status, b"not now".to_vec()), unreachable);
    }
}

#[test]
fn a_redirection_is_not_followed() {
    let scene = scene();
    let moved = Fault::Answer(302, b"over there".to_vec());
    scene.all_fail_now(&moved, unreachable);
    let mut requests = scene.server().requests().into_iter();
    assert!(!requests.any(|request| request.ends_with(ELSEWHERE)));
}

#[test]
fn junk_is_not_believed() {
    let junk: [&[u8]; 5] = [b"", b"\xff\x00\xfe", b"<html>", b"{}", b"[[]]"];
    for body in junk {
        let scene = scene();
        scene.source.tip().expect("a server without fault");
        scene.server().break_with(Fault::Answer(200, body.to_vec()));
        for (call, error) in scene.every_call() {
            let empty_map = body == b"{}" && call == "fee_rate";
            assert!(
                error.as_ref().is_some_and(invalid) || empty_map,
                "{body:?}: {call}: {error:?}"
            );
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_out_of_reach() {
    let stage = Stage::new();
    let source = stage.esplora();
    drop(stage.server);
    assert!(unreachable(&source.tip().unwrap_err()));

    let mut nowhere = EsploraConfig::new("http://nobody.invalid", Network::Regtest);
    nowhere.timeout = Duration::from_secs(1);
    let source = EsploraSource::new(nowhere).unwrap();
    assert!(unreachable(&source.tip().unwrap_err()));
}

#[test]
fn a_server_that_cannot_speak_tls_is_out_of_reach_over_https() {
    let stage = Stage::new();
    let mut config = stage.config();
    config.url = config.url.replace("http:", "https:");
    let source = EsploraSource::new(config).unwrap();
    let error = source.tip().unwrap_err();
    assert!(unreachable(&error), "{error:?}");
    assert_eq!(stage.server.requests(), Vec::<String>::new());
}

#[test]
fn a_server_of_another_network_is_refused_at_every_call() {
    let scene = scene();
    scene.all_fail_now(&Fault::OtherChain, |e| *e == ChainError::WrongChain);
    assert!(scene.source.tip().is_ok(), "once it is of the right one");
}

#[test]
fn the_network_that_was_expected_counts() {
    let stage = Stage::new();
    let mut config = stage.config();
    config.network = Network::Bitcoin;
    let source = EsploraSource::new(config).unwrap();
    assert_eq!(source.tip(), Err(ChainError::WrongChain));
}

#[test]
fn another_transaction_than_asked_for_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::WrongTransaction);
    let txid = scene.funding.compute_txid();
    is_invalid(scene.source.transaction(&txid), "another transaction");
    is_invalid(
        scene.source.spend_of(&scene.output(0)),
        "another transaction",
    );
    is_invalid(scene.source.outputs_to(&script()), "another id");
}

#[test]
fn a_spend_that_does_not_spend_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::WrongSpend);
    for vout in 0..3 {
        is_invalid(
            scene.source.spend_of(&scene.output(vout)),
            "without the input",
        );
    }
    scene.server().repair();
    scene.server().break_with(Fault::UnknownSpend);
    is_invalid(
        scene.source.spend_of(&scene.output(2)),
        "unknown transaction",
    );
}

#[test]
fn a_forged_confirmation_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::ForgedConfirmation);
    let txid = scene.pending.compute_txid();
    is_invalid(scene.source.transaction(&txid), "proves nothing");
    is_invalid(scene.source.spend_of(&scene.output(1)), "proves nothing");
    is_invalid(scene.source.outputs_to(&script()), "proves nothing");
}

#[test]
fn a_confirmation_without_a_proof_is_not_believed() {
    let scene = scene();
    let nothing = Fault::Answer(404, b"not here".to_vec());
    scene.server().break_at("merkleblock-proof", nothing);
    let txid = scene.funding.compute_txid();
    is_invalid(scene.source.transaction(&txid), "without a proof");
}

#[test]
fn a_status_that_contradicts_the_proof_is_not_believed() {
    let scene = scene();
    let chain = &scene.stage.chain;
    let txid = scene.funding.compute_txid();
    let tip = chain.tip();
    let (height, block) = (tip.height, tip.block_hash);
    let deeper = json!({ "confirmed": true, "block_height": height, "block_hash": block });
    for (status, what) in [
        (deeper, "in two blocks"),
        (json!({ "confirmed": true }), "in no block"),
    ] {
        let fault = Fault::Answer(200, status.to_string().into());
        scene.server().break_at("/status", fault);
        is_invalid(scene.source.transaction(&txid), what);
        scene.server().repair();
    }
}

#[test]
fn a_best_block_outside_the_best_chain_is_not_believed() {
    let scene = scene();
    let orphan = json!({ "in_best_chain": false, "height": 112 }).to_string();
    scene
        .server()
        .break_at("/status", Fault::Answer(200, orphan.into()));
    is_invalid(scene.source.tip(), "outside the best chain");
}

#[test]
fn a_block_that_nobody_worked_for_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::NoWork);
    let height = scene.stage.chain.height();
    is_invalid(scene.source.tip(), "without the work");
    is_invalid(scene.source.header_at(height), "without the work");
    let txid = scene.pending.compute_txid();
    is_invalid(scene.source.transaction(&txid), "without the work");
}

#[test]
fn a_header_with_another_hash_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::WrongHeader);
    is_invalid(scene.source.tip(), "another hash");
    is_invalid(scene.source.header_at(3), "another hash");
}

#[test]
fn a_confirmation_outside_the_best_chain_is_not_believed() {
    let scene = scene();
    scene.source.tip().expect("a server without fault");
    scene.server().break_with(Fault::ShiftedHeights);
    let txid = scene.funding.compute_txid();
    is_invalid(scene.source.transaction(&txid), "outside the best chain");
}

#[test]
fn another_place_in_a_block_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::WrongIndex);
    let height = scene.stage.chain.height();
    is_invalid(scene.source.txid_at(height, 1), "another place");
}

#[test]
fn a_history_of_another_script_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::ForeignHistory);
    is_invalid(scene.source.outputs_to(&script()), "another script");
}

#[test]
fn a_history_that_goes_in_circles_ends() {
    let scene = scene();
    scene.server().break_with(Fault::CirclingHistory);
    is_invalid(scene.source.outputs_to(&script()), "in circles");
}

#[test]
fn a_server_that_broadcasts_something_else_is_not_believed() {
    let scene = scene();
    scene.server().break_with(Fault::WrongBroadcast);
    let sweep = spend(&scene.funding, 2, 500, b"wallet");
    is_invalid(scene.source.broadcast(&sweep), "another transaction");
}

#[test]
fn a_long_reason_for_a_refusal_is_cut() {
    let scene = scene();
    let words = "no\n".repeat(1_000);
    scene
        .server()
        .break_at("/tx", Fault::Answer(400, words.into_bytes()));
    let sweep = spend(&scene.funding, 2, 500, b"wallet");
    let Err(ChainError::Rejected { reason }) = scene.source.broadcast(&sweep) else {
        panic!("not refused");
    };
    assert_eq!(reason.len(), ChainError::MAX_TEXT);
    assert!(!reason.contains('\n'));
}

#[test]
fn an_absurd_fee_rate_is_not_believed() {
    let scene = scene();
    for rate in [0.0, -1.0, 1e12] {
        scene.server().set_fees([(1, rate)]);
        is_invalid(scene.source.fee_rate(6), "absurd");
    }
}

#[test]
fn an_address_that_is_none_is_refused_and_not_printed() {
    let secret = EsploraConfig::new("https://me:secret@example.com/api", Network::Bitcoin);
    let source = EsploraSource::new(secret.clone()).unwrap();
    for text in [format!("{secret:?}"), format!("{source:?}")] {
        assert!(
            !text.contains("secret") && !text.contains("example"),
            "{text}"
        );
    }
    let bad = EsploraSource::new(EsploraConfig::new("example.com", Network::Bitcoin));
    assert_eq!(bad.err(), Some(BadAddress("chain source")));
}
