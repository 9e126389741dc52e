//! `retrieve`: reads back what the peers keep, and says who had what.

use clap::Args as ClapArgs;

use crate::args::{NodeArgs, Peer};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;
use crate::{report, Outcome};

/// Reads back what the peers keep. Closes nothing, sends nothing.
///
/// Also asks the peers that are named in what it reads. What was read stays in the data directory: a second
/// run asks those that were not heard, and only improves the result.
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The peers that are known, as NODEID@HOST:PORT.
    peers: Vec<Peer>,
}

pub fn run(args: &Args, output: &Output) -> Outcome {
    let node = Node::open(&args.node, true)?;
    let outcome = node.restore(&args.peers, args.node.budget, output);
    node.close();
    let outcome = outcome?;
    report::show(&outcome, output);
    if outcome.report.newest.is_none() {
        return Err(Failure::Incomplete(
            "no backup was found: ask other peers, or again later".to_owned(),
        ));
    }
    match report::is_complete(&outcome) {
        true => Ok(()),
        false => Err(Failure::Incomplete(
            "not every peer was heard, and one may have a newer backup: run it again".to_owned(),
        )),
    }
}
