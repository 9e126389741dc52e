use std::sync::Arc;
use std::time::Duration;

use ldk_peer_storage::backup::PeerRecord;
use ldk_peer_storage::exchange::{Past, PastError};
use ldk_peer_storage::service::{PeerStorage, WalletSource};
use ldk_peer_storage::session::{Session, SessionReport, Work};

/// Backs up what a stopped node has, at these peers. Where `storage.is_holding()` afterwards, the node must
/// not be started.
///
/// # Errors
/// The directory of peer storage is new, and does not believe that the wallet lives on this device.
pub fn back_up(
    storage: &PeerStorage,
    session: &Session,
    wallet: Arc<dyn WalletSource>,
    peers: &[PeerRecord],
    work: Work,
    budget: Duration,
) -> Result<SessionReport, PastError> {
    // What the store of a stopped node holds is durable. Without this the stamps in the backup would
    // stay at what they were when this directory was opened.
    for stored in wallet.monitors() {
        storage.monitor_written(stored.channel, stored.update_id);
    }
    storage.attach(wallet);
    if storage.past() == Past::Unknown {
        // The wallet is alive on this device, and only this directory is new.
        storage.adopt()?;
    }
    Ok(session.run(peers, work, budget))
}
