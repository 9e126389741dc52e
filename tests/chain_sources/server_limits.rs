//! What a good server is asked, and how far.

use std::time::{Duration, Instant};

use bitcoin::{Amount, FeeRate};
use ldk_peer_storage::recovery::chain::esplora::EsploraSource;
use ldk_peer_storage::recovery::chain::{ChainError, ChainSource};
use serde_json::json;
use testkit::{Fault, DEADLINE};

use crate::suite::script;
use crate::Stage;

const COIN: Amount = Amount::from_sat(10_000);

#[test]
fn a_fee_rate_is_the_one_for_as_many_blocks_or_fewer() {
    let stage = Stage::new();
    let source = stage.esplora();
    stage.server.set_fees([(2, 8.0), (6, 2.5), (144, 1.001)]);
    let rate = |blocks| source.fee_rate(blocks).unwrap();
    assert_eq!(rate(6), Some(FeeRate::from_sat_per_kwu(625)));
    assert_eq!(rate(100), Some(FeeRate::from_sat_per_kwu(625)));
    assert_eq!(rate(2), Some(FeeRate::from_sat_per_kwu(2_000)));
    // None is as fast: the fastest that there is.
    assert_eq!(rate(1), Some(FeeRate::from_sat_per_kwu(2_000)));
    // Rounded up: below the minimum of its mempool a server would not take the transaction.
    assert_eq!(rate(1_008), Some(FeeRate::from_sat_per_kwu(251)));
    stage.server.set_fees([]);
    assert_eq!(rate(6), None);
}

#[test]
fn a_host_s_own_source_needs_no_opinion_on_fees() {
    let stage = Stage::new();
    assert_eq!(stage.own().fee_rate(6), Ok(None));
}

#[test]
fn the_network_is_asked_once_and_unused_scripts_take_one_request() {
    let stage = Stage::new();
    let source = stage.esplora();
    assert_eq!(source.outputs_to(&script()), Ok(vec![]));
    assert_eq!(source.outputs_to(&script()), Ok(vec![]));
    let requests = stage.server.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert_eq!(requests[0], "GET /block-height/0");
}

#[test]
fn a_block_that_comes_between_two_questions_is_no_lie() {
    let stage = Stage::new();
    let source = stage.esplora();
    let tx = stage.chain.pay(&script(), COIN);
    stage.chain.mine(1);
    let txid = tx.compute_txid();
    let found = source.transaction(&txid).unwrap();
    let tip = source.tip();

    let gone = stage.chain.block(50).unwrap().block_hash();
    for (part, once) in [
        (
            "/status",
            json!({ "confirmed": true, "block_height": 50, "block_hash": gone }),
        ),
        ("/merkleblock-proof", json!(null)),
        ("/block-height/111", json!(null)),
    ] {
        let fault = match once.is_null() {
            true => Fault::Answer(404, b"not found".to_vec()),
            false => Fault::Answer(200, once.to_string().into()),
        };
        stage.server.break_once_at(part, fault);
        assert_eq!(source.transaction(&txid).unwrap(), found, "{part}");
    }
    let orphan = json!({ "in_best_chain": false }).to_string();
    stage
        .server
        .break_once_at("/status", Fault::Answer(200, orphan.into()));
    assert_eq!(source.tip(), tip);
}

#[test]
fn a_history_beyond_the_limit_is_an_error_and_no_part_of_it_an_answer() {
    let stage = Stage::new();
    for _ in 0..30 {
        stage.chain.pay(&script(), COIN);
    }
    stage.chain.mine(1);
    for (limit, fits) in [(29, false), (30, true)] {
        let mut config = stage.config();
        config.max_history = limit;
        let answer = EsploraSource::new(config).unwrap().outputs_to(&script());
        match answer {
            Ok(found) => assert!(fits && found.len() == 30),
            Err(error) => assert!(!fits && error == ChainError::TooMany { limit }, "{error:?}"),
        }
    }
}

#[test]
fn of_dozens_of_unconfirmed_payments_some_are_told_and_nothing_fails() {
    let stage = Stage::new();
    stage.chain.pay(&script(), COIN);
    stage.chain.mine(1);
    for _ in 0..60 {
        stage.chain.pay(&script(), COIN);
    }
    let found = stage.esplora().outputs_to(&script()).unwrap();
    let confirmed = found.iter().filter(|found| found.place.is_some());
    assert_eq!((found.len(), confirmed.count()), (51, 1));
}

#[test]
fn a_call_of_many_slow_requests_ends_in_time() {
    let stage = Stage::new();
    let mut config = stage.config();
    config.timeout = DEADLINE * 2;
    config.call_timeout = Duration::from_millis(500);
    let source = EsploraSource::new(config).unwrap();
    let tx = stage.chain.pay(&script(), COIN);
    stage.server.break_at("/status", Fault::Stall);
    let start = Instant::now();
    let answer = source.transaction(&tx.compute_txid());
    assert!(
        matches!(answer, Err(ChainError::Unreachable(_))),
        "{answer:?}"
    );
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn a_source_may_be_given_all_the_time_in_the_world() {
    let stage = Stage::new();
    let mut config = stage.config();
    config.timeout = Duration::MAX;
    config.call_timeout = Duration::MAX;
    let source = EsploraSource::new(config).unwrap();
    assert!(source.tip().is_ok());
}

#[test]
fn nothing_about_the_asker_is_told() {
    let stage = Stage::new();
    let tx = stage.chain.pay(&script(), COIN);
    let source = stage.esplora();
    source.tip().unwrap();
    source.broadcast(&tx).unwrap();
    let told: Vec<_> = stage.server.headers().into_iter().collect();
    assert_eq!(told, ["content-length", "host"]);
}
