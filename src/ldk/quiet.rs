//! A channel message handler that says nothing.

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use lightning::ln::channelmanager::provided_init_features;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::config::UserConfig;

use super::forward::for_each_channel_message;

/// Does nothing with every message, and never sends one.
///
/// Decorated by [`PeerStorageHandler`](super::PeerStorageHandler) it makes the quiet node: only
/// `init`, `peer_storage`, `peer_storage_retrieval`, ping and pong ever leave, so it closes no
/// channel (safety rule 10). LDK's `ErroringMessageHandler` is no substitute: it answers channel
/// messages with an `error`, at which the peer closes the channel.
#[derive(Clone, Debug)]
pub struct QuietHandler {
    network: Network,
    init: InitFeatures,
    node: NodeFeatures,
}

impl QuietHandler {
    /// With the features of a wallet that has LDK's default configuration, and anchors.
    pub fn new(network: Network) -> Self {
        let mut config = UserConfig::default();
        let handshake = &mut config.channel_handshake_config;
        handshake.negotiate_anchors_zero_fee_htlc_tx = true;
        Self::for_config(network, &config)
    }

    /// With the features of a wallet that has this configuration.
    pub fn for_config(network: Network, config: &UserConfig) -> Self {
        let init = provided_init_features(config);
        let node = init.to_context();
        Self::with_features(network, init, node)
    }

    /// With the features that the wallet's node offers. Peers may refuse a connection that lacks
    /// what a channel with them needs.
    pub fn with_features(network: Network, init: InitFeatures, node: NodeFeatures) -> Self {
        QuietHandler {
            network,
            init,
            node,
        }
    }
}

impl BaseMessageHandler for QuietHandler {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        Vec::new()
    }

    fn peer_disconnected(&self, _their_node_id: PublicKey) {}

    fn provided_node_features(&self) -> NodeFeatures {
        let mut features = self.node.clone();
        features.set_provide_storage_optional();
        features
    }

    fn provided_init_features(&self, _their_node_id: PublicKey) -> InitFeatures {
        let mut features = self.init.clone();
        features.set_provide_storage_optional();
        features
    }

    fn peer_connected(
        &self,
        _their_node_id: PublicKey,
        _msg: &Init,
        _inbound: bool,
    ) -> Result<(), ()> {
        Ok(())
    }
}

macro_rules! ignore_channel_messages {
    ($([$kind:ident $name:ident $method:ident |$m:ident| $inbound:expr])*) => {
        impl ChannelMessageHandler for QuietHandler {
            $(ignore_message!($kind $name $method);)*

            fn handle_commitment_signed_batch(
                &self,
                _their_node_id: PublicKey,
                _channel_id: ChannelId,
                _batch: Vec<CommitmentSigned>,
            ) {
            }

            fn handle_peer_storage(&self, _their_node_id: PublicKey, _msg: PeerStorage) {}

            fn handle_peer_storage_retrieval(
                &self,
                _their_node_id: PublicKey,
                _msg: PeerStorageRetrieval,
            ) {
            }

            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                Some(vec![ChainHash::using_genesis_block(self.network)])
            }

            fn message_received(&self) {}
        }
    };
}

macro_rules! ignore_message {
    (owned $name:ident $method:ident) => {
        fn $method(&self, _their_node_id: PublicKey, _msg: $name) {}
    };
    ($kind:ident $name:ident $method:ident) => {
        fn $method(&self, _their_node_id: PublicKey, _msg: &$name) {}
    };
}

for_each_channel_message!(ignore_channel_messages);
