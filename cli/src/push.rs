//! `push`: backs up a wallet whose node is not ours, from a list of its channels and peers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args as ClapArgs;
use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::exchange::{Past, PastError, WalletState};
use ldk_peer_storage::service::WalletSource;
use ldk_peer_storage::session::{PeerReport, Returned, SessionReport, Work};
use serde::Deserialize;
use serde_json::{json, Value};

use crate::args::NodeArgs;
use crate::channels::{Channel, PeerEntry};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::Output;
use crate::report::advice;
use crate::Outcome;

/// A list of channels has no more than this, in bytes.
const MOST: u64 = 16 << 20;

/// Backs up the channels that a file names, for a wallet whose node cannot do it itself.
///
/// Stop that node first: two connections of one identity throw each other out. All channels of the wallet
/// have to be in the file, as they are now: what it says replaces what it said before.
#[derive(ClapArgs)]
#[command(after_long_help = FILE)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The file with the channels and peers, in JSON.
    #[arg(long, value_name = "FILE")]
    wallet: PathBuf,
}

const FILE: &str = r#"The file:
  {
    "channels": [{
      "peer": "02...",                      the other side's node id
      "short_channel_id": "700000x1x0",     of these three names at least one
      "funding_outpoint": "TXID:INDEX",
      "channel_id": "64 hex digits",
      "update_id": 17,                      ChannelMonitor::get_latest_update_id(), never one too high
      "kind": "anchors",                    or "static_remote_key", or "other"
      "phase": "ready",                     or "opening", or "closing"; may be left out
      "channel_keys_id": "64 hex digits",   where the keys are not derived in LDK's second way (v2)
      "value_sat": 1000000                  the capacity; may be left out
    }],
    "peers": [{ "node_id": "02...", "addresses": ["HOST:PORT"] }]
  }
The backup goes to all peers in the file. `retrieve --json` writes channels and peers in this form."#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wallet {
    channels: Vec<Channel>,
    peers: Vec<PeerEntry>,
}

pub fn run(args: &Args, output: &Output) -> Outcome {
    let state = read(&args.wallet)?;
    let peers = state.peers.clone();
    // Without a monitor in the file there is none to carry.
    let node = Node::open(&args.node, false)?;
    let result = push(&node, state, &peers, args, output);
    node.close();
    result
}

fn push(
    node: &Node,
    state: WalletState,
    peers: &[PeerRecord],
    args: &Args,
    output: &Output,
) -> Outcome {
    let storage = &node.storage;
    storage.attach(Arc::new(Listed(state)));
    if storage.past() == Past::Unknown {
        storage.adopt().map_err(|error| match error {
            PastError::NothingToAdopt => {
                Failure::Usage("the file names no channel: there is nothing to back up".to_owned())
            }
            error => Failure::Inside(error.to_string()),
        })?;
    }
    storage.list_peers(
        peers
            .iter()
            .map(|peer| peer.node_id)
            .collect::<BTreeSet<_>>(),
    );
    let spinner =
        output.spinner("Handing the backup to the peers; a new one takes half a minute ...");
    let report = node
        .session
        .run(peers, Work { verify: true }, args.node.budget);
    spinner.finish_and_clear();
    let status = storage.status().backup;
    show(
        &report,
        status.newest.map(|newest| newest.to_string()),
        output,
    );
    if storage.is_holding() {
        return Err(Failure::Alarm(
            "a backup knows newer channel state than the file, or a channel that the file lacks: \
             do not start that wallet from an old copy of its data; see docs/cli.md"
                .to_owned(),
        ));
    }
    match report.peers.iter().all(is_verified) {
        true => Ok(()),
        false => Err(Failure::Incomplete(
            "not every peer has shown that it has the newest backup: run it again".to_owned(),
        )),
    }
}

/// What the file says.
struct Listed(WalletState);

impl WalletSource for Listed {
    fn wallet_state(&self) -> WalletState {
        self.0.clone()
    }
}

fn read(path: &Path) -> Outcome<WalletState> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    read.map_err(|error| Failure::unreadable(path, &error))?;
    let bad = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let wallet: Wallet = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let mut state = WalletState::default();
    for (place, channel) in wallet.channels.iter().enumerate() {
        let record = channel.record();
        let record = record.map_err(|what| bad(format!("channel {}: {what}", place + 1)))?;
        if state.channel(&record.ids).is_some() {
            return Err(bad(format!("channel {} stands there twice", place + 1)));
        }
        state.channels.push(record);
    }
    for (place, peer) in wallet.peers.iter().enumerate() {
        let record = peer.record();
        let record = record.map_err(|what| bad(format!("peer {}: {what}", place + 1)))?;
        state.peers.push(record);
    }
    match state.peers.is_empty() {
        true => Err(bad("it names no peer to keep the backup".to_owned())),
        false => Ok(state),
    }
}

fn is_verified(peer: &PeerReport) -> bool {
    peer.outcome.as_ref().is_ok_and(|visit| visit.verified)
}

fn show(report: &SessionReport, newest: Option<String>, output: &Output) {
    let rows: Vec<_> = report
        .peers
        .iter()
        .map(|peer| [peer.peer.to_string(), words(peer).to_owned()])
        .collect();
    output.table(["peer", "newest backup"], &rows);
    let peers: Vec<_> = report.peers.iter().map(entry).collect();
    output.event("pushed", json!({ "newest": newest, "peers": peers }));
}

fn words(peer: &PeerReport) -> &'static str {
    match &peer.outcome {
        Ok(visit) if visit.verified => "has it, and has shown it",
        Ok(visit) if visit.delivered && visit.sent.is_some() => "was sent it",
        Ok(visit) if visit.sent.is_some() => "was sent it, and may not have read it",
        Ok(visit) if visit.returned == Returned::NothingInTime => {
            "said nothing in time, so it was sent nothing"
        }
        Ok(_) => "was not sent it: it does not keep backups for this node, or an alarm stands",
        Err(why) => advice(*why),
    }
}

fn entry(peer: &PeerReport) -> Value {
    let visit = peer.outcome.as_ref().ok();
    json!({
        "peer": peer.peer,
        "sent": visit.and_then(|visit| visit.sent).map(|revision| revision.to_string()),
        "delivered": visit.is_some_and(|visit| visit.delivered),
        "verified": is_verified(peer),
        "words": words(peer),
    })
}
