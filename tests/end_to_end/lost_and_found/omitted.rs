//! More than fits: what is left out is chosen by priority, and named.

use std::sync::{Arc, Mutex};

use ldk_peer_storage::backup::{ChannelIds, ChannelPhase, Part, Tier, SMALL_BLOB};
use ldk_peer_storage::exchange::{Event, WalletState};
use ldk_peer_storage::service::WalletSource;
use testkit::{wait_until, RawPeer, DEADLINE};

use super::{channel, returns, seed};
use crate::support::{backup_key, take_events, QuietNode};

/// A wallet that has what the test says.
#[derive(Default)]
struct Synthetic(Mutex<WalletState>);

impl WalletSource for Synthetic {
    fn wallet_state(&self) -> WalletState {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn channels_that_do_not_fit_a_small_blob_are_dropped_by_priority_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let peer = RawPeer::new("peer");
    let seed = seed("phone");
    let phone = QuietNode::start(seed, dir.path());
    let wallet = Arc::new(Synthetic::default());
    {
        let mut state = wallet.0.lock().unwrap();
        // The even ones are closing, and higher numbers are larger.
        state.channels = (1..=200).map(|n| channel(n, peer.id())).collect();
        for closing in state.channels.iter_mut().skip(1).step_by(2) {
            closing.phase = ChannelPhase::Closing;
        }
    }
    phone.storage.attach(wallet.clone());
    phone.storage.declare_new().unwrap();
    // A peer with a channel returns something, or nothing is pushed to it.
    returns(&peer, Vec::new());
    assert!(phone.connect(peer.id(), peer.addr()));

    wait_until("a small and a large blob", DEADLINE, || {
        peer.pushed_by(&phone.id()).len() == 2
    });
    let pushed = peer.pushed_by(&phone.id());
    assert_eq!(pushed[0].len(), SMALL_BLOB);
    let small = backup_key(&seed).open_snapshot(&pushed[0]).unwrap();
    let large = backup_key(&seed).open_snapshot(&pushed[1]).unwrap();
    assert!(small.trimmed && small.tier == Tier::Essential);
    assert_eq!((large.snapshot.channels.len(), large.trimmed), (200, false));

    let number = |ids: &ChannelIds| ids.short_channel_id.unwrap() >> 40;
    let mut kept: Vec<u64> = small
        .snapshot
        .channels
        .iter()
        .map(|c| number(&c.ids))
        .collect();
    kept.sort_unstable();
    let largest_open: Vec<u64> = (1..=200)
        .filter(|n| n % 2 == 1)
        .rev()
        .take(kept.len())
        .collect();
    assert!(kept.iter().eq(largest_open.iter().rev()), "{kept:?}");
    let omitted = take_events(&phone.storage)
        .into_iter()
        .find_map(|event| match event {
            Event::Omitted {
                tier: Tier::Essential,
                channels,
                ..
            } => Some(channels),
            _ => None,
        });
    let mut all: Vec<u64> = omitted.unwrap().iter().map(number).chain(kept).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=200), "each channel is kept or named");
    phone.stop();
}

#[test]
fn app_data_that_fits_no_blob_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let peer = RawPeer::new("peer");
    let seed = seed("phone");
    let phone = QuietNode::start(seed, dir.path());
    let wallet = Arc::new(Synthetic::default());
    wallet.0.lock().unwrap().channels = vec![channel(1, peer.id())];
    phone.storage.attach(wallet.clone());
    phone.storage.declare_new().unwrap();
    phone.storage.set_app_data(vec![7; 70_000]);
    returns(&peer, Vec::new());
    assert!(phone.connect(peer.id(), peer.addr()));
    peer.wait_received("a backup", 0, |m| m.type_id == 7);
    assert!(phone.storage.flush(DEADLINE));
    let named = |event: &Event| matches!(event, Event::PartsOmitted { parts, .. } if parts == &[Part::AppData]);
    assert!(take_events(&phone.storage).iter().any(named));
    for blob in peer.pushed_by(&phone.id()) {
        let contents = backup_key(&seed).open_snapshot(&blob).unwrap();
        assert_eq!(contents.snapshot.channels.len(), 1);
    }
    phone.stop();
}
