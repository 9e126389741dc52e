//! Building a node from its directory.

use std::io::Cursor;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use lightning::chain::chainmonitor::ChainMonitor;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::chain::{BestBlock, Listen};
use lightning::ln::channelmanager::{ChainParameters, ChannelManager, ChannelManagerReadArgs};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::sign::{EntropySource, InMemorySigner, KeysManager, NodeSigner, Recipient};
use lightning::util::config::UserConfig;
use lightning::util::ser::ReadableArgs;

use super::disk::Disk;
use super::plug::Plug;
use super::pump::{self, Pump};
use super::types::{
    DynBroadcaster, DynFeeEstimator, DynLogger, DynPersist, FixedFees, NoMessageRouter, NoRouter,
    TestChainMonitor, TestChannelManager,
};
use super::wallet::Wallet;
use super::{ChannelType, KeyDerivation, Node, NodeConfig, NodeParts, Shared};
use crate::chain::ChainAccess;
use crate::net::Net;
use crate::panics::ThreadTag;
use crate::wire::{MemoryLog, WireTap};

pub(super) fn start(config: NodeConfig) -> Result<Node, String> {
    let plug = Arc::new(Plug::new(&config.chain));
    let chain = Arc::clone(&plug) as Arc<dyn ChainAccess>;
    let extension = Arc::clone(&config.extension);
    let disk = Arc::new(Disk::open(&config.dir));
    let wallet = Arc::new(Wallet::new(&config.name, Arc::clone(&chain)));
    let log = Arc::new(MemoryLog::default());
    let wire = Arc::new(WireTap::new(
        extension.logger(Arc::clone(&log) as Arc<DynLogger>),
    ));
    let parts = load(&config, chain, &disk, &wallet, &wire)?;
    if config.channel_type == ChannelType::Anchors {
        wallet.fill();
    }

    let tag = ThreadTag::new(&config.name);
    let peer_manager = Arc::new(PeerManager::new(
        MessageHandler {
            chan_handler: extension.message_handler(&parts),
            route_handler: Arc::new(IgnoringMessageHandler {}),
            onion_message_handler: Arc::new(IgnoringMessageHandler {}),
            custom_message_handler: Arc::new(IgnoringMessageHandler {}),
            send_only_message_handler: Arc::clone(&parts.chain_monitor),
        },
        now().as_secs() as u32,
        &parts.keys.get_secure_random_bytes(),
        Arc::clone(&parts.logger),
        Arc::clone(&parts.keys),
    ));
    extension.started(&parts, Arc::clone(&peer_manager));
    let net = Net::start(&tag, config.listen, Arc::clone(&peer_manager));
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        spendable: Mutex::new(disk.spendable()),
        disk,
        events: Mutex::default(),
        more_events: Condvar::new(),
    });
    let pump = Pump::new(
        parts.clone(),
        Arc::clone(&peer_manager),
        Arc::clone(&shared),
        Arc::clone(&wallet),
        extension,
    );
    let mut threads = vec![pump::spawn(&tag, pump)];
    for _ in 0..config.drain_threads {
        threads.push(pump::spawn_drain(
            &tag,
            Arc::clone(&peer_manager),
            Arc::clone(&shared),
        ));
    }
    Ok(Node {
        addr: net.addr(),
        net: Some(net),
        config,
        parts,
        peer_manager,
        shared,
        tag,
        log,
        wire,
        wallet,
        plug,
        threads,
    })
}

