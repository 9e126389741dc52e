//! What a recovery has decided and done, step by step, durable before anything follows from it.
//!
//! The chain says how far each channel is; the journal says only what the chain cannot: what the person
//! agreed to, when which peer was asked to close, and which sweeps were made. So a recovery that was
//! killed anywhere goes on from its journal and the chain, and does nothing twice that must not be.

// LDK's macros drop things that need no dropping.
#![allow(clippy::drop_non_drop)]

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, OutPoint, ScriptBuf, Transaction};
use lightning::ln::msgs::SocketAddress;
use lightning::util::ser::{Readable, Writeable};
use lightning::{impl_writeable_tlv_based, impl_writeable_tlv_based_enum};

use super::RecoveryError;
use crate::backup::{ChannelIds, PeerRecord};
use crate::exchange::Time;
use crate::service::PeerStorage;

/// A durable step. Its kinds are numbered, and a number is never used for anything else.
#[derive(Clone)]
pub(super) enum Step {
    /// The person agreed. A later one replaces where to sweep to and at which fee rate, and adds its
    /// channels.
    Agreed { terms: Terms, targets: Vec<Target> },
    /// A peer is about to be asked to close its channels.
    Asking { peer: PublicKey, way: Way, at: Time },
    /// It could not be: nobody answered.
    NotReached { peer: PublicKey, at: Time },
    /// It was, after it had not been.
    Reached { peer: PublicKey },
    /// A sweep is about to be published.
    Sweeping(Sweep),
    /// A channel is over: whatever was ours in it is swept and buried.
    Over { channel: ChannelIds },
    /// A channel's close is buried, and nothing in it was found that can be swept. Its backup stays: what
    /// was not recognised today may be by what comes to light later.
    NothingFound {
        channel: ChannelIds,
        peer: Option<PublicKey>,
    },
    /// An output of ours was found by its script, unspent.
    Found { output: OutPoint },
    /// What was found of a channel by scripts is swept and buried. Its backup stays: nothing proves that
    /// it was this channel's.
    OverByScript {
        channel: ChannelIds,
        peer: Option<PublicKey>,
    },
    /// The person no longer waits for a channel. Its backup stays.
    ///
    /// Two peers may say that a channel is theirs. Steps of older versions do not name the peer: then it is
    /// each that had said so by then. The same with the two above.
    GivenUp {
        channel: ChannelIds,
        peer: Option<PublicKey>,
    },
    /// An output that the backup names as waiting is not in the chain, seen first at this height.
    Missing { output: OutPoint, height: u32 },
}

/// How a channel has ended without proof that all of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    NothingFound,
    OverByScript,
    GivenUp,
}

/// What the person agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub sweep_to: ScriptBuf,
    /// In sat per 1000 weight units, as LDK counts.
    pub fee_rate: u64,
    pub highest_fee_rate: u64,
}

impl Terms {
    pub fn highest(&self) -> FeeRate {
        FeeRate::from_sat_per_kwu(self.highest_fee_rate)
    }
}

/// A channel to be recovered: all that is needed, so that nothing else has to be kept for it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub ids: ChannelIds,
    pub peer: PublicKey,
    pub addresses: Vec<SocketAddress>,
    pub channel_keys_id: Option<[u8; 32]>,
}

impl Target {
    pub fn peer_record(&self) -> PeerRecord {
        PeerRecord {
            node_id: self.peer,
            addresses: self.addresses.clone(),
        }
    }
}

/// How a peer is asked to close. Implementations differ in which of the two they act on, and none may
/// be sent both on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A BOLT #1 `error` for each channel. Core Lightning, LDK and Eclair close.
    Error,
    /// A `channel_reestablish` (BOLT #2) that says that we have lost everything. LDK and LND close.
    BogusReestablish,
}

/// A transaction that brings our outputs to the person's address.
#[derive(Clone)]
pub(super) struct Sweep {
    pub tx: Transaction,
    /// The sum of its inputs, in sat.
    pub input_sat: u64,
    /// In sat per 1000 weight units.
    pub fee_rate: u64,
    /// The height of the chain when it was made.
    pub height: u32,
}

impl Sweep {
    pub fn output_sat(&self) -> u64 {
        self.tx.output.iter().map(|o| o.value.to_sat()).sum()
    }

    pub fn fee_sat(&self) -> u64 {
        self.input_sat.saturating_sub(self.output_sat())
    }

    /// Whether all of it goes there.
    pub fn pays_to(&self, script: &ScriptBuf) -> bool {
        self.tx.output.iter().all(|o| o.script_pubkey == *script)
    }

