//! `serve`: keeps backups for other nodes, as a long-running process.

mod door;
mod listener;
mod policy;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use clap::Args as ClapArgs;
use ldk_peer_storage::backup::MAX_BLOB;
use ldk_peer_storage::exchange::WalletState;
use ldk_peer_storage::service::{Config, WalletSource};
use ldk_peer_storage::PeerStorage;
use serde_json::json;
use tokio::sync::watch;

use crate::args::IdentityArgs;
use crate::failure::Failure;
use crate::identity::identity;
use crate::output::Output;
use crate::Outcome;
use door::Door;
use listener::Listener;

/// How long the last writes may take.
const END: Duration = Duration::from_secs(10);

/// Keeps backups for other nodes, until it is told to end (SIGINT, SIGTERM).
///
/// Its first line is `listening NODEID@ADDRESS`. Give it a seed of its own, not that of a wallet: two
/// connections of one identity throw each other out. What it keeps for a node stays until that node
/// replaces it.
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    identity: IdentityArgs,
    /// A directory for this purpose alone; made if missing.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9735")]
    listen: SocketAddr,
    /// For whom backups are kept. Can be given many times.
    #[arg(long, value_name = "NODEID", required_unless_present = "anyone")]
    allow: Vec<PublicKey>,
    /// Keep backups for anyone, within the quotas.
    #[arg(long, conflicts_with = "allow")]
    anyone: bool,
    /// For so many nodes at most; by default 100, or as many as are allowed.
    #[arg(long, value_name = "COUNT")]
    peers: Option<usize>,
    /// The largest backup, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_BLOB)]
    backup_bytes: usize,
    /// All backups together, in bytes; by default so much that each node can have the largest. (How often
    /// a node may replace its backup is fixed: six times at once, then once a minute.)
    #[arg(long, value_name = "BYTES")]
    total_bytes: Option<usize>,
    /// So many connections at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    connections: usize,
    /// So many of them from one IPv4 address, or one IPv6 network of 64 bits.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    connections_per_address: usize,
}

pub fn run(args: &Args, output: &Output) -> Outcome {
    let identity = identity(&args.identity)?;
    let keys = Arc::new(identity.keys());
    let config = Config {
        storage: policy::storage(args),
        monitors: false,
        ..Config::new(&args.data_dir, args.identity.network)
    };
    let storage = PeerStorage::open(config, &*keys)?;
    // Without a wallet the quotas would not hold for whoever has something here already.
    storage.attach(Arc::new(NoWallet));

    let ended = end_on_signal()?;
    let listener = Listener {
        storage: storage.clone(),
        keys,
        network: args.identity.network,
        door: Door::new(args.connections, args.connections_per_address),
        allowed: (!args.anyone).then(|| args.allow.iter().copied().collect::<BTreeSet<_>>()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Inside(format!("cannot start: {error}")))?;
    let served = runtime.block_on(listener.serve(args.listen, ended, |addr| {
        let at = format!("{}@{addr}", identity.node_id());
        match output.is_json() {
            true => output.event(
                "listening",
                json!({ "node": at, "node_id": identity.node_id(), "address": addr }),
            ),
            false => output.say(format!("listening {at}")),
        }
    }));
    drop(runtime);
    let closed = storage.close(END);
    served?;
    output.event("stopped", json!({ "complete": closed.complete }));
    match closed.complete {
        true => Ok(()),
        false => Err(Failure::Inside(
            "not all could be written at the end".to_owned(),
        )),
    }
}

/// There are no channels here.
struct NoWallet;

impl WalletSource for NoWallet {
    fn wallet_state(&self) -> WalletState {
        WalletState::default()
    }
}

/// Turns true when the process is told to end.
fn end_on_signal() -> Outcome<watch::Receiver<bool>> {
    let (end, ended) = watch::channel(false);
    let handler = move || {
        let _ = end.send(true);
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure::Inside(format!("cannot wait for signals: {error}")))?;
    Ok(ended)
}
