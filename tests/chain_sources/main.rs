//! What a recovery is told of the chain: the same by a host's own source and by an Esplora server, and
//! nothing wrong by a server that is broken or lies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_servers;
mod proxy;
mod server_limits;
mod suite;

#[path = "../support/chain_source.rs"]
mod chain_source;

use std::sync::Arc;

use bitcoin::Network;
use chain_source::OwnChainSource;
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::chain::ChainSource;
use testkit::{Chain, EsploraServer};

/// A chain, and the sources that have to agree on it.
struct Stage {
    chain: Arc<Chain>,
    server: EsploraServer,
}

impl Stage {
    fn new() -> Stage {
        let chain = Chain::new();
        let server = EsploraServer::start(&chain);
        Stage { chain, server }
    }

    fn own(&self) -> OwnChainSource {
        OwnChainSource::new(&self.chain)
    }

    fn esplora(&self) -> EsploraSource {
        EsploraSource::new(self.config()).expect("a good address")
    }

    fn config(&self) -> EsploraConfig {
        EsploraConfig::new(self.server.url(), Network::Regtest)
    }
}

/// Each test of the suite, for each source.
macro_rules! for_each_source {
    ($($test:ident)*) => {
        mod own {
            $(#[test]
            fn $test() {
                let stage = super::Stage::new();
                super::suite::$test(&stage.chain, &stage.own());
            })*
        }

        mod esplora {
            $(#[test]
            fn $test() {
                let stage = super::Stage::new();
                super::suite::$test(&stage.chain, &stage.esplora());
            })*
        }
    };
}

for_each_source! {
    the_tip_and_the_headers_follow_the_chain
    a_transaction_is_found_before_and_after_it_confirms
    a_short_channel_id_leads_to_a_funding_transaction
    a_spend_is_seen_in_the_mempool_and_in_a_block
    a_spend_that_is_replaced_is_forgotten
    a_reorganisation_takes_a_confirmation_back
    a_reorganisation_can_bring_another_spend
    every_output_of_a_script_is_found_spent_or_not
    a_long_history_is_found_whole
    a_transaction_is_broadcast_once_or_twice_or_refused
}

#[test]
fn the_two_sources_say_the_same() {
    let stage = Stage::new();
    let sources: [&dyn ChainSource; 2] = [&stage.own(), &stage.esplora()];
    suite::they_agree(&stage.chain, sources);
}
