//! An ldk-node wallet over the test kit's chain, which it sees through an Esplora server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use beside_ldk_node::stopped::{self, Lists};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, Network, OutPoint};
use ldk_node::bip39::Mnemonic;
use ldk_node::config::{AnchorChannelsConfig, Config, EsploraSyncConfig};
use ldk_node::io::sqlite_store::{SqliteStore, KV_TABLE_NAME, SQLITE_DB_FILE_NAME};
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description};
use ldk_node::{Builder, DynStore, Event, LightningBalance, Node};
use ldk_peer_storage::recovery::Identity;
use ldk_peer_storage::service::WalletSource;
use lightning::events::Event as LdkEvent;
use lightning::ln::channelmanager::Bolt11InvoiceParameters;
use lightning::types::payment::PaymentHash;
use testkit::wait::wait_for_some;
use testkit::{pay_request, wait_until, Chain, PaymentRequest, DEADLINE};

const CONFIRMATIONS: u32 = 6;

/// Who the wallet is, and where it keeps its data. Clone it to start the wallet again.
#[derive(Clone)]
pub struct PhoneConfig {
    /// The seed words.
    pub words: Mnemonic,
    /// The BIP39 passphrase.
    pub passphrase: Option<String>,
    /// The node's own directory.
    pub dir: PathBuf,
    /// The Esplora server.
    pub esplora: String,
    /// Peers that the wallet trusts to confirm the close of an anchor channel.
    pub trusted: Vec<PublicKey>,
}

impl PhoneConfig {
    /// Without a passphrase, and trusting nobody.
    pub fn new(words: &str, dir: impl Into<PathBuf>, esplora: impl Into<String>) -> PhoneConfig {
        PhoneConfig {
            words: words.parse().expect("seed words"),
            passphrase: None,
            dir: dir.into(),
            esplora: esplora.into(),
            trusted: Vec::new(),
        }
    }

    /// What the seed words alone tell this project.
    pub fn identity(&self) -> Identity {
        let words = self.words.to_string();
        let passphrase = self.passphrase.as_deref().unwrap_or_default();
        Identity::from_ldk_node_mnemonic(&words, passphrase, Network::Regtest).expect("keys")
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::from_config(Config {
            storage_dir_path: self.dir.to_str().expect("a plain path").to_owned(),
            network: Network::Regtest,
            anchor_channels_config: Some(AnchorChannelsConfig {
                trusted_peers_no_reserve: self.trusted.clone(),
                ..AnchorChannelsConfig::default()
            }),
            ..Config::default()
        });
        builder.set_entropy_bip39_mnemonic(self.words.clone(), self.passphrase.clone());
        // The test says when.
        let by_hand = EsploraSyncConfig {
            background_sync_config: None,
        };
        builder.set_chain_source_esplora(self.esplora.clone(), Some(by_hand));
        builder.set_log_facade_logger();
        builder
    }

    /// The wallet with the data in its directory, not started: it talks to nobody.
    pub fn build(&self) -> Node {
        self.builder().build().expect("ldk-node builds")
    }

    /// The same over this store, which is the one that `Builder::build` opens by itself.
    fn build_with(&self, store: &Arc<DynStore>) -> Node {
        let node = self.builder().build_with_store(Arc::clone(store));
        node.expect("ldk-node builds")
    }

    fn store(&self) -> Arc<DynStore> {
        let names = [SQLITE_DB_FILE_NAME, KV_TABLE_NAME].map(|name| Some(name.to_owned()));
        let [file, table] = names;
        let store = SqliteStore::new(self.dir.clone(), file, table);
        Arc::new(store.expect("the node's database opens"))
    }
}

/// A running wallet.
pub struct Phone {
    pub node: Node,
    pub config: PhoneConfig,
    store: Arc<DynStore>,
}

