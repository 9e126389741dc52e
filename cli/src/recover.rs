//! `recover`: the whole way, from seed and peers to coins at an address.

mod consent;
mod plan;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, FeeRate};
use clap::Args as ClapArgs;
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::chain::{ChainError, ChainSource};
use ldk_peer_storage::recovery::{Progress, Recovery, RecoveryError};
use serde_json::json;

use crate::args::{records, seconds, NodeArgs, Peer};
use crate::channels::{name, parse_name};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;
use crate::{report, Outcome};
use consent::{ask, Terminal};
use watch::Watch;

/// A sweep is to be in the chain within so many blocks.
const TARGET_BLOCKS: u16 = 6;
/// The longest pause where the chain source does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Has the peers close the channels of a lost wallet, and sweeps what is yours to an address.
///
/// It first reads back what the peers keep, shows what could come back, and asks before anything is closed.
/// It may be ended at any time, also by force; run again with the same --data-dir it goes on. All of it can
/// take days.
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The peers that are known, as NODEID@HOST:PORT. Not needed to go on, or after `retrieve`.
    peers: Vec<Peer>,
    /// An Esplora server of the network. It learns which channels and addresses are yours.
    #[arg(long, value_name = "URL")]
    esplora: String,
    /// Where the coins go: an address of another wallet of yours.
    #[arg(long, value_name = "ADDRESS")]
    sweep_to: Option<Address<NetworkUnchecked>>,
    /// What the sweeps pay at first, in sat per vbyte; by default what the server expects to confirm within
    /// six blocks.
    #[arg(long, value_name = "SAT")]
    fee_rate: Option<u64>,
    /// How far that is raised where a sweep does not confirm, in sat per vbyte; by default 100.
    #[arg(long, value_name = "SAT")]
    highest_fee_rate: Option<u64>,
    #[command(flatten)]
    answers: consent::Answers,
    /// Read back and ask for consent again although it was given before: to add channels, or to change the
    /// address or the fee rates.
    #[arg(long)]
    plan_again: bool,
    /// Wait no longer for a channel that was agreed to, named by any of its ids. Its backup stays. Can be
    /// given many times.
    #[arg(long, value_name = "CHANNEL")]
    give_up: Vec<String>,
    /// Do what is due now, and end.
    #[arg(long)]
    once: bool,
    /// How long a connection stays open after a peer was asked to close; less than the default makes some
    /// peers miss the question.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    stay: Duration,
    /// Look at the chain at least this often.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    poll: Duration,
}

pub fn run(args: &Args, output: &Output) -> Outcome {
    let network = args.node.identity.network;
    let sweep_to = args.sweep_to.clone().map(|to| to.require_network(network));
    let sweep_to = sweep_to
        .transpose()
        .map_err(|_| Failure::Usage("--sweep-to is an address of another network".to_owned()))?;
    let chain = chain_source(args)?;
    let node = Node::open(&args.node, true)?;
    let result = recover(args, sweep_to, &node, chain, output);
    node.close();
    result
}

fn recover(
    args: &Args,
    sweep_to: Option<Address>,
    node: &Node,
    chain: Arc<EsploraSource>,
    output: &Output,
) -> Outcome {
    let (storage, network) = (node.storage.clone(), args.node.identity.network);
    let recovery = Recovery::open(storage, &node.identity, network, chain.clone())?;
    let mut recovery = recovery.stay(args.stay);
    if !recovery.is_begun() || args.plan_again {
        agree(args, sweep_to, node, &*chain, &mut recovery, output)?;
    } else {
        is_what_was_agreed(args, sweep_to.as_ref(), &recovery)?;
        output.say("Going on with the recovery that was begun in this directory.");
    }
    for channel in &args.give_up {
        give_up(channel, &mut recovery, output)?;
    }
    carry_out(args, node, &mut recovery, output)
}

/// Reads back, shows the plan, and takes the person's consent.
fn agree(
    args: &Args,
    sweep_to: Option<Address>,
    node: &Node,
    chain: &dyn ChainSource,
    recovery: &mut Recovery,
    output: &Output,
) -> Outcome {
    let outcome = node.restore(&args.peers, args.node.budget, output)?;
    report::show(&outcome, output);
    let plan = recovery.plan(&outcome, &records(&args.peers))?;
    let rates = fee_rates(args, chain)?;
    plan::show(&plan, sweep_to.as_ref(), rates, output);
    if plan.recoverable().next().is_none() && plan.waiting_sat == 0 {
        return Err(Failure::Incomplete(
            "there is nothing to recover: name more peers, or run it again later".to_owned(),
        ));
    }
    let Some(sweep_to) = sweep_to else {
        return Err(Failure::NotAgreed(
            "nothing was agreed: name the address for the coins with --sweep-to".to_owned(),
        ));
    };
    let consent = ask(&plan, &args.answers, sweep_to, rates, &mut Terminal)?;
    recovery.agree(&plan, &consent)?;
    let names: Vec<_> = consent.channels.iter().map(crate::channels::json).collect();
    output.event("agreed", json!({ "channels": names }));
    Ok(())
}