    pub fn spends(&self, output: &OutPoint) -> bool {
        self.tx.input.iter().any(|i| i.previous_output == *output)
    }
}

/// How often a peer was asked to close.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    /// The oldest first.
    pub asked: Vec<(Way, Time)>,
    /// How often in a row it was not reached since, and the last time.
    pub unreached: Option<(u32, Time)>,
}

/// Everything that the steps add up to.
#[derive(Default)]
pub(super) struct Journal {
    pub terms: Option<Terms>,
    pub targets: Vec<Target>,
    attempts: BTreeMap<PublicKey, Attempts>,
    /// The oldest first.
    pub sweeps: Vec<Sweep>,
    /// Outputs of ours that were found by their scripts.
    pub found: Vec<OutPoint>,
    /// Outputs that the backup names and the chain does not have, and since when.
    pub missing: BTreeMap<OutPoint, u32>,
    over: Vec<ChannelIds>,
    /// By peer: what one of them says is no matter of another.
    unproven: Vec<(ChannelIds, PublicKey, Unproven)>,
}

impl Journal {
    /// Reads it from the data directory.
    pub fn load(storage: &PeerStorage, now: Time) -> Result<Journal, RecoveryError> {
        let mut journal = Journal::default();
        for bytes in storage.recovery_steps()? {
            let mut rest = bytes.as_slice();
            let step = Step::read(&mut rest).map_err(|_| RecoveryError::Journal)?;
            journal.add(step);
        }
        // A time from the future (the clock was set back) must not stop the asking for years.
        for attempts in journal.attempts.values_mut() {
            let asked = attempts.asked.iter_mut().map(|(_, at)| at);
            let unreached = attempts.unreached.iter_mut().map(|(_, at)| at);
            asked.chain(unreached).for_each(|at| *at = now.min(*at));
        }
        Ok(journal)
    }

    /// Makes a step durable; only then may follow what it announces.
    pub fn take(&mut self, storage: &PeerStorage, step: Step) -> Result<(), RecoveryError> {
        storage.add_recovery_step(&step.encode())?;
        self.add(step);
        Ok(())
    }

    pub fn is_over(&self, channel: &ChannelIds) -> bool {
        self.over.iter().any(|over| over.matches(channel))
    }

    /// Whether it is over, proven or not. What is given up is not over: money may still come.
    pub fn has_ended(&self, target: &Target) -> bool {
        self.is_over(&target.ids)
            || self.is(target, Unproven::NothingFound)
            || self.is(target, Unproven::OverByScript)
    }

    pub fn is_given_up(&self, target: &Target) -> bool {
        self.is(target, Unproven::GivenUp)
    }

    pub fn is(&self, target: &Target, how: Unproven) -> bool {
        let mut unproven = self.unproven.iter();
        unproven.any(|(ids, peer, known)| {
            *known == how && *peer == target.peer && ids.matches(&target.ids)
        })
    }

    /// The channels that were agreed to under these ids: with this peer, or with whoever says so.
    pub fn targets_of<'a>(
        &'a self,
        channel: &'a ChannelIds,
        peer: Option<PublicKey>,
    ) -> impl Iterator<Item = &'a Target> {
        let is_named = move |target: &&Target| {
            target.ids.matches(channel) && peer.is_none_or(|peer| peer == target.peer)
        };
        self.targets.iter().filter(is_named)
    }

    pub fn attempts(&self, peer: &PublicKey) -> Attempts {
        self.attempts.get(peer).cloned().unwrap_or_default()
    }

    fn add(&mut self, step: Step) {
        match step {
            Step::Agreed { terms, targets } => {
                self.terms = Some(terms);
                for target in targets {
                    self.agreed_to(target);
                }
            }
            Step::Asking { peer, way, at } => {
                self.attempts.entry(peer).or_default().asked.push((way, at));
            }
            Step::NotReached { peer, at } => {
                let attempts = self.attempts.entry(peer).or_default();
                attempts.asked.pop();
                let before = attempts.unreached.map_or(0, |(times, _)| times);
                attempts.unreached = Some((before.saturating_add(1), at));
            }
            Step::Reached { peer } => {
                self.attempts.entry(peer).or_default().unreached = None;
            }
            Step::Sweeping(sweep) => self.sweeps.push(sweep),
            Step::Over { channel } => self.over.push(channel),
            Step::Found { output } => self.found.push(output),
            Step::OverByScript { channel, peer } => {
                self.ended(&channel, peer, Unproven::OverByScript);
            }
            Step::NothingFound { channel, peer } => {
                self.ended(&channel, peer, Unproven::NothingFound);
            }
            Step::GivenUp { channel, peer } => self.ended(&channel, peer, Unproven::GivenUp),
            Step::Missing { output, height } => {
                self.missing.insert(output, height);
            }
        }
    }

    fn ended(&mut self, channel: &ChannelIds, peer: Option<PublicKey>, how: Unproven) {
        let targets = self.targets_of(channel, peer);
        let ended: Vec<_> = targets.map(|t| (t.ids, t.peer, how)).collect();
        self.unproven.extend(ended);
    }

    /// Perhaps anew: what was known before is completed, and what was thought to be its end is open again.
    fn agreed_to(&mut self, mut target: Target) {
        self.over.retain(|ids| !ids.matches(&target.ids));
        self.unproven
            .retain(|(ids, peer, _)| *peer != target.peer || !ids.matches(&target.ids));
        let same = |known: &Target| known.peer == target.peer && known.ids.matches(&target.ids);
        if let Some(at) = self.targets.iter().position(same) {
            let known = self.targets.remove(at);
            target.ids.complete_from(&known.ids);
            target.channel_keys_id = target.channel_keys_id.or(known.channel_keys_id);
            for address in known.addresses {
                if !target.addresses.contains(&address) {
                    target.addresses.push(address);
                }
            }
        }
        self.targets.push(target);
    }
}

