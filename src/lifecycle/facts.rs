//! What the app has told, and what of it may be done now.

use crate::exchange::Time;

/// Everything that decides whether anything of ours runs. Whoever tells it need not know what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The app is on the screen.
    pub visible: bool,
    /// The device has a network.
    pub network: bool,
    /// So many payments are in flight, or expected.
    pub holds: u32,
    /// The wallet's own node runs, where that is another than ours.
    pub host_node_runs: bool,
    /// The app was told that this node may start, and has not said yet whether it did.
    pub host_node_may_run: bool,
    /// Calls that the system gave the app time for in the background: until when the last of them may
    /// keep anything alive.
    pub background_until: Option<Time>,
    /// The app was left so short a time ago that it may well come back: nothing is torn down until then.
    pub lingers_until: Option<Time>,
    /// The app wants none of it any more, and waits until then for what is due.
    pub shut_down_at: Option<Time>,
}

/// Why peers cannot be visited at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The device has no network.
    #[error("there is no network")]
    NoNetwork,
    /// The wallet's own node runs, or was allowed to start: two connections of one identity throw each
    /// other out.
    #[error("the wallet's own node runs")]
    HostNodeRuns,
    /// A payment is in flight, or expected: its connection must not be thrown out.
    #[error("a payment is in flight")]
    PaymentInFlight,
}

impl Facts {
    /// What keeps us from visiting peers. One that lasts longer comes first.
    pub fn obstacle(&self) -> Option<Obstacle> {
        if self.host_node_runs || self.host_node_may_run {
            Some(Obstacle::HostNodeRuns)
        } else if !self.network {
            Some(Obstacle::NoNetwork)
        } else if self.holds > 0 {
            Some(Obstacle::PaymentInFlight)
        } else {
            None
        }
    }
}
