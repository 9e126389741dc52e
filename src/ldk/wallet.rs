//! The state of an LDK node, as the backup wants it.

mod keys;
mod listed;
mod monitors;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::AChannelManager;
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use lightning::types::features::ChannelTypeFeatures;
use zeroize::Zeroizing;

pub use keys::ChannelKeys;
pub use listed::ListedChannel;
pub use monitors::{Monitor, Monitors};

use crate::backup::{
    ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, MonitorRecord, PeerRecord,
};
use crate::exchange::WalletState;
use crate::locks::lock;
use crate::service::WalletSource;
use keys::{KeyFinder, KeyPlace};
use monitors::Shared;

/// Where peers can be reached.
///
/// Asked while the live state is read. It must not call the `PeerManager`: one of its threads may be
/// waiting for that state.
pub trait AddressBook: Send + Sync {
    /// The addresses of a peer, the one most likely to work first.
    fn addresses(&self, peer: &PublicKey) -> Vec<SocketAddress>;
}

impl<F: Fn(&PublicKey) -> Vec<SocketAddress> + Send + Sync> AddressBook for F {
    fn addresses(&self, peer: &PublicKey) -> Vec<SocketAddress> {
        self(peer)
    }
}

/// The state of a node that runs with LDK's `ChannelManager` and `ChainMonitor`, or of one that does not
/// run and has stored its monitors, for
/// [`PeerStorage::attach`](crate::service::PeerStorage::attach).
///
/// A channel is reported from its first monitor until that is archived. Reading takes LDK's locks for
/// a moment each; never read it inside of `Persist` or with a lock held that LDK's threads may wait
/// for. For the live state monitors are not encoded, but once for each channel whose keys cannot be
/// told otherwise; [`WalletSource::monitors`] encodes all of them, one after the other.
pub struct LdkWallet {
    channels: Box<dyn Fn() -> Vec<ListedChannel> + Send + Sync>,
    monitors: Box<dyn Monitors + Send + Sync>,
    addresses: Box<dyn AddressBook>,
    spendable_outputs: Box<dyn Fn() -> Vec<SpendableOutputDescriptor> + Send + Sync>,
    keys: KeyFinder,
    /// Channels whose keys were not found, as far as known.
    without_keys: Mutex<BTreeSet<ChannelId>>,
}

impl LdkWallet {
    /// Of a node that is loaded. `keys` are those of its signer provider.
    pub fn new<C, M>(
        channel_manager: C,
        chain_monitor: M,
        keys: Arc<dyn ChannelKeys>,
        addresses: impl AddressBook + 'static,
    ) -> Self
    where
        C: Deref + Send + Sync + 'static,
        C::Target: AChannelManager,
        M: Deref + Send + Sync + 'static,
        M::Target: Monitors,
    {
        let channels = move || {
            let details = channel_manager.get_cm().list_channels();
            details.iter().map(ListedChannel::from).collect()
        };
        LdkWallet::read_by(Box::new(channels), chain_monitor, keys, addresses)
    }

    /// Of a node that does not run, for the app that does not get at its `ChannelManager`. `monitors` are
    /// all that it has stored and not archived, as LDK reads them
    /// (`MonitorUpdatingPersister::read_all_channel_monitors_with_updates`, `read_channel_monitors`);
    /// `channels` all that it lists, in their final state. `keys` are those of its signer provider: a
    /// monitor tells which of them a channel has.
    ///
    /// None of it may change while this is attached. A monitor without a listed channel is that of a
    /// closed one; a listed channel without a monitor is not funded yet. What these monitors say is
    /// durable: report it to [`monitor_written`](crate::service::PeerStorage::monitor_written).
    pub fn stopped<M>(
        monitors: M,
        channels: Vec<ListedChannel>,
        keys: Arc<dyn ChannelKeys>,
        addresses: impl AddressBook + 'static,
    ) -> Self
    where
        M: Deref + Send + Sync + 'static,
        M::Target: Monitors,
    {
        LdkWallet::read_by(
            Box::new(move || channels.clone()),
            monitors,
            keys,
            addresses,
        )
    }

    fn read_by<M>(
        channels: Box<dyn Fn() -> Vec<ListedChannel> + Send + Sync>,
        monitors: M,
        keys: Arc<dyn ChannelKeys>,
        addresses: impl AddressBook + 'static,
    ) -> Self
    where
        M: Deref + Send + Sync + 'static,
        M::Target: Monitors,
    {
        LdkWallet {
            channels,
            monitors: Box::new(Shared(monitors)),
            addresses: Box::new(addresses),
            spendable_outputs: Box::new(Vec::new),
            keys: KeyFinder::new(keys),
            without_keys: Mutex::default(),
        }
    }

