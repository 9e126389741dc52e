//! From the first coin to the last: the wallet lives, is backed up, is lost, and comes back.

use std::path::Path;
use std::sync::Arc;

use beside_ldk_node::stopped::Lists;
use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use ldk_peer_storage::backup::{ChannelKind, ChannelPhase, PeerRecord};
use ldk_peer_storage::recovery::{Claim, KnownBy};
use ldk_peer_storage::service::WalletSource;
use ldk_peer_storage::session::{Returned, Visit, Work};
use testkit::{wipe, ChannelType, Node, DEADLINE};

use crate::beside::{record, Beside};
use crate::phone::{Phone, PhoneConfig};
use crate::rescue::Rescuer;
use crate::stage::{Stage, CHANNEL, COINS};
use crate::support::{Wallet, WalletConfig};
use crate::WORDS;

const ANCHORS: u64 = 2 * 330;

/// What differs from one wallet to the next.
struct Case {
    channel_type: ChannelType,
    /// The wallet leaves it to its peer to get a close confirmed (`trusted_peers_no_reserve`).
    trusts_peer: bool,
    /// The app gets at the store of its node.
    has_store: bool,
    /// The peer keeps large backups.
    peer_is_ours: bool,
}

const ANCHORS_WITH_STOCK: Case = Case {
    channel_type: ChannelType::Anchors,
    trusts_peer: false,
    has_store: true,
    peer_is_ours: false,
};

#[test]
fn a_wallet_with_an_anchor_channel_to_a_stock_peer_comes_back() {
    comes_back_from_stock(ANCHORS_WITH_STOCK);
}

#[test]
fn a_wallet_that_trusts_its_peer_with_the_anchors_comes_back() {
    comes_back_from_stock(Case {
        trusts_peer: true,
        ..ANCHORS_WITH_STOCK
    });
}

#[test]
fn a_wallet_with_a_channel_without_anchors_comes_back() {
    comes_back_from_stock(Case {
        channel_type: ChannelType::StaticRemoteKey,
        ..ANCHORS_WITH_STOCK
    });
}

/// Neither the state nor the kind of the channel are known then: what is told of its kind is wrong.
#[test]
fn a_wallet_comes_back_whose_app_knows_no_more_than_ldk_node_lists() {
    comes_back_from_stock(Case {
        channel_type: ChannelType::StaticRemoteKey,
        has_store: false,
        ..ANCHORS_WITH_STOCK
    });
}

/// Such a peer keeps the monitors too, which the node's store holds.
#[test]
fn a_wallet_with_a_channel_to_a_peer_of_ours_comes_back_with_its_monitor() {
    let stage = Stage::new();
    let peer = Wallet::start(WalletConfig::new(stage.config("peer")));
    stage.comes_back(
        &peer.node,
        Case {
            peer_is_ours: true,
            ..ANCHORS_WITH_STOCK
        },
    );
}

/// ldk-node's monitors send what they claim to addresses of its own on-chain wallet: it is there again
/// with the words, and no matter of the recovery's sweeps.
#[test]
fn a_payment_in_flight_comes_back_into_the_on_chain_wallet() {
    const PAYMENT: u64 = 50_000;
    let stage = Stage::new();
    let peer = Wallet::start(WalletConfig::new(stage.config("peer")));
    let peers = [record(peer.node.id(), peer.node.addr())];
    let (config, storage_dir) = stage.phone();
    let phone = Phone::start(config.clone());
    phone.fund(&stage.chain, COINS);
    phone.open_channel(&stage.chain, &peer.node, peer.node.addr(), CHANNEL, 0);
    phone.pay_in_vain(&peer.node, PAYMENT * 1_000);
    let on_chain = phone.node.list_balances().total_onchain_balance_sats;
    let visit = stage.back_up(&config, &storage_dir, &phone.stop(), &peers);
    assert!(visit.verified, "{visit:?}");

    wipe(&config.dir);
    wipe(&storage_dir);
    let home = stage.home.path();
    let new = PhoneConfig::new(WORDS, home.join("new-phone"), stage.esplora.url());
    let sweep_to = new.build().onchain_payment().new_address().unwrap();
    let mut rescuer = Rescuer::start(&stage.chain, &new, &home.join("new-peer-storage"));
    rescuer.agree(&peers, &sweep_to);
    let progress = rescuer.finish(20);
    rescuer.beside.close();
    let phone = Phone::start(new);
    phone.sync();
    let came = phone.node.list_balances().total_onchain_balance_sats - on_chain;
    let claimed = came - progress.recovered_sat;
    assert!(claimed > PAYMENT - 1_000 && claimed < PAYMENT, "{claimed}");
    phone.stop();
}

