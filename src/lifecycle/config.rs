//! How a lifecycle is opened.

use std::time::Duration;

use crate::service;
use crate::session::SessionConfig;

/// How to open a [`Lifecycle`](super::Lifecycle).
pub struct LifecycleConfig {
    /// The data directory, and what is kept in it.
    pub storage: service::Config,
    /// How peers are visited.
    pub session: SessionConfig,
    /// The app is on the screen.
    pub visible: bool,
    /// The device has a network.
    pub network: bool,
    /// An app that was left and comes back within this time finds everything as it was: until then nothing is
    /// closed, as far as the budget of [`on_background`](super::Lifecycle::on_background) goes. One that is opened
    /// out of sight was not left: it comes to rest at once.
    pub linger: Duration,
    /// When peers are visited without being told to.
    pub sync: AutoSync,
}

impl LifecycleConfig {
    /// The defaults: not visible, with a network, 5 s for a short hop to background.
    pub fn new(storage: service::Config) -> Self {
        LifecycleConfig {
            storage,
            session: SessionConfig::default(),
            visible: false,
            network: true,
            linger: Duration::from_secs(5),
            sync: AutoSync::default(),
        }
    }
}

/// When peers are visited without being told to, while the app is visible and no obstacle stands: at
/// once on resume, when an obstacle is gone, and a while after the wallet has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoSync {
    /// After a report of the wallet, once no further one has come for so long; at most ten times as long
    /// after the first.
    pub after_change: Duration,
    /// The first pause before a peer that was not reached is visited again. It doubles with each try; until
    /// then the peer is not visited for a change either.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// A visit of all peers takes no longer.
    pub budget: Duration,
}

impl Default for AutoSync {
    fn default() -> Self {
        AutoSync {
            after_change: Duration::from_secs(3),
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(15 * 60),
            budget: Duration::from_secs(60),
        }
    }
}
