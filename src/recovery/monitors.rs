//! What restored channel monitors bring: pending payments, and the penalty for a revoked state.
//!
//! LDK's monitors do the work, without a `ChannelManager`. They are made anew at each start from the
//! bytes of the backup and fed from the chain, so nothing of them needs to be kept.
//!
//! A restored monitor may be stale, and LDK publishes a monitor's own commitment by itself when an HTLC
//! runs out. Two guards stand against that, each sufficient (safety rule 9): the keys cannot sign it
//! (`signer`), and whatever LDK wants to publish goes through `publish`.
//!
//! Each is on its own (`contained`), so that what goes wrong with one channel costs no other.
//!
//! * `contained` one monitor inside LDK; `follow` how it is shown the chain; `witness` in which form;
//! * `publish` what of its wishes may leave.

mod contained;
mod follow;
mod publish;
mod witness;

use std::sync::Arc;

use bitcoin::OutPoint;
use lightning::chain::channelmonitor::Balance;
use lightning::ln::types::ChannelId;
use lightning::sign::{KeysManager, SpendableOutputDescriptor};

use self::contained::Contained;
use self::follow::Followed;
use self::publish::Publisher;
use super::chain::{ChainError, ChainSource, Tip};
use super::identity::Identity;
use super::journal::Terms;
use super::signer::RecoveryKeys;
use crate::backup::ChannelIds;
use crate::exchange::RestoredMonitor;

/// After an HTLC has run out, its claim should be through within so many blocks, two weeks. Then a channel
/// is no longer kept open for it.
const HTLC_PATIENCE: u32 = 2016;

/// The restored monitors.
pub(super) struct Monitors {
    keys: Arc<KeysManager>,
    signer: RecoveryKeys,
    channels: Vec<(State, Followed)>,
    /// What does not read.
    unreadable: Vec<State>,
    publisher: Publisher,
}

impl Monitors {
    pub fn new(identity: &Identity) -> Self {
        Monitors {
            keys: Arc::new(identity.keys()),
            signer: RecoveryKeys(identity.keys()),
            channels: Vec::new(),
            unreadable: Vec::new(),
            publisher: Publisher::default(),
        }
    }

    /// Loads monitors as the backup has them, and drops all others. One that is loaded stays as it is,
    /// unless it cannot go on: what LDK was shown is safely taken back only as a whole. What does not
    /// read is left out: its channel is swept without.
    pub fn load(&mut self, restored: &[RestoredMonitor]) {
        let mut before = std::mem::take(&mut self.channels);
        for monitor in restored {
            let at = before.iter().position(|(state, _)| state.is_of(monitor));
            let before = at.map(|at| before.swap_remove(at));
            match before {
                Some((state, followed)) if followed.can_go_on() => {
                    self.channels.push((state, followed));
                }
                before => self.load_one(monitor, before.map(|(_, followed)| followed)),
            }
        }
    }

    fn load_one(&mut self, restored: &RestoredMonitor, before: Option<Followed>) {
        if self.unreadable.iter().any(|state| state.is_of(restored)) {
            return;
        }
        let Some(monitor) = Contained::load(&restored.bytes, &self.keys, &self.signer) else {
            log::warn!("recovery: a monitor of the backup does not read");
            self.unreadable.push(State::of(restored));
            return;
        };
        self.publisher.guard(monitor.funding());
        let id = monitor.channel_id();
        if self.of(&id).is_none() {
            let followed = Followed::new(monitor, before);
            self.channels.push((State::of(restored), followed));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// What a channel claims by the state of its monitor, in sat. An estimate, and only as long as the
    /// channel is open.
    pub fn estimate_sat(&self, channel: &ChannelId) -> Option<u64> {
        let balances = self.of(channel)?.monitor.balances()?;
        Some(
            balances
                .iter()
                .map(Balance::claimable_amount_satoshis)
                .sum(),
        )
    }

    /// Whether a closed channel may still bring something by an HTLC or a penalty. So it may as long as its
    /// monitor has not seen all of the chain.
    pub fn waits_for(&self, channel: &ChannelId, tip: &Tip) -> bool {
        let Some(followed) = self.of(channel) else {
            return false;
        };
        let balances = match followed.is_at_the_tip() {
            true => followed.monitor.balances(),
            false => None,
        };
        let Some(balances) = balances else {
            return true;
        };
        let last_height = |balance: &Balance| match balance {
            Balance::ContentiousClaimable { timeout_height, .. } => Some(*timeout_height),
            Balance::MaybeTimeoutClaimableHTLC {
                claimable_height, ..
            } => Some(*claimable_height),
            Balance::ClaimableAwaitingConfirmations {
                confirmation_height,
                ..
            } => Some(*confirmation_height),
            Balance::CounterpartyRevokedOutputClaimable { .. } => Some(tip.height),
            // It has not been shown the close yet.
            Balance::ClaimableOnChannelClose { .. } => Some(tip.height),
            _ => None,
        };
        let mut heights = balances.iter().filter_map(last_height);
        heights.any(|height| tip.height < height.saturating_add(HTLC_PATIENCE))
    }

    /// A funding output that a channel is known to have or to have had.
    pub fn guard(&mut self, funding: OutPoint) {
        self.publisher.guard(funding);
    }

    /// What has become spendable so far, and of which channel.
    pub fn spendable(&self) -> Vec<(Option<ChannelId>, SpendableOutputDescriptor)> {
        let channels = self.channels.iter();
        let spendable = channels.flat_map(|(_, followed)| followed.spendable());
        spendable.cloned().collect()
    }

    /// Shows each monitor what the chain has come to, and publishes what it wants, as far as it may be.
    /// The first error; the others are followed all the same.
    pub fn follow(
        &mut self,
        chain: &dyn ChainSource,
        tip: &Tip,
        terms: &Terms,
    ) -> Result<(), ChainError> {
        let mut result = Ok(());
        for (_, followed) in &mut self.channels {
            result = result.and(followed.follow(chain, tip, terms, &mut self.publisher));
        }
        result
    }

    fn of(&self, channel: &ChannelId) -> Option<&Followed> {
        let mut channels = self.channels.iter().map(|(_, followed)| followed);
        channels.find(|followed| followed.monitor.channel_id() == *channel)
    }
}

/// Which state of which channel.
struct State {
    channel: ChannelIds,
    update_id: u64,
}

impl State {
    fn of(restored: &RestoredMonitor) -> State {
        State {
            channel: restored.channel,
            update_id: restored.update_id,
        }
    }

    fn is_of(&self, restored: &RestoredMonitor) -> bool {
        self.update_id == restored.update_id && self.channel.matches(&restored.channel)
    }
}
