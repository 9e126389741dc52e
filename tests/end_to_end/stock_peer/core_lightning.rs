//! Core Lightning keeps nothing before the channel is ready, and says nothing about it.

use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use ldk_peer_storage::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, Tier};
use ldk_peer_storage::exchange::{Health, WalletState};
use ldk_peer_storage::service::WalletSource;
use lightning::ln::types::ChannelId;
use testkit::raw_peer::channel_messages;
use testkit::{wait_until, Outgoing, RawPeer, DEADLINE};

use crate::support::{of_peer, QuietNode};

const CHANNEL: ChannelId = ChannelId([3; 32]);

/// A wallet with one channel, as far along as the test says.
struct OneChannel(Mutex<ChannelRecord>);

impl WalletSource for OneChannel {
    fn wallet_state(&self) -> WalletState {
        WalletState {
            channels: vec![self.0.lock().unwrap().clone()],
            ..WalletState::default()
        }
    }
}

fn opening(counterparty: PublicKey) -> ChannelRecord {
    ChannelRecord {
        counterparty,
        ids: ChannelIds {
            channel_id: Some(CHANNEL),
            ..ChannelIds::default()
        },
        update_id: 0,
        phase: ChannelPhase::Opening,
        restored: false,
        kind: ChannelKind::Anchors,
        channel_keys_id: None,
        value_sat: Some(1_000_000),
    }
}

#[test]
fn what_was_dropped_before_the_channel_was_ready_is_sent_again_and_comes_back_fresh() {
    let dir = tempfile::tempdir().unwrap();
    let peer = RawPeer::new("cln");
    let phone = QuietNode::start([8; 32], dir.path());
    let wallet = Arc::new(OneChannel(Mutex::new(opening(peer.id()))));
    phone.storage.attach(wallet.clone());
    phone.storage.declare_new().unwrap();

    // What it keeps is replaced at once, whatever the size, and returned before its 136.
    let kept: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let ready = Arc::new(Mutex::new(false));
    let (keep, is_ready) = (kept.clone(), ready.clone());
    peer.on_message(move |message| {
        if message.type_id == 7 && *is_ready.lock().unwrap() {
            *keep.lock().unwrap() = Some(message.blob());
        }
        Vec::new()
    });
    let keep = kept.clone();
    peer.on_connect(move |to, _| {
        let kept = keep.lock().unwrap().clone();
        // Raw, so that LDK keeps the order of the two.
        let returned = kept.map(|blob| Outgoing::raw(to, 9, &blob));
        returned.into_iter().chain([reestablish(to)]).collect()
    });
    let reconnect = || {
        phone.disconnect(peer.id());
        wait_until("both to be gone", DEADLINE, || {
            !phone.is_connected(&peer.id()) && !peer.is_connected(&phone.id())
        });
        assert!(phone.connect(peer.id(), peer.addr()));
    };
    let health = || of_peer(&phone.storage, &peer.id()).unwrap().health;

    assert!(phone.connect(peer.id(), peer.addr()));
    peer.wait_received("a backup for the opening channel", 0, |m| m.type_id == 7);
    reconnect();
    wait_until("it to be sent again", DEADLINE, || pushes(&peer) == 2);
    reconnect();
    wait_until("it to be sent a third time", DEADLINE, || {
        pushes(&peer) == 3
    });
    assert!(phone.storage.alarms().is_empty(), "no channel is ready yet");
    assert_eq!(phone.storage.status().backup.unprotected_channels, 1);

    // The channel becomes ready while they are connected.
    *ready.lock().unwrap() = true;
    wallet.0.lock().unwrap().phase = ChannelPhase::Ready;
    phone.storage.wallet_changed();
    wait_until("the backup to be sent again", DEADLINE, || {
        kept.lock().unwrap().is_some()
    });
    assert!(phone.storage.flush(DEADLINE));
    phone.storage.set_app_data(vec![4; 3000]);
    wait_until("the large one to be kept", DEADLINE, || {
        kept.lock()
            .unwrap()
            .as_ref()
            .is_some_and(|blob| blob.len() > 1024)
    });
    reconnect();
    wait_until("all of it to be verified", DEADLINE, || {
        health() == Health::Verified
    });
    let verified = of_peer(&phone.storage, &peer.id())
        .unwrap()
        .verified
        .unwrap();
    assert_eq!(verified.tier, Tier::Full);
    let status = phone.storage.status().backup;
    assert_eq!(
        (status.verified_whole_by, status.unprotected_channels),
        (1, 0)
    );
    assert!(status.alarms.is_empty());
    phone.stop();
}

fn pushes(peer: &RawPeer) -> usize {
    peer.received().iter().filter(|m| m.type_id == 7).count()
}

fn reestablish(to: PublicKey) -> Outgoing {
    let samples = channel_messages(CHANNEL);
    let found = samples.into_iter().find(|(type_id, _)| *type_id == 136);
    let (type_id, body) = found.expect("a sample");
    Outgoing::Raw { to, type_id, body }
}
