//! The Esplora server with the clients of others: what they ask is there, and they understand it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use bitcoin::block::Header;
use bitcoin::{Amount, BlockHash, OutPoint, Transaction, Txid};
use lightning::chain::transaction::TransactionData;
use lightning::chain::{Confirm, Filter, WatchedOutput};
use lightning::util::logger::{Logger, Record};
use lightning_transaction_sync::EsploraSyncClient;
use testkit::chain::{anyone_can_spend, anyone_can_spend_witness};
use testkit::{Chain, EsploraServer};

#[test]
fn a_wallet_that_syncs_by_transaction_follows_confirmations_spends_and_reorganisations() {
    let chain = Chain::new();
    let server = EsploraServer::start(&chain);
    let sync = EsploraSyncClient::new(server.url(), Arc::new(Quiet));
    let wallet = Arc::new(Wallet::default());
    let script = anyone_can_spend(b"channel");
    let funding = chain.pay(&script, Amount::from_sat(50_000));
    let txid = funding.compute_txid();
    Filter::register_tx(&sync, &txid, &script);
    sync.sync(vec![Arc::clone(&wallet)]).unwrap();
    assert!(wallet.take().is_empty());

    chain.mine(2);
    let first = chain.block(chain.height() - 1).unwrap().block_hash();
    sync.sync(vec![Arc::clone(&wallet)]).unwrap();
    let confirmed = Told::Confirmed(txid, chain.height() - 1, first, 1);
    assert_eq!(wallet.take(), [confirmed]);

    chain.reorg(2);
    chain.mine_empty(1);
    chain.mine(2);
    sync.sync(vec![Arc::clone(&wallet)]).unwrap();
    let height = chain.height() - 1;
    let second = chain.block(height).unwrap().block_hash();
    let again = Told::Confirmed(txid, height, second, 1);
    assert_eq!(wallet.take(), [Told::Unconfirmed(txid), again]);

    sync.register_output(WatchedOutput {
        block_hash: Some(second),
        outpoint: lightning::chain::transaction::OutPoint { txid, index: 0 },
        script_pubkey: script,
    });
    let mut spend = funding.clone();
    spend.input.truncate(1);
    spend.output.truncate(1);
    spend.input[0].previous_output = OutPoint::new(txid, 0);
    spend.input[0].witness = anyone_can_spend_witness(b"channel");
    spend.output[0].value -= Amount::from_sat(500);
    sync.client().broadcast(&spend).unwrap();
    chain.mine(1);
    sync.sync(vec![Arc::clone(&wallet)]).unwrap();
    let spent = Told::Confirmed(
        spend.compute_txid(),
        chain.height(),
        chain.tip().block_hash,
        1,
    );
    assert_eq!(wallet.take(), [spent]);
}

#[test]
fn a_client_understands_every_answer() {
    let chain = Chain::new();
    let server = EsploraServer::start(&chain);
    let sync = EsploraSyncClient::new(server.url(), Arc::new(Quiet));
    let client = sync.client();
    let script = anyone_can_spend(b"channel");
    for _ in 0..3 {
        chain.pay(&script, Amount::from_sat(50_000));
    }
    chain.mine(1);
    let waiting = chain.pay(&script, Amount::from_sat(50_000)).compute_txid();
    let block = chain.block(chain.height()).unwrap();
    let (hash, tx) = (block.block_hash(), &block.txdata[2]);
    let txid = tx.compute_txid();

    assert_eq!(client.get_height().unwrap(), chain.height());
    assert_eq!(client.get_block_hash(chain.height()).unwrap(), hash);
    assert_eq!(client.get_block_by_hash(&hash).unwrap().unwrap(), block);
    assert_eq!(client.get_header_by_hash(&hash).unwrap(), block.header);
    let txids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
    assert_eq!(client.get_block_txids(&hash).unwrap(), txids);
    let told = client.get_block_info(&hash).unwrap();
    assert_eq!((told.id, told.tx_count), (hash, 4));
    let listed = client.get_block_infos(None).unwrap();
    assert_eq!((listed.len(), listed[0].id), (10, hash));
    let early = client.get_block_infos(Some(4)).unwrap();
    assert_eq!((early.len(), early[4].previousblockhash), (5, None));
    assert_eq!(
        client.get_txid_at_block_index(&hash, 2).unwrap(),
        Some(txid)
    );

    let told = client.get_tx_info(&txid).unwrap().unwrap();
    assert_eq!((told.to_tx(), told.fee), (tx.clone(), 1_000));
    assert_eq!(told.status.block_hash, Some(hash));
    assert!(!client.get_tx_status(&waiting).unwrap().confirmed);
    let proof = client.get_merkle_proof(&txid).unwrap().unwrap();
    assert_eq!(
        root(txid, &proof.merkle, proof.pos),
        block.header.merkle_root.into()
    );
    let spends = client.get_tx_outspends(&txid).unwrap();
    assert_eq!((spends.len(), spends[0].spent), (2, false));
    assert_eq!(client.get_mempool_recent_txs().unwrap()[0].txid, waiting);

    let page = client.scripthash_txs(&script, None).unwrap();
    assert_eq!((page.len(), page[0].txid), (4, waiting));
    let rest = client.scripthash_txs(&script, Some(page[1].txid)).unwrap();
    assert_eq!(rest.len(), 2);
    assert_eq!(client.get_scripthash_utxos(&script).unwrap().len(), 4);
    assert_eq!(client.get_fee_estimates().unwrap()[&6], 3.0);
}

fn root(txid: Txid, branch: &[Txid], position: usize) -> bitcoin::hashes::sha256d::Hash {
    use bitcoin::hashes::{sha256d, Hash};
    let mut node = txid.to_raw_hash();
    for (level, other) in branch.iter().enumerate() {
        let mut both = [node.to_byte_array(), other.to_byte_array()];
        if position >> level & 1 == 1 {
            both.reverse();
        }
        node = sha256d::Hash::hash(&both.concat());
    }
    node
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Confirmed(Txid, u32, BlockHash, usize),
    Unconfirmed(Txid),
}

/// Remembers what it is told.
#[derive(Default)]
struct Wallet {
    confirmed: Mutex<Vec<(Txid, u32, Option<BlockHash>)>>,
    told: Mutex<Vec<Told>>,
}

impl Wallet {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl Confirm for Wallet {
    fn transactions_confirmed(&self, header: &Header, txs: &TransactionData<'_>, height: u32) {
        for (index, tx) in txs {
            let (txid, hash) = (tx.compute_txid(), header.block_hash());
            self.confirmed
                .lock()
                .unwrap()
                .push((txid, height, Some(hash)));
            let told = Told::Confirmed(txid, height, hash, *index);
            self.told.lock().unwrap().push(told);
        }
    }

    fn transaction_unconfirmed(&self, txid: &Txid) {
        self.confirmed.lock().unwrap().retain(|(id, ..)| id != txid);
        self.told.lock().unwrap().push(Told::Unconfirmed(*txid));
    }

    fn best_block_updated(&self, _header: &Header, _height: u32) {}

    fn get_relevant_txids(&self) -> Vec<(Txid, u32, Option<BlockHash>)> {
        self.confirmed.lock().unwrap().clone()
    }
}

struct Quiet;

impl Logger for Quiet {
    fn log(&self, _record: Record<'_>) {}
}