#[test]
fn a_channel_that_the_wallet_has_closed_is_no_lost_state() {
    let stage = Stage::new();
    let peer = Node::start(stage.config("peer"));
    let (config, storage_dir) = stage.phone();
    let peers = [record(peer.id(), peer.addr())];
    let phone = Phone::start(config.clone());
    phone.fund(&stage.chain, COINS);
    phone.open_channel(&stage.chain, &peer, peer.addr(), CHANNEL, 0);
    stage.back_up(&config, &storage_dir, &phone.stop(), &peers);

    let phone = Phone::start(config.clone());
    phone.wait_usable(&peer);
    phone.close_channel(&stage.chain);
    let stopped = phone.stop();
    let told = stopped.wallet_state().channels;
    assert_eq!((told.len(), told[0].phase), (1, ChannelPhase::Closing));
    // Sent and not kept: a stock peer keeps nothing for who has no channel with it any more.
    let visit = stage.back_up(&config, &storage_dir, &stopped, &peers);
    assert!(visit.sent.is_some() && !visit.verified, "{visit:?}");

    let beside = Beside::open(&config.identity(), &storage_dir);
    let known = beside.storage.known();
    assert_eq!(known.channels.len(), 1);
    assert_eq!(known.channels[0].phase, ChannelPhase::Closing);
    // The same told by the lists alone.
    let node = config.build();
    assert!(node.list_channels().is_empty());
    beside.storage.attach(Arc::new(Lists::of(&node)));
    assert!(
        beside.storage.alarms().is_empty(),
        "it was told before that it closes"
    );
    beside.close();
}

#[test]
fn a_channel_that_is_merely_no_longer_listed_is_an_alarm() {
    let stage = Stage::new();
    let peer = Node::start(stage.config("peer"));
    let (config, storage_dir) = stage.phone();
    let peers = [record(peer.id(), peer.addr())];
    let phone = Phone::start(config.clone());
    phone.fund(&stage.chain, COINS);
    phone.open_channel(&stage.chain, &peer, peer.addr(), CHANNEL, 0);
    stage.back_up(&config, &storage_dir, &phone.stop_and_list(), &peers);

    let phone = Phone::start(config.clone());
    phone.wait_usable(&peer);
    phone.close_channel(&stage.chain);
    let beside = Beside::open(&config.identity(), &storage_dir);
    beside.storage.attach(phone.stop_and_list());
    assert!(beside.storage.is_holding());
    beside.close();
}

fn comes_back_from_stock(case: Case) {
    let stage = Stage::new();
    let config = stage.config("peer").channel_type(case.channel_type);
    stage.comes_back(&Node::start(config), case);
}