/// The rate at first, and the highest.
fn fee_rates(args: &Args, chain: &dyn ChainSource) -> Outcome<(FeeRate, FeeRate)> {
    let rate = |sat: u64| {
        let rate = FeeRate::from_sat_per_vb(sat).filter(|rate| *rate > FeeRate::ZERO);
        rate.ok_or_else(|| Failure::Usage("a fee rate is a number of sat per vbyte".to_owned()))
    };
    let highest = rate(args.highest_fee_rate.unwrap_or(100))?;
    let first = match args.fee_rate {
        Some(sat) => rate(sat)?,
        // The server's opinion may be wild.
        None => {
            let expected = chain.fee_rate(TARGET_BLOCKS)?;
            let least = FeeRate::BROADCAST_MIN;
            expected.unwrap_or(least).max(least).min(highest)
        }
    };
    Ok((first, highest))
}

/// A command that asks for something else than what was agreed to is not carried out as if it had been.
fn is_what_was_agreed(args: &Args, sweep_to: Option<&Address>, recovery: &Recovery) -> Outcome {
    let Some(agreed) = recovery.agreed() else {
        return Ok(());
    };
    let differs = |what| {
        let words = format!("{what} is not what was agreed to: add --plan-again to change it");
        Err(Failure::Usage(words))
    };
    let is_rate = |sat: Option<u64>, agreed| {
        sat.is_none_or(|sat| FeeRate::from_sat_per_vb(sat) == Some(agreed))
    };
    if sweep_to.is_some_and(|to| to.script_pubkey() != agreed.sweep_to) {
        return differs("--sweep-to");
    }
    if !is_rate(args.fee_rate, agreed.fee_rate) {
        return differs("--fee-rate");
    }
    match is_rate(args.highest_fee_rate, agreed.highest_fee_rate) {
        true => Ok(()),
        false => differs("--highest-fee-rate"),
    }
}

fn give_up(channel: &str, recovery: &mut Recovery, output: &Output) -> Outcome {
    let agreed = recovery.agreed().map(|agreed| agreed.channels);
    let agreed = agreed.unwrap_or_default();
    let named = parse_name(channel);
    let found = agreed
        .iter()
        .find(|ids| named.is_some_and(|named| named.matches(ids)));
    let Some(ids) = found else {
        let names: Vec<_> = agreed.iter().map(name).collect();
        return Err(Failure::Usage(format!(
            "--give-up {channel}: no such channel was agreed to; there are: {}",
            names.join(", ")
        )));
    };
    recovery.give_up(*ids, None)?;
    output.say(format!("{} is given up.", name(ids)));
    output.event("given_up", json!({ "channel": crate::channels::json(ids) }));
    Ok(())
}

/// Rounds, until all is over.
fn carry_out(args: &Args, node: &Node, recovery: &mut Recovery, output: &Output) -> Outcome {
    let watch = Watch::new(output);
    let heard = watch.clone();
    recovery.on_event(move |event| heard.event(event));
    let mut pause = args.poll;
    loop {
        let wait = match recovery.step(&node.session) {
            Ok(progress) => {
                watch.progress(&progress);
                pause = args.poll;
                if progress.done {
                    watch.done(&progress);
                    return Ok(());
                }
                progress.next_round_in.min(args.poll)
            }
            Err(error) if may_pass(&error) && !args.once => {
                watch.trouble(&error);
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
            Err(error) => return Err(error.into()),
        };
        if args.once {
            return Err(Failure::Incomplete(
                "it is not done yet: run it again with the same --data-dir".to_owned(),
            ));
        }
        // Ended here, or anywhere else, nothing is lost.
        std::thread::sleep(wait);
    }
}

fn may_pass(error: &RecoveryError) -> bool {
    matches!(error, RecoveryError::Chain(ChainError::Unreachable(_)))
}

fn chain_source(args: &Args) -> Outcome<Arc<EsploraSource>> {
    let proxy = args.node.socks5.map(|proxy| format!("socks5h://{proxy}"));
    let config = EsploraConfig {
        proxy,
        ..EsploraConfig::new(&args.esplora, args.node.identity.network)
    };
    let source = EsploraSource::new(config);
    let source = source.map_err(|error| {
        Failure::Usage(format!(
            "{error}: --esplora is as https://blockstream.info/api"
        ))
    })?;
    Ok(Arc::new(source))
}

/// All in sat: for a line or an event.
fn sums(progress: &Progress) -> serde_json::Value {
    json!({
        "found_sat": progress.found_sat,
        "recovered_sat": progress.recovered_sat,
        "fees_sat": progress.fees_sat,
        "other_closes": progress.other_closes,
        "done": progress.done,
    })
}
