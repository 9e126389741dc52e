//! What the person decides: which channels, to where, at what fee.

use std::fmt;

use bitcoin::address::NetworkUnchecked;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, FeeRate, ScriptBuf};

use super::journal::{Step, Target, Terms};
use super::plan::{Claim, KnownBy, Plan, PlannedChannel};
use super::{Recovery, RecoveryError};
use crate::backup::ChannelIds;

/// Nobody pays more than this for a sweep, in sat per vbyte: a larger rate is a slip of the hand.
const ABSURD_FEE_RATE: u64 = 2_000;

/// What the person agrees to. There is no default: each of these costs money if it is wrong.
#[derive(Clone)]
pub struct Consent {
    /// The channels to close and sweep, out of the plan.
    pub channels: Vec<ChannelIds>,
    /// Where to.
    ///
    /// What restored monitors claim (pending payments, penalties) takes a way of its own: LDK sends it to the
    /// address that the lost wallet's `SignerProvider::get_destination_script` gave when the channel was
    /// opened, which stands in the monitor. If that is an address of LDK's own keys, as `KeysManager`
    /// gives, it is swept from there to this one, and counts as found when LDK tells of it (six blocks
    /// deep) and as recovered when the sweep is in the chain. If it is an address of the wallet's own coins,
    /// as ldk-node gives, it stays there: the seed words open it in any wallet, and it counts neither as
    /// found nor as recovered.
    pub sweep_to: Address<NetworkUnchecked>,
    /// What the sweeps pay at first.
    pub fee_rate: FeeRate,
    /// How far that is raised when a sweep does not confirm, and what the claims of restored monitors
    /// (pending payments, penalties) pay at most, but for two percent that their signatures' sizes make.
    pub highest_fee_rate: FeeRate,
    /// The person is sure that no other device runs this wallet. If one does, it loses its channels to
    /// a force close; nothing else.
    pub old_device_is_gone: bool,
    /// The person knows that what is in channels with [`Claim::KeysUnknown`] is lost if the node did not
    /// derive its keys in LDK's second way, and that a backup may still turn up. Channels opened by
    /// ldk-node 0.7 or later have such keys.
    pub closes_channels_without_keys: bool,
    /// The person does not want to wait for the peers that were not heard, one of which may hold a
    /// newer backup.
    pub goes_on_without_unheard_peers: bool,
}

/// What the person has agreed to, as it stands in the data directory.
#[derive(Clone)]
pub struct Agreed {
    /// The channels, also those that are over or were given up.
    pub channels: Vec<ChannelIds>,
    /// Of these, the ones that were given up.
    pub given_up: Vec<ChannelIds>,
    /// Where the sweeps pay to.
    pub sweep_to: ScriptBuf,
    /// What the sweeps pay at first.
    pub fee_rate: FeeRate,
    /// How far that is raised.
    pub highest_fee_rate: FeeRate,
}

/// Why a consent was not taken. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// The old device may still run.
    #[error("the person has not said that the old device is gone")]
    OldDeviceMayLive,
    /// There are peers that were not heard.
    #[error("{0} peers were not heard, and the person has not said to go on without them")]
    PeersUnheard(usize),
    /// It names a channel whose keys no backup tells.
    #[error(
        "the keys of a chosen channel are in no backup, and the person has not said to close it"
    )]
    KeysUnknown,
    /// It names no channel.
    #[error("no channel is chosen")]
    NoChannel,
    /// It names a channel that the plan does not have, or that cannot be recovered.
    #[error("a chosen channel is not in the plan, or cannot be recovered")]
    UnknownChannel,
    /// The plan was made for another wallet.
    #[error("the plan is that of another wallet")]
    OtherWallet,
    /// It names some, but not all, of the channels with a peer that only the chain can tell apart
    /// ([`PlannedChannel::by_place_alone`](super::PlannedChannel::by_place_alone)): so many are missing.
    #[error("{0} channels are not chosen that only the chain tells apart from a chosen one")]
    OnlyTogether(usize),
    /// The address is one of another network.
    #[error("the address is of another network")]
    OtherNetwork,
    /// A fee rate is zero, too low to be relayed, or absurd; or the highest is below the first.
    #[error("a fee rate of {0} sat per 1000 weight units cannot be meant")]
    FeeRate(u64),
    /// It could not be written.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

// Which channels there are, and where to, is private.
impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consent")
            .field("channels", &self.channels.len())
            .field("fee_rate", &self.fee_rate)
            .field("highest_fee_rate", &self.highest_fee_rate)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed")
            .field("channels", &self.channels.len())
            .field("fee_rate", &self.fee_rate)
            .field("highest_fee_rate", &self.highest_fee_rate)
            .finish_non_exhaustive()
    }
}