    /// With the outputs on the chain that LDK has handed to the host (`Event::SpendableOutputs`) and
    /// that are not yet swept, as `OutputSweeper::tracked_spendable_outputs` lists them.
    pub fn spendable_outputs(
        mut self,
        list: impl Fn() -> Vec<SpendableOutputDescriptor> + Send + Sync + 'static,
    ) -> Self {
        self.spendable_outputs = Box::new(list);
        self
    }

    /// Channels whose keys were not found, as far as they have been read: the keys given are not theirs,
    /// or a v1 channel's `channel_keys_id` could not be found out. A wallet that has lost everything else
    /// could not sweep its output, so the backup names them as [`ChannelKind::Other`]: a plan then shows
    /// [`Claim::Unsupported`](crate::recovery::Claim::Unsupported), and none is closed. Not to be expected
    /// with LDK's `KeysManager`; logged as an error as well.
    pub fn channels_without_keys(&self) -> Vec<ChannelId> {
        lock(&self.without_keys).iter().copied().collect()
    }

    fn record(&self, monitor: &dyn Monitor, listed: Option<&ListedChannel>) -> ChannelRecord {
        let id = monitor.channel_id();
        let funding = monitor.funding_outpoint().into_bitcoin_outpoint();
        let kind = kind(&monitor.channel_type());
        let redeem_script = listed.and_then(|listed| listed.funding_redeem_script.as_deref());
        let keys = self.keys.find(monitor, redeem_script);
        self.note_keys(id, kind, keys.place);
        let (kind, channel_keys_id) = match keys.place {
            KeyPlace::V2List => (kind, None),
            KeyPlace::ChannelKeysId(id) => (kind, Some(id)),
            // A record of another kind and without an id would say that the seed alone gives the keys.
            KeyPlace::Unknown => (ChannelKind::Other, None),
        };
        ChannelRecord {
            counterparty: monitor.counterparty(),
            ids: ChannelIds {
                short_channel_id: listed
                    .filter(|listed| listed.funding_outpoint == Some(funding))
                    .and_then(ListedChannel::buried_short_channel_id),
                funding_outpoint: Some(funding),
                channel_id: Some(id),
            },
            update_id: monitor.latest_update_id(),
            phase: listed.map_or(ChannelPhase::Closing, ListedChannel::phase),
            restored: false,
            kind,
            channel_keys_id,
            value_sat: listed
                .map(|listed| listed.value_sat)
                .or(keys.channel_value_sat),
        }
    }

    fn note_keys(&self, id: ChannelId, kind: ChannelKind, place: KeyPlace) {
        let mut without_keys = lock(&self.without_keys);
        if place != KeyPlace::Unknown || kind == ChannelKind::Other {
            without_keys.remove(&id);
        } else if without_keys.insert(id) {
            log::error!("the keys of a channel were not found: its backup is incomplete");
        }
    }
}

impl WalletSource for LdkWallet {
    fn holds_secret(
        &self,
        channel: &ChannelId,
        next_revocation_number: u64,
        secret: &[u8; 32],
    ) -> Option<bool> {
        self.keys
            .holds_secret(channel, next_revocation_number, secret)
    }

    fn monitors(&self) -> Vec<MonitorRecord> {
        let listed = (self.channels)();
        let has_htlcs = |listed: &&ListedChannel| listed.htlc_expiries.iter().flatten().count() > 0;
        let with_htlcs = listed.iter().filter(has_htlcs);
        let with_htlcs: BTreeSet<_> = with_htlcs.map(|listed| listed.channel_id).collect();
        let mut records = Vec::new();
        for id in self.monitors.ids() {
            self.monitors.look(id, &mut |monitor| {
                records.extend(monitor_record(monitor, with_htlcs.contains(&id)));
            });
        }
        records
    }

