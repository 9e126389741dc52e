//! Snapshots that the tests of `backup` share. Nothing in them is random.

#![allow(dead_code, clippy::unwrap_used)] // each test takes what it needs

use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, TxOut, Txid};
use ldk_peer_storage::backup::{
    BackupKey, ChannelIds, ChannelKind, ChannelPhase, ChannelRecord, InstallationId, MonitorRecord,
    PeerRecord, Revision, Snapshot,
};
use lightning::ln::chan_utils::{
    ChannelPublicKeys, ChannelTransactionParameters, CounterpartyChannelTransactionParameters,
};
use lightning::ln::channel_keys::{
    DelayedPaymentBasepoint, HtlcBasepoint, RevocationBasepoint, RevocationKey,
};
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;
use lightning::sign::{
    DelayedPaymentOutputDescriptor, SpendableOutputDescriptor, StaticPaymentOutputDescriptor,
};
use lightning::types::features::ChannelTypeFeatures;

pub fn key() -> BackupKey {
    BackupKey::derive(&[0x11; 32], Network::Bitcoin, &node_id(1))
}

pub fn node_id(secret: u16) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[30..].copy_from_slice(&secret.to_be_bytes());
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&bytes).unwrap())
}

pub fn empty() -> Snapshot {
    Snapshot {
        revision: Revision {
            epoch: 3,
            generation: 1_000_000,
        },
        installation: InstallationId([0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8]),
        peers: Vec::new(),
        channels: Vec::new(),
        spendable_outputs: Vec::new(),
        app_data: Vec::new(),
        monitors: Vec::new(),
    }
}

/// A peer with an IPv4 address.
pub fn peer(secret: u16) -> PeerRecord {
    PeerRecord {
        node_id: node_id(secret),
        addresses: vec![ipv4(secret as u8)],
    }
}

/// A ready channel with that peer, confirmed, of a value that grows with `secret`.
pub fn channel(secret: u16) -> ChannelRecord {
    ChannelRecord {
        counterparty: node_id(secret),
        ids: ChannelIds {
            short_channel_id: Some((800_000 << 40) | (u64::from(secret) << 16) | 1),
            funding_outpoint: Some(OutPoint::new(txid(secret), 1)),
            channel_id: Some(ChannelId([secret as u8; 32])),
        },
        update_id: 100 + u64::from(secret),
        phase: ChannelPhase::Ready,
        restored: false,
        kind: ChannelKind::Anchors,
        channel_keys_id: None,
        value_sat: Some(100_000 * u64::from(secret)),
    }
}

/// What stands for the monitor of that channel, up to its stamp.
pub fn monitor(secret: u16, len: usize) -> MonitorRecord {
    let channel = channel(secret);
    MonitorRecord {
        channel: channel.ids.channel_id.unwrap(),
        update_id: channel.update_id,
        pending_htlcs: false,
        bytes: Arc::new(vec![secret as u8; len].into()),
    }
}

/// The rich sample, with monitors of three of its channels; one is behind, one has HTLCs pending.
pub fn with_monitors() -> Snapshot {
    let mut snapshot = rich();
    snapshot.monitors = vec![monitor(5, 700), monitor(3, 1200), monitor(2, 300)];
    snapshot.monitors[1].update_id -= 1;
    snapshot.monitors[2].pending_htlcs = true;
    snapshot
}

/// Every kind of everything that the first blobs had, in an order that the format has to restore.
pub fn rich() -> Snapshot {
    let mut snapshot = empty();
    snapshot.peers = vec![
        PeerRecord {
            node_id: node_id(2),
            addresses: vec![ipv4(2), tor_v3(2), hostname("node.example.com")],
        },
        PeerRecord {
            node_id: node_id(3),
            addresses: vec![tor_v3(3), ipv6(3)],
        },
        PeerRecord {
            node_id: node_id(4),
            addresses: vec![hostname("other.example.com")],
        },
        PeerRecord {
            node_id: node_id(5),
            addresses: Vec::new(),
        },
        PeerRecord {
            node_id: node_id(6),
            addresses: vec![SocketAddress::OnionV2([6; 12]), ipv6(6)],
        },
    ];
    snapshot.channels = vec![
        channel(3),
        // Closing, with v1 keys, and a stamp of nine bytes.
        ChannelRecord {
            phase: ChannelPhase::Closing,
            kind: ChannelKind::StaticRemoteKey,
            channel_keys_id: Some([0x44; 32]),
            update_id: u64::MAX,
            ..channel(2)
        },
        // Not confirmed yet.
        ChannelRecord {
            ids: ChannelIds {
                short_channel_id: None,
                ..channel(5).ids
            },
            phase: ChannelPhase::Opening,
            ..channel(5)
        },
        // Known from another backup alone; its counterparty is no listed peer.
        ChannelRecord {
            ids: ChannelIds {
                channel_id: Some(ChannelId([0x77; 32])),
                ..ChannelIds::default()
            },
            restored: true,
            kind: ChannelKind::Other,
            value_sat: None,
            ..channel(7)
        },
        channel(2),
    ];
    snapshot.spendable_outputs = spendable_outputs(1);
    snapshot.app_data = b"labels and settings".to_vec();
    snapshot
}