impl Phone {
    /// Starts it with the data in its directory, or as a new one. Peers that it knows are connected to.
    pub fn start(config: PhoneConfig) -> Phone {
        let store = config.store();
        let node = config.build_with(&store);
        node.start().expect("ldk-node starts");
        Phone {
            node,
            config,
            store,
        }
    }

    /// Stops it. What it tells then is final.
    pub fn stop(self) -> Arc<dyn WalletSource> {
        self.node.stop().expect("ldk-node stops");
        let keys = Arc::new(self.config.identity().keys());
        let wallet = stopped::wallet(&self.node, &self.store, &keys);
        let wallet = wallet.expect("a stopped node's monitors can be read");
        wallet.wallet_state();
        assert_eq!(wallet.channels_without_keys(), []);
        Arc::new(wallet)
    }

    /// Stops it, as an app would do that does not get at the node's store.
    pub fn stop_and_list(self) -> Arc<dyn WalletSource> {
        self.node.stop().expect("ldk-node stops");
        Arc::new(Lists::of(&self.node))
    }

    pub fn id(&self) -> PublicKey {
        self.node.node_id()
    }

    /// Puts coins into its on-chain wallet.
    pub fn fund(&self, chain: &Chain, sat: u64) {
        let address = self.node.onchain_payment().new_address();
        let script = address.expect("an address").script_pubkey();
        chain.pay(&script, Amount::from_sat(sat));
        chain.mine(1);
        self.sync();
        assert_eq!(
            self.node.list_balances().spendable_onchain_balance_sats,
            sat
        );
    }

    /// Closes its only channel in agreement with the peer, and sees the close confirmed.
    pub fn close_channel(&self, chain: &Chain) {
        let channel = self.node.list_channels().remove(0);
        let funding = channel.funding_txo.expect("a funded channel");
        let closing = self
            .node
            .close_channel(&channel.user_channel_id, channel.counterparty_node_id);
        closing.expect("a close begins");
        wait_until("the closing transaction", DEADLINE, || {
            chain.spender(funding).is_some()
        });
        chain.mine(CONFIRMATIONS);
        self.sync();
        assert!(self.node.list_channels().is_empty());
    }

    /// Looks at the chain.
    pub fn sync(&self) {
        self.node.sync_wallets().expect("the wallet syncs");
    }

    /// Opens a channel, and returns when both can pay. `addr` is where the wallet dials the peer, now and
    /// after each start.
    pub fn open_channel(
        &self,
        chain: &Chain,
        peer: &testkit::Node,
        addr: SocketAddr,
        sat: u64,
        push_msat: u64,
    ) -> OutPoint {
        let opened = self
            .node
            .open_channel(peer.id(), addr.into(), sat, Some(push_msat), None);
        opened.expect("a channel is opened");
        let funding = self.wait_event("the channel to be pending", |event| match event {
            Event::ChannelPending { funding_txo, .. } => Some(*funding_txo),
            _ => None,
        });
        wait_until("the funding transaction", DEADLINE, || {
            chain.transaction(funding.txid).is_some()
        });
        chain.mine(CONFIRMATIONS);
        self.sync();
        self.wait_usable(peer);
        funding
    }

    /// Waits until both sides can pay.
    #[track_caller]
    pub fn wait_usable(&self, peer: &testkit::Node) {
        wait_until("the channel to be usable", DEADLINE, || {
            let channels = self.node.list_channels();
            let mut with_peer = channels
                .iter()
                .filter(|c| c.counterparty_node_id == peer.id());
            with_peer.any(|c| c.is_usable) && peer.is_usable_with(&self.id())
        });
    }

