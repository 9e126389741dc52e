//! `recover`: the whole way, from seed and peers to coins at an address.

mod consent;
mod end;
mod plan;
mod terms;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::Address;
use clap::Args as ClapArgs;
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::chain::ChainSource;
use ldk_peer_storage::recovery::{Progress, Recovery};
use serde_json::json;

use crate::args::{records, seconds, NodeArgs, Peer};
use crate::channels::{find, json as ids_json, name};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;
use crate::{report, Outcome};
use consent::{ask, Terminal};
use watch::Watch;

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
    /// six blocks, or what was agreed to before.
    #[arg(long, value_name = "SAT")]
    fee_rate: Option<u64>,
    /// How far that is raised where a sweep does not confirm, in sat per vbyte; by default 100, or what
    /// was agreed to before.
    #[arg(long, value_name = "SAT")]
    highest_fee_rate: Option<u64>,
    #[command(flatten)]
    answers: consent::Answers,
    /// Read back and ask for consent again although it was given before: to add channels, or to change the
    /// address or the fee rates. What no flag names stays as it was agreed to.
    #[arg(long)]
    plan_again: bool,
    /// With --plan-again: also agree to this channel again, which was given up. Can be given many times.
    #[arg(long, value_name = "CHANNEL", requires = "plan_again")]
    take_up: Vec<String>,
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
        terms::are_those_agreed(args, sweep_to.as_ref(), &recovery)?;
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
    let (agreed, network) = (recovery.agreed(), args.node.identity.network);
    let rates = terms::fee_rates(args, agreed.as_ref(), chain)?;
    let sweep_to = terms::address(sweep_to, agreed.as_ref(), network);
    let mut given_up = recovery
        .agreed()
        .map(|agreed| agreed.given_up)
        .unwrap_or_default();
    for channel in &args.take_up {
        let taken_up = find("--take-up", channel, &given_up, "was given up")?;
        given_up.retain(|ids| *ids != taken_up);
    }
    plan::show(&plan, &given_up, sweep_to.as_ref(), rates, output);
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
    let consent = ask(
        &plan,
        &given_up,
        &args.answers,
        sweep_to,
        rates,
        &mut Terminal,
    )?;
    recovery.agree(&plan, &consent)?;
    let names: Vec<_> = consent.channels.iter().map(ids_json).collect();
    output.event("agreed", json!({ "channels": names }));
    Ok(())
}

fn give_up(channel: &str, recovery: &mut Recovery, output: &Output) -> Outcome {
    let agreed = recovery.agreed().map(|agreed| agreed.channels);
    let agreed = agreed.unwrap_or_default();
    let ids = find("--give-up", channel, &agreed, "was agreed to")?;
    recovery.give_up(ids, None)?;
    output.say(format!("{} is given up.", name(&ids)));
    output.event("given_up", json!({ "channel": ids_json(&ids) }));
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
                    return ended(args, &progress, &watch);
                }
                progress.next_round_in.min(args.poll)
            }
            Err(error) if error.may_pass() && !args.once => {
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

/// Done is only what is proven to be over.
fn ended(args: &Args, progress: &Progress, watch: &Watch) -> Outcome {
    watch.done(progress);
    match progress.kept.len() {
        0 => Ok(()),
        channels => Err(Failure::LeftBehind(format!(
            "not all came of {channels} channels: keep {}, their backups are in it; --plan-again looks \
             for newer ones",
            args.node.data_dir.display()
        ))),
    }
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
        "left_sat": progress.left_sat,
        "too_dear_sat": progress.too_dear_sat,
        "other_closes": progress.other_closes,
        "done": progress.done,
    })
}