impl Stage {
    fn comes_back(&self, peer: &Node, case: Case) {
        let home = self.home.path();
        let (mut config, storage_dir) = self.phone();
        config.trusted.extend(case.trusts_peer.then(|| peer.id()));
        let stop = |phone: Phone| match case.has_store {
            true => phone.stop(),
            false => phone.stop_and_list(),
        };
        let identity = config.identity();
        let peers = [record(peer.id(), peer.addr())];

        let phone = Phone::start(config.clone());
        phone.fund(&self.chain, COINS);
        let funding =
            phone.open_channel(&self.chain, peer, peer.addr(), CHANNEL, CHANNEL * 1_000 / 4);
        phone.pay(peer, 100_000_000);
        phone.receive(peer, 50_000_000);

        // Backed up between two runs.
        let stopped = stop(phone);
        self.assert_told(&*stopped, &config, peer, funding, &case);
        let first = self.back_up(&config, &storage_dir, &stopped, &peers);
        assert_eq!(first.returned, Returned::Nothing);
        assert!(first.verified, "{first:?}");
        let phone = Phone::start(config.clone());
        phone.wait_usable(peer);
        phone.pay(peer, 30_000_000);
        phone.receive(peer, 5_000_000);
        let (owned, fee) = phone.in_channels();
        let anchors = match case.channel_type {
            ChannelType::Anchors => ANCHORS,
            ChannelType::StaticRemoteKey => 0,
        };
        let paid = 100_000 - 50_000 + 30_000 - 5_000;
        assert_eq!(owned, CHANNEL * 3 / 4 - paid - fee - anchors);
        let on_chain = phone.node.list_balances().total_onchain_balance_sats;
        let stopped = stop(phone);
        let second = self.back_up(&config, &storage_dir, &stopped, &peers);
        assert_eq!(second.returned, Returned::Backup(first.sent.unwrap()));
        // Payments change states alone, which the lists do not tell.
        let has_changed = second.sent.is_some();
        assert_eq!((has_changed, second.verified), (case.has_store, true));
        drop(stopped);

        // The phone is gone.
        let (phone_id, words) = (identity.node_id(), config.words.to_string());
        wipe(&config.dir);
        wipe(&storage_dir);
        let new = PhoneConfig::new(&words, home.join("new-phone"), self.esplora.url());
        new.identity().expect(phone_id).unwrap();
        // The same words are an on-chain wallet too, which may be asked before it is started.
        let node = new.build();
        let sweep_to = node.onchain_payment().new_address().unwrap();
        drop(node);
        let mut rescuer = Rescuer::start(&self.chain, &new, &home.join("new-peer-storage"));
        let plan = rescuer.agree(&peers, &sweep_to);
        let [channel] = &plan.channels[..] else {
            panic!("{plan:?}");
        };
        assert_eq!(channel.known_by, KnownBy::Backup);
        // A stock peer's blob has no room for the monitor, and names the channel by its place alone.
        let by_place_alone = case.has_store && !case.peer_is_ours;
        let place = peer.channels_with(&phone_id)[0].short_channel_id;
        assert!(place.is_some());
        assert_eq!(channel.ids.short_channel_id, place);
        assert_eq!(channel.by_place_alone, by_place_alone);
        let named = Some(funding).filter(|_| !by_place_alone);
        assert_eq!(channel.ids.funding_outpoint, named);
        let claim = match case.peer_is_ours {
            true => Claim::BalanceAndPayments {
                estimate_sat: owned,
                may_be_stale: false,
            },
            false => Claim::Balance,
        };
        assert_eq!(channel.claim, claim);
        assert!(self.chain.spender(funding).is_none(), "agreed, not asked");
        let progress = rescuer.finish(1);
        assert_eq!(progress.found_sat, owned);
        assert_eq!(progress.recovered_sat + progress.fees_sat, owned);
        assert!(progress.fees_sat < 1_000, "{}", progress.fees_sat);
        assert!(rescuer.beside.storage.known().channels.is_empty());
        rescuer.beside.close();

        // All that was ours is in one wallet again.
        let phone = Phone::start(new);
        phone.sync();
        assert_eq!(
            phone.node.list_balances().total_onchain_balance_sats,
            on_chain + progress.recovered_sat
        );
        assert!(phone.node.list_channels().is_empty());
        phone.stop();
        println!(
            "of {owned} sat in the channel {} came back, {} are fees",
            progress.recovered_sat, progress.fees_sat
        );
    }

    /// One session over the directory, as an app would have it between two runs of the node.
    fn back_up(
        &self,
        config: &PhoneConfig,
        dir: &Path,
        stopped: &Arc<dyn WalletSource>,
        peers: &[PeerRecord],
    ) -> Visit {
        let beside = Beside::open(&config.identity(), dir);
        let verify = Work { verify: true };
        let report = beside.back_up(stopped, peers, verify, DEADLINE);
        let visit = report.peers[0].outcome.clone().unwrap();
        assert!(visit.delivered, "{visit:?}");
        assert!(beside.storage.alarms().is_empty());
        beside.close();
        visit
    }

    /// What the host learns of the channel is what the peer knows of it.
    fn assert_told(
        &self,
        stopped: &dyn WalletSource,
        config: &PhoneConfig,
        peer: &Node,
        funding: OutPoint,
        case: &Case,
    ) {
        let identity = config.identity();
        let theirs = &peer.channels_with(&identity.node_id())[0];
        let state = stopped.wallet_state();
        let [channel] = &state.channels[..] else {
            panic!("{state:?}");
        };
        assert_eq!(channel.counterparty, peer.id());
        assert_eq!(channel.ids.channel_id, Some(theirs.channel_id));
        assert_eq!(channel.ids.funding_outpoint, Some(funding));
        assert_eq!(channel.ids.short_channel_id, theirs.short_channel_id);
        assert_eq!(channel.value_sat, Some(CHANNEL));
        let known: Vec<(PublicKey, _)> = state
            .peers
            .iter()
            .map(|p| (p.node_id, p.addresses.clone()))
            .collect();
        assert_eq!(known, [(peer.id(), vec![peer.addr().into()])]);
        // Without an id, the kind says that the seed alone gives the keys.
        assert_eq!(channel.channel_keys_id, None);
        if !case.has_store {
            return;
        }
        assert!(channel.update_id > 0);
        let kind = match case.channel_type {
            ChannelType::Anchors => ChannelKind::Anchors,
            ChannelType::StaticRemoteKey => ChannelKind::StaticRemoteKey,
        };
        assert_eq!(channel.kind, kind);
    }
}