    /// Pays a neighbour, and waits until neither side has anything left to do for it.
    #[track_caller]
    pub fn pay(&self, peer: &testkit::Node, msat: u64) {
        let wanted = Bolt11InvoiceParameters {
            amount_msats: Some(msat),
            ..Bolt11InvoiceParameters::default()
        };
        let invoice = peer.channel_manager().create_bolt11_invoice(wanted);
        let invoice = invoice.expect("an invoice");
        let payment = self.node.bolt11_payment().send(&invoice, None);
        let payment = payment.expect("a payment begins");
        self.wait_event("the payment to succeed", |event| match event {
            Event::PaymentSuccessful { payment_id, .. } if *payment_id == Some(payment) => Some(()),
            Event::PaymentFailed {
                payment_id, reason, ..
            } if *payment_id == Some(payment) => panic!("the payment failed: {reason:?}"),
            _ => None,
        });
        self.wait_quiet(peer);
    }

    /// Pays a neighbour who can neither claim the payment nor refuses it: returns when it is in the
    /// commitment transactions of both.
    pub fn pay_in_vain(&self, peer: &testkit::Node, msat: u64) {
        let hash = PaymentHash([7; 32]);
        let wanted = Bolt11InvoiceParameters {
            amount_msats: Some(msat),
            payment_hash: Some(hash),
            ..Bolt11InvoiceParameters::default()
        };
        let invoice = peer.channel_manager().create_bolt11_invoice(wanted);
        let payment = self
            .node
            .bolt11_payment()
            .send(&invoice.expect("an invoice"), None);
        payment.expect("a payment begins");
        peer.wait_event("the payment to arrive", 0, |event| match event {
            LdkEvent::PaymentClaimable { payment_hash, .. } => {
                (*payment_hash == hash).then_some(())
            }
            _ => None,
        });
    }

    /// Is paid by a neighbour.
    #[track_caller]
    pub fn receive(&self, peer: &testkit::Node, msat: u64) {
        let what = Bolt11InvoiceDescription::Direct(Description::empty());
        let invoice = self.node.bolt11_payment().receive(msat, &what, 3_600);
        let invoice = invoice.expect("an invoice");
        let hash: &[u8; 32] = invoice.payment_hash().as_ref();
        let request = PaymentRequest {
            hash: PaymentHash(*hash),
            secret: *invoice.payment_secret(),
            msat,
        };
        pay_request(peer, &self.id(), request);
        self.wait_event("the payment to arrive", |event| match event {
            Event::PaymentReceived { payment_hash, .. } if payment_hash.0 == *hash => Some(()),
            _ => None,
        });
        self.wait_quiet(peer);
    }

    /// Waits until no payment is left in the channel on either side. Of the wallet's side its balance
    /// tells: one that is under way is not in it.
    fn wait_quiet(&self, peer: &testkit::Node) {
        wait_until("the payment to have left the channel", DEADLINE, || {
            let channels = peer.channels_with(&self.id());
            let empty = channels.iter().all(|channel| {
                channel.pending_inbound_htlcs.is_empty()
                    && channel.pending_outbound_htlcs.is_empty()
            });
            let balances = self.node.list_balances().lightning_balances;
            let mut balances = balances.iter();
            empty && balances.all(|b| matches!(b, LightningBalance::ClaimableOnChannelClose { .. }))
        });
    }

    /// What it owns in channels, in sat: what would be its output if they were closed now, and what it
    /// pays for that.
    pub fn in_channels(&self) -> (u64, u64) {
        let balances = self.node.list_balances().lightning_balances;
        balances.iter().fold((0, 0), |(owned, fees), b| match b {
            LightningBalance::ClaimableOnChannelClose {
                amount_satoshis,
                transaction_fee_satoshis,
                ..
            } => (owned + amount_satoshis, fees + transaction_fee_satoshis),
            other => panic!("a channel is not open: {other:?}"),
        })
    }

    /// Waits for an event, and takes all that come before.
    #[track_caller]
    fn wait_event<T>(&self, what: &str, find: impl Fn(&Event) -> Option<T>) -> T {
        wait_for_some(what, DEADLINE, || {
            let event = self.node.next_event()?;
            self.node.event_handled().expect("it is noted");
            find(&event)
        })
    }
}