impl Recovery {
    /// What the person has agreed to last, in this run or an earlier one; none: nothing yet.
    pub fn agreed(&self) -> Option<Agreed> {
        let terms = self.journal.terms.as_ref()?;
        let targets = || self.journal.targets.iter();
        let given_up = targets().filter(|target| self.journal.is_given_up(target));
        Some(Agreed {
            channels: targets().map(|t| t.ids).collect(),
            given_up: given_up.map(|t| t.ids).collect(),
            sweep_to: terms.sweep_to.clone(),
            fee_rate: FeeRate::from_sat_per_kwu(terms.fee_rate),
            highest_fee_rate: terms.highest(),
        })
    }

    /// The person agrees. Durable on return; [`step`](Self::step) then does it.
    ///
    /// Can be called again, with a plan that has become better: its channels are added, and its address
    /// and fee rates are used from then on.
    pub fn agree(&mut self, plan: &Plan, consent: &Consent) -> Result<(), ConsentError> {
        if plan.wallet != self.identity.node_id() {
            return Err(ConsentError::OtherWallet);
        }
        if !consent.old_device_is_gone {
            return Err(ConsentError::OldDeviceMayLive);
        }
        if !plan.unheard.is_empty() && !consent.goes_on_without_unheard_peers {
            return Err(ConsentError::PeersUnheard(plan.unheard.len()));
        }
        let sweep_to = consent.sweep_to.clone().require_network(self.network);
        let sweep_to = sweep_to.map_err(|_| ConsentError::OtherNetwork)?;
        let absurd = FeeRate::from_sat_per_vb(ABSURD_FEE_RATE).unwrap_or(FeeRate::MAX);
        for rate in [consent.fee_rate, consent.highest_fee_rate] {
            if rate < FeeRate::BROADCAST_MIN || rate > absurd || rate < consent.fee_rate {
                return Err(ConsentError::FeeRate(rate.to_sat_per_kwu()));
            }
        }
        let mut targets = Vec::new();
        for ids in &consent.channels {
            let chosen = plan.named(ids);
            let before = targets.len();
            for planned in chosen {
                if planned.claim == Claim::KeysUnknown && !consent.closes_channels_without_keys {
                    return Err(ConsentError::KeysUnknown);
                }
                targets.push(planned.target.clone());
            }
            if targets.len() == before {
                return Err(ConsentError::UnknownChannel);
            }
        }
        let missing = self.missing_beside(plan, &targets);
        if missing > 0 {
            return Err(ConsentError::OnlyTogether(missing));
        }
        if targets.is_empty() && plan.waiting_sat == 0 {
            return Err(ConsentError::NoChannel);
        }
        let terms = Terms {
            sweep_to: sweep_to.script_pubkey(),
            fee_rate: consent.fee_rate.to_sat_per_kwu(),
            highest_fee_rate: consent.highest_fee_rate.to_sat_per_kwu(),
        };
        self.take(Step::Agreed { terms, targets })?;
        // With other fee rates other outputs are worth their fees.
        self.told_of.clear();
        self.learn_keys();
        Ok(())
    }

    /// The person no longer waits for a channel that they had agreed to: its peer is gone for good, or it
    /// never was a channel. It is not asked for any more, nor searched for by scripts, and does not keep the
    /// recovery from being done. It is still looked at while the recovery goes on, and if the peer closes
    /// it after all, what is ours is swept, and waited for. Its backup stays until then, and it can be
    /// agreed to again.
    ///
    /// Where several peers say that a channel is theirs, `peer` tells with which one it is given up; none:
    /// with all.
    ///
    /// # Errors
    /// [`RecoveryError::UnknownChannel`] where no such channel was agreed to (with this peer). Nothing has
    /// happened then.
    pub fn give_up(
        &mut self,
        channel: ChannelIds,
        peer: Option<PublicKey>,
    ) -> Result<(), RecoveryError> {
        if self.journal.targets_of(&channel, peer).next().is_none() {
            return Err(RecoveryError::UnknownChannel);
        }
        self.take(Step::GivenUp { channel, peer })
    }

    /// How many channels of the plan may be the one that the chain says a chosen one is, and were not
    /// chosen (safety rule 10; see `naming`).
    fn missing_beside(&self, plan: &Plan, chosen: &[Target]) -> usize {
        let agreed = self.journal.targets.iter();
        let agreed = agreed.filter(|target| !self.journal.is_given_up(target));
        let agreed: Vec<_> = agreed.chain(chosen).collect();
        let is_missing = |channel: &&PlannedChannel| {
            let may_be_mixed_up = channel.by_place_alone || channel.known_by == KnownBy::Peer;
            let mut beside = agreed.iter().filter(|target| target.peer == channel.peer);
            may_be_mixed_up
                && beside.any(|target| target.ids.derived_channel_id().is_none())
                && !agreed.iter().any(|target| target.ids.matches(&channel.ids))
        };
        plan.channels.iter().filter(is_missing).count()
    }
}
