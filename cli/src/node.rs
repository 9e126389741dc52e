//! A data directory, and a session on it.

use std::sync::Arc;
use std::time::Duration;

use ldk_peer_storage::exchange::PastError;
use ldk_peer_storage::recovery::Identity;
use ldk_peer_storage::service::Config;
use ldk_peer_storage::session::{RestoreOutcome, SessionConfig};
use ldk_peer_storage::{PeerStorage, Session};

use crate::args::{records, NodeArgs, Peer};
use crate::failure::Failure;
use crate::identity::identity;
use crate::output::Output;
use crate::Outcome;

/// The quiet node of a command.
pub struct Node {
    pub identity: Identity,
    pub storage: PeerStorage,
    pub session: Session,
}

impl Node {
    /// Opens the directory; no connection is made yet. `monitors`: whether backups carry them.
    pub fn open(args: &NodeArgs, monitors: bool) -> Outcome<Node> {
        let identity = identity(&args.identity)?;
        let keys = Arc::new(identity.keys());
        let config = Config {
            monitors,
            ..Config::new(&args.data_dir, args.identity.network)
        };
        let storage = PeerStorage::open(config, &*keys)?;
        let config = SessionConfig {
            tor_proxy: args.socks5,
            ..SessionConfig::default()
        };
        let session = Session::open(storage.clone(), keys, config)?;
        Ok(Node {
            identity,
            storage,
            session,
        })
    }

    /// Reads back from these peers, and from those that their backups name.
    pub fn restore(
        &self,
        peers: &[Peer],
        budget: Duration,
        output: &Output,
    ) -> Outcome<RestoreOutcome> {
        let known = self.storage.restore_report();
        if peers.is_empty() && known.peers.is_empty() {
            return Err(Failure::Usage(
                "no peer is known: name at least one, as NODEID@HOST:PORT".to_owned(),
            ));
        }
        let spinner = output.spinner("Asking the peers for the backup ...");
        let outcome = self.session.restore(&records(peers), budget);
        spinner.finish_and_clear();
        outcome.map_err(|error| match error {
            PastError::Known => Failure::WrongPlace(
                "this data directory is that of a wallet in use: give --data-dir another one"
                    .to_owned(),
            ),
            other => Failure::Inside(other.to_string()),
        })
    }

    /// Writes what waits, and lets go of the directory.
    pub fn close(self) {
        drop(self.session);
        self.storage.close(Duration::from_secs(10));
    }
}