impl_writeable_tlv_based_enum!(Step,
    (0, Agreed) => { (0, terms, required), (2, targets, required_vec) },
    (2, Asking) => { (0, peer, required), (2, way, required), (4, at, required) },
    (6, Over) => { (0, channel, required) },
    (8, NotReached) => { (0, peer, required), (2, at, required) },
    (10, Reached) => { (0, peer, required) },
    (12, GivenUp) => { (0, channel, required), (1, peer, option) },
    (14, NothingFound) => { (0, channel, required), (1, peer, option) },
    (16, Found) => { (0, output, required) },
    (18, OverByScript) => { (0, channel, required), (1, peer, option) },
    (20, Missing) => { (0, output, required), (2, height, required) },
    {4, Sweeping} => (),
);

impl_writeable_tlv_based!(Terms, {
    (0, sweep_to, required),
    (2, fee_rate, required),
    (4, highest_fee_rate, required),
});

impl_writeable_tlv_based!(Target, {
    (0, ids, required),
    (2, peer, required),
    (4, addresses, required_vec),
    (5, channel_keys_id, option),
});

impl_writeable_tlv_based_enum!(Way,
    (0, Error) => {},
    (2, BogusReestablish) => {},
);

impl_writeable_tlv_based!(Sweep, {
    (0, tx, required),
    (2, input_sat, required),
    (4, fee_rate, required),
    (6, height, required),
});

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning::ln::types::ChannelId;
    use lightning::util::ser::BigSize;

    use super::*;

    fn peer(n: u8) -> PublicKey {
        let key = SecretKey::from_slice(&[n; 32]).unwrap();
        PublicKey::from_secret_key(&Secp256k1::new(), &key)
    }

    fn of_peer(n: u8) -> Target {
        Target {
            ids: ChannelIds {
                channel_id: Some(ChannelId([7; 32])),
                ..ChannelIds::default()
            },
            peer: peer(n),
            addresses: Vec::new(),
            channel_keys_id: None,
        }
    }

    /// Both say that the one channel is theirs.
    fn journal() -> Journal {
        let mut journal = Journal::default();
        for n in [1, 2] {
            journal.agreed_to(of_peer(n));
        }
        journal
    }

    #[test]
    fn of_two_peers_that_claim_a_channel_one_is_given_up() {
        let mut journal = journal();
        journal.add(Step::GivenUp {
            channel: of_peer(1).ids,
            peer: Some(peer(1)),
        });
        assert!(journal.is_given_up(&of_peer(1)));
        assert!(!journal.is_given_up(&of_peer(2)));
        journal.agreed_to(of_peer(2));
        assert!(journal.is_given_up(&of_peer(1)), "agreed to the other");
        journal.agreed_to(of_peer(1));
        assert!(!journal.is_given_up(&of_peer(1)));
    }

    #[test]
    fn a_step_of_an_older_version_that_names_no_peer_is_read_and_means_both() {
        let ids = of_peer(1).ids.encode();
        let mut tlvs = vec![0];
        BigSize(ids.len() as u64).write(&mut tlvs).unwrap();
        tlvs.extend(ids);
        let mut old = vec![12];
        BigSize(tlvs.len() as u64).write(&mut old).unwrap();
        old.extend(tlvs);
        let mut journal = journal();
        journal.add(Step::read(&mut old.as_slice()).unwrap());
        assert!([1, 2].iter().all(|n| journal.is_given_up(&of_peer(*n))));
    }
}