/// The LDK objects, with the state that the directory has, brought up to the chain's tip.
fn load(
    config: &NodeConfig,
    chain: Arc<dyn ChainAccess>,
    disk: &Arc<Disk>,
    wallet: &Arc<Wallet>,
    wire: &Arc<WireTap>,
) -> Result<NodeParts, String> {
    let extension = &config.extension;
    let v2 = config.keys == KeyDerivation::V2;
    let now = now();
    let keys = KeysManager::new(&config.seed, now.as_secs(), now.subsec_nanos(), v2);
    let keys = Arc::new(keys);
    let logger = Arc::clone(wire) as Arc<DynLogger>;
    let broadcaster = extension.broadcaster(Arc::clone(wallet) as Arc<DynBroadcaster>);
    let persister = extension.persister(Arc::clone(disk) as Arc<DynPersist>);
    let fees = Arc::new(FixedFees) as Arc<DynFeeEstimator>;
    let chain_monitor: Arc<TestChainMonitor> = Arc::new(ChainMonitor::new(
        None,
        Arc::clone(&broadcaster),
        Arc::clone(&logger),
        Arc::clone(&fees),
        Arc::clone(&persister),
        Arc::clone(&keys),
        keys.get_peer_storage_key(),
    ));

    let mut monitors = Vec::new();
    for bytes in disk.monitors() {
        let read =
            <(_, ChannelMonitor<InMemorySigner>)>::read(&mut Cursor::new(bytes), (&*keys, &*keys));
        let (_, monitor): (bitcoin::BlockHash, _) =
            read.map_err(|e| format!("unreadable monitor: {e:?}"))?;
        monitors.push(monitor);
    }
    let settings = user_config(config.channel_type);
    let channel_manager: TestChannelManager = match disk.manager() {
        Some(bytes) => {
            let args = ChannelManagerReadArgs::new(
                Arc::clone(&keys),
                Arc::clone(&keys),
                Arc::clone(&keys),
                Arc::clone(&fees),
                Arc::clone(&chain_monitor),
                Arc::clone(&broadcaster),
                Arc::new(NoRouter),
                Arc::new(NoMessageRouter),
                Arc::clone(&logger),
                settings,
                monitors.iter().collect(),
            );
            let read = <(bitcoin::BlockHash, _)>::read(&mut Cursor::new(bytes), args);
            read.map_err(|e| format!("unreadable manager: {e:?}"))?.1
        }
        None => ChannelManager::new(
            Arc::clone(&fees),
            Arc::clone(&chain_monitor),
            Arc::clone(&broadcaster),
            Arc::new(NoRouter),
            Arc::new(NoMessageRouter),
            Arc::clone(&logger),
            Arc::clone(&keys),
            Arc::clone(&keys),
            Arc::clone(&keys),
            settings,
            ChainParameters {
                network: Network::Regtest,
                best_block: config.chain.tip(),
            },
            now.as_secs() as u32,
        ),
    };

    let tip = config.chain.tip();
    catch_up(
        config,
        &channel_manager,
        channel_manager.current_best_block(),
        tip,
    );
    for monitor in monitors {
        let behind = monitor.current_best_block();
        let outlets = (
            Arc::clone(&broadcaster),
            Arc::clone(&fees),
            Arc::clone(&logger),
        );
        let listener = (monitor, outlets.0, outlets.1, outlets.2);
        catch_up(config, &listener, behind, tip);
        let monitor = listener.0;
        let id = monitor.channel_id();
        chain_monitor
            .load_existing_monitor(id, monitor)
            .map_err(|()| format!("two monitors of channel {id}"))?;
    }
    Ok(NodeParts {
        name: config.name.clone(),
        node_id: keys
            .get_node_id(Recipient::Node)
            .expect("a seed has a node id"),
        network: Network::Regtest,
        dir: config.dir.clone(),
        chain,
        keys,
        logger,
        broadcaster,
        fee_estimator: fees,
        persister,
        chain_monitor,
        channel_manager: Arc::new(channel_manager),
    })
}

/// Each monitor and the manager may have stopped at another block.
fn catch_up(config: &NodeConfig, listener: &impl Listen, seen: BestBlock, tip: BestBlock) {
    let fork = config.chain.fork_point(seen.block_hash);
    if fork != seen {
        listener.blocks_disconnected(fork);
    }
    for height in fork.height + 1..=tip.height {
        // A block may have been disconnected since `tip` was read; the pump will see to that.
        let Some(block) = config.chain.block(height) else {
            return;
        };
        listener.block_connected(&block, height);
    }
}

fn user_config(channel_type: ChannelType) -> UserConfig {
    let mut config = UserConfig::default();
    let handshake = &mut config.channel_handshake_config;
    handshake.max_inbound_htlc_value_in_flight_percent_of_channel = 100;
    handshake.negotiate_anchors_zero_fee_htlc_tx = channel_type == ChannelType::Anchors;
    // LDK takes channels with anchors only in this way.
    config.manually_accept_inbound_channels = true;
    config
}

/// Never the same twice: `KeysManager` makes its random numbers from the time of its start.
fn now() -> Duration {
    static LAST: Mutex<Duration> = Mutex::new(Duration::ZERO);
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    let mut last = crate::lock::lock(&LAST);
    *last = clock.max(*last + Duration::from_nanos(1));
    *last
}
