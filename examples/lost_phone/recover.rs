//! What the new phone does when the person tells it to: plan, agree, and one step after another until
//! all coins have arrived.
//!
//! It reads commands from its standard input, one a line, and answers each with lines, the last of
//! which repeats the command's name.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{Address, FeeRate, Network, ScriptBuf};
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::recovery::{Claim, Consent, Identity, Plan, Recovery, RecoveryEvent};
use ldk_peer_storage::service::PeerStorage;
use ldk_peer_storage::session::{RestoreOutcome, Session};
use testkit::RemoteChain;

use crate::support::{ManualClock, RemoteSource};

/// Peers here take no half minute to read what they are sent.
const STAY: Duration = Duration::from_secs(2);

pub fn obey(
    storage: &PeerStorage,
    identity: &Identity,
    chain: &str,
    session: &Session,
    outcome: &RestoreOutcome,
    known: &PeerRecord,
) {
    let chain = RemoteChain::connect(chain.parse().expect("an address")).expect("the chain");
    let source = Arc::new(RemoteSource(chain));
    // Peers are asked again after minutes; the story has seconds.
    let clock = ManualClock::new();
    let recovery = Recovery::open(storage.clone(), identity, Network::Regtest, source);
    let mut recovery = recovery
        .expect("a recovery")
        .clock(clock.clone())
        .stay(STAY);
    recovery.on_event(tell);

    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a command");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["agree", script] => {
                let plan = recovery.plan(outcome, std::slice::from_ref(known));
                let plan = plan.expect("the chain answers");
                show(&plan);
                let sweep_to = ScriptBuf::from_hex(script).expect("a script");
                let agreed = recovery.agree(&plan, &consent(&plan, &sweep_to));
                agreed.expect("a consent to everything in the plan");
                println!("agree {}", plan.channels.len());
            }
            ["step"] => {
                let progress = recovery.step(session).expect("the chain answers");
                clock.advance(progress.next_round_in);
                println!(
                    "step {} {} {} {}",
                    progress.done, progress.found_sat, progress.recovered_sat, progress.fees_sat
                );
            }
            ["end"] => return,
            ref other => panic!("unknown command {other:?}"),
        }
    }
}

fn show(plan: &Plan) {
    for channel in &plan.channels {
        let what = match channel.claim {
            Claim::BalanceAndPayments { estimate_sat, .. } => format!("about {estimate_sat} sat"),
            _ => "our balance, whatever it is".into(),
        };
        println!("plan {} {:?} {what}", channel.peer, channel.state);
    }
}

/// To everything.
fn consent(plan: &Plan, sweep_to: &ScriptBuf) -> Consent {
    let address = Address::from_script(sweep_to, Network::Regtest).expect("an address");
    Consent {
        channels: plan.recoverable().map(|channel| channel.ids).collect(),
        sweep_to: address.into_unchecked(),
        fee_rate: FeeRate::from_sat_per_vb(4).expect("a rate"),
        highest_fee_rate: FeeRate::from_sat_per_vb(20).expect("a rate"),
        old_device_is_gone: true,
        closes_channels_without_keys: false,
        goes_on_without_unheard_peers: false,
    }
}

fn tell(event: &RecoveryEvent) {
    match event {
        RecoveryEvent::Asked { peer, way } => println!("asked {peer} {way:?}"),
        RecoveryEvent::Closed { txid, ours_sat, .. } => println!("closed {txid} {ours_sat}"),
        RecoveryEvent::Sweeping {
            txid, sat, fee_sat, ..
        } => println!("sweeping {txid} {sat} {fee_sat}"),
        _ => {}
    }
}
