//! What the wallet's node tells of its channels: what a host reports to the library, in the words of its
//! `WalletReport`.

use bitcoin::hex::DisplayHex;
use ldk_peer_storage::backup::{ChannelKind, ChannelRecord, PeerRecord};
use ldk_peer_storage::exchange::WalletState;
use lightning::chain::channelmonitor::Balance;
use lightning::ln::channel_state::ChannelDetails;
use lightning::util::ser::Writeable;
use serde_json::{json, Value};
use testkit::Node;

/// All of it, and what the wallet owns in its channels.
pub fn of(node: &Node, state: &WalletState) -> Value {
    let listed = node.channels();
    let channel = |record: &ChannelRecord| {
        let mut listed = listed.iter();
        channel(
            record,
            listed.find(|c| Some(c.channel_id) == record.ids.channel_id),
        )
    };
    let outputs = state.spendable_outputs.iter();
    json!({
        "report": {
            "channels": state.channels.iter().map(channel).collect::<Vec<_>>(),
            "peers": state.peers.iter().map(peer).collect::<Vec<_>>(),
            "spendable_outputs":
                outputs.map(|o| o.encode().to_lower_hex_string()).collect::<Vec<_>>(),
            "earliest_htlc_expiry": state.earliest_htlc_expiry,
        },
        "owned_sat": owned_sat(node),
    })
}

/// Of a node that was never started.
pub fn of_none() -> Value {
    json!({
        "report": {
            "channels": [],
            "peers": [],
            "spendable_outputs": [],
            "earliest_htlc_expiry": null,
        },
        "owned_sat": 0,
    })
}

/// A channel that the node does not list any more is closed.
fn channel(record: &ChannelRecord, listed: Option<&ChannelDetails>) -> Value {
    let ids = &record.ids;
    json!({
        "channel_id": ids.channel_id.map(|id| id.to_string()),
        "counterparty_node_id": record.counterparty.to_string(),
        "funding_outpoint": ids.funding_outpoint.map(|o| o.to_string()),
        "short_channel_id": ids.short_channel_id,
        "confirmations": listed.and_then(|listed| listed.confirmations),
        "is_ready": listed.is_some_and(|listed| listed.is_channel_ready),
        "is_closed": listed.is_none(),
        "value_sat": record.value_sat.unwrap_or_default(),
        "kind": match record.kind {
            ChannelKind::StaticRemoteKey => "static_remote_key",
            ChannelKind::Anchors => "anchors",
            ChannelKind::Other => "other",
        },
        "state_stamp": record.update_id,
        "channel_keys_id": record.channel_keys_id.map(|id| id.to_lower_hex_string()),
    })
}

fn peer(peer: &PeerRecord) -> Value {
    let addresses = peer.addresses.iter().map(ToString::to_string);
    json!({
        "node_id": peer.node_id.to_string(),
        "addresses": addresses.collect::<Vec<_>>(),
    })
}

/// What a close of all channels would bring. The peers have opened them, and so pay for the commitment
/// transactions: it is the wallet's balance to the satoshi.
fn owned_sat(node: &Node) -> u64 {
    let monitors = &node.parts().chain_monitor;
    let balances = monitors.get_claimable_balances(&[]);
    balances
        .iter()
        .map(Balance::claimable_amount_satoshis)
        .sum()
}