/// Twenty channels, which are more than fit into 1024 bytes.
pub fn crowded() -> Snapshot {
    let mut snapshot = empty();
    snapshot.peers = (2..22).map(peer).collect();
    snapshot.channels = (2..22).map(channel).collect();
    snapshot
}

pub fn ipv4(last: u8) -> SocketAddress {
    SocketAddress::TcpIpV4 {
        addr: [203, 0, 113, last],
        port: 9735,
    }
}

pub fn ipv6(last: u8) -> SocketAddress {
    let mut addr = [0x20; 16];
    addr[15] = last;
    SocketAddress::TcpIpV6 { addr, port: 9736 }
}

pub fn tor_v3(byte: u8) -> SocketAddress {
    SocketAddress::OnionV3 {
        ed25519_pubkey: [byte; 32],
        checksum: 0x1234,
        version: 3,
        port: 9737,
    }
}

pub fn hostname(name: &str) -> SocketAddress {
    SocketAddress::Hostname {
        hostname: name.to_owned().try_into().unwrap(),
        port: 9738,
    }
}

/// One of each kind.
pub fn spendable_outputs(byte: u8) -> Vec<SpendableOutputDescriptor> {
    let outpoint = lightning::chain::transaction::OutPoint {
        txid: txid(byte.into()),
        index: 1,
    };
    let output = TxOut {
        value: Amount::from_sat(50_000),
        script_pubkey: ScriptBuf::from_bytes(vec![byte; 22]),
    };
    vec![
        SpendableOutputDescriptor::StaticOutput {
            outpoint,
            output: output.clone(),
            channel_keys_id: Some([byte; 32]),
        },
        SpendableOutputDescriptor::DelayedPaymentOutput(DelayedPaymentOutputDescriptor {
            outpoint,
            per_commitment_point: node_id(20),
            to_self_delay: 144,
            output: output.clone(),
            revocation_pubkey: RevocationKey(node_id(21)),
            channel_keys_id: [byte; 32],
            channel_value_satoshis: 100_000,
            channel_transaction_parameters: None,
        }),
        SpendableOutputDescriptor::StaticPaymentOutput(StaticPaymentOutputDescriptor {
            outpoint,
            output,
            channel_keys_id: [byte; 32],
            channel_value_satoshis: 100_000,
            channel_transaction_parameters: Some(ChannelTransactionParameters {
                holder_pubkeys: channel_public_keys(22),
                holder_selected_contest_delay: 144,
                is_outbound_from_holder: true,
                counterparty_parameters: Some(CounterpartyChannelTransactionParameters {
                    pubkeys: channel_public_keys(27),
                    selected_contest_delay: 720,
                }),
                funding_outpoint: Some(outpoint),
                splice_parent_funding_txid: None,
                channel_type_features: ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies(
                ),
                channel_value_satoshis: 100_000,
            }),
        }),
    ]
}

fn channel_public_keys(first_secret: u16) -> ChannelPublicKeys {
    ChannelPublicKeys {
        funding_pubkey: node_id(first_secret),
        revocation_basepoint: RevocationBasepoint(node_id(first_secret + 1)),
        payment_point: node_id(first_secret + 2),
        delayed_payment_basepoint: DelayedPaymentBasepoint(node_id(first_secret + 3)),
        htlc_basepoint: HtlcBasepoint(node_id(first_secret + 4)),
    }
}

fn txid(byte: u16) -> Txid {
    Txid::from_byte_array([byte as u8; 32])
}