    fn wallet_state(&self) -> WalletState {
        // The monitors first: a channel that comes to be meanwhile is then in neither list or in
        // both, and is not taken for a closed one.
        let monitors = self.monitors.ids();
        let listed: BTreeMap<_, _> = (self.channels)()
            .into_iter()
            .map(|listed| (listed.channel_id, listed))
            .collect();
        if !monitors.is_empty() {
            // Takes a moment, the first time: not while LDK's monitors are locked.
            self.keys.prepare();
        }
        let mut state = WalletState {
            spendable_outputs: (self.spendable_outputs)(),
            ..WalletState::default()
        };
        let mut expiries = Vec::new();
        for listed in listed.values() {
            expiries.extend(listed.htlc_expiries.iter().flatten().copied());
        }
        for id in monitors {
            let listed = listed.get(&id);
            self.monitors.look(id, &mut |monitor| {
                state.channels.push(self.record(monitor, listed));
                if listed.is_none_or(|listed| listed.htlc_expiries.is_none()) {
                    expiries.extend(monitor.htlc_expiries());
                }
            });
        }
        state.earliest_htlc_expiry = expiries.into_iter().min();
        let peers: BTreeSet<_> = state.channels.iter().map(|c| c.counterparty).collect();
        state.peers = peers
            .into_iter()
            .map(|node_id| PeerRecord {
                node_id,
                addresses: self.addresses.addresses(&node_id),
            })
            .collect();
        state
    }
}

/// None where the monitor moved on meanwhile: it is read again when that is written.
fn monitor_record(monitor: &dyn Monitor, pending_htlcs: bool) -> Option<MonitorRecord> {
    let update_id = monitor.latest_update_id();
    let bytes = Zeroizing::new(monitor.encoded());
    let pending_htlcs = pending_htlcs || !monitor.htlc_expiries().is_empty();
    (monitor.latest_update_id() == update_id).then(|| MonitorRecord {
        channel: monitor.channel_id(),
        update_id,
        pending_htlcs,
        bytes: Arc::new(bytes),
    })
}

fn kind(features: &ChannelTypeFeatures) -> ChannelKind {
    if features.supports_taproot()
        || features.supports_anchor_zero_fee_commitments()
        || features.supports_anchors_nonzero_fee_htlc_tx()
    {
        ChannelKind::Other
    } else if features.supports_anchors_zero_fee_htlc_tx() {
        ChannelKind::Anchors
    } else if features.supports_static_remote_key() {
        ChannelKind::StaticRemoteKey
    } else {
        ChannelKind::Other
    }
}

impl fmt::Debug for LdkWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdkWallet").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use bitcoin::Transaction;
    use lightning::chain::transaction::OutPoint;

    use super::*;

    /// Moves on by this much whenever it is encoded.
    struct Busy(AtomicU64, u64);

    impl Monitor for Busy {
        fn channel_id(&self) -> ChannelId {
            ChannelId([1; 32])
        }
        fn counterparty(&self) -> PublicKey {
            let secret = SecretKey::from_slice(&[1; 32]).unwrap();
            secret.public_key(&Secp256k1::new())
        }
        fn latest_update_id(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
        fn funding_outpoint(&self) -> OutPoint {
            OutPoint {
                txid: bitcoin::hashes::Hash::all_zeros(),
                index: 0,
            }
        }
        fn channel_type(&self) -> ChannelTypeFeatures {
            ChannelTypeFeatures::empty()
        }
        fn spendable_outputs(&self, _tx: &Transaction) -> Vec<SpendableOutputDescriptor> {
            Vec::new()
        }
        fn encoded(&self) -> Vec<u8> {
            self.0.fetch_add(self.1, Ordering::SeqCst);
            vec![7; 9]
        }
        fn htlc_expiries(&self) -> Vec<u32> {
            vec![800_000]
        }
    }

    #[test]
    fn only_kinds_that_can_be_swept_are_told_apart() {
        let mut of_type = ChannelTypeFeatures::only_static_remote_key();
        assert_eq!(kind(&of_type), ChannelKind::StaticRemoteKey);
        let zero_fee = ChannelTypeFeatures::anchors_zero_fee_commitments();
        assert_eq!(kind(&zero_fee), ChannelKind::Other);
        of_type.set_anchor_zero_fee_commitments_required();
        assert_eq!(kind(&of_type), ChannelKind::Other);
        let mut of_type = ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies();
        assert_eq!(kind(&of_type), ChannelKind::Anchors);
        of_type.set_taproot_required();
        assert_eq!(kind(&of_type), ChannelKind::Other);
        assert_eq!(kind(&ChannelTypeFeatures::empty()), ChannelKind::Other);
    }

    #[test]
    fn a_monitor_that_moves_on_while_it_is_encoded_is_not_given() {
        let still = monitor_record(&Busy(AtomicU64::new(5), 0), false).unwrap();
        assert_eq!((still.update_id, still.pending_htlcs), (5, true));
        assert_eq!(**still.bytes, [7; 9]);
        assert!(monitor_record(&Busy(AtomicU64::new(5), 1), false).is_none());
    }
}
