//! What a block has to have cost, so that its header proves something.

use bitcoin::block::Header;
use bitcoin::consensus::Params;
use bitcoin::{CompactTarget, MerkleBlock, Network, Target, Txid};

use super::ChainError;

/// The first block of the main network with segregated witness, and so the first that can have a
/// Lightning transaction.
const FIRST_SEGWIT: u32 = 481_824;
/// Twice the target of that block, which is the easiest from then on, in the header's compact form.
const EASY_BITS: u32 = 0x1802_79d2;

/// Checks the header of a block that has a Lightning transaction, or that is the best one. A server that
/// wants to do with less work cannot place it in the early days.
pub(super) fn check_recent(
    network: Network,
    header: &Header,
    height: u32,
) -> Result<(), ChainError> {
    if network == Network::Bitcoin && height < FIRST_SEGWIT {
        return Err(ChainError::invalid("a block from before Lightning"));
    }
    check(network, header, height)
}

/// Checks a header as it can stand at this height.
pub(super) fn check(network: Network, header: &Header, height: u32) -> Result<(), ChainError> {
    let anything = Params::new(network).max_attainable_target;
    let easiest = match network {
        Network::Bitcoin if height >= FIRST_SEGWIT => easy_target(),
        _ => anything,
    };
    let claimed = header.target();
    if claimed > easiest {
        return Err(ChainError::invalid("a header that claims too little work"));
    }
    match header.validate_pow(claimed) {
        Ok(_) => Ok(()),
        Err(_) => Err(ChainError::invalid("a header without the work it claims")),
    }
}

fn easy_target() -> Target {
    Target::from_compact(CompactTarget::from_consensus(EASY_BITS))
}

/// The index that a merkle proof gives a transaction in its block.
pub(super) fn index_of(txid: &Txid, proof: &MerkleBlock) -> Result<u32, ChainError> {
    let (mut txids, mut indexes) = (Vec::new(), Vec::new());
    let proven = proof.extract_matches(&mut txids, &mut indexes);
    match (proven, &txids[..], &indexes[..]) {
        (Ok(()), [only], [index]) if only == txid => Ok(*index),
        _ => Err(ChainError::invalid("a merkle proof that proves nothing")),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;

    use super::*;

    fn complaint(network: Network, header: &Header, height: u32) -> Option<String> {
        check(network, header, height).err().map(|e| e.to_string())
    }

    #[test]
    fn a_header_has_the_work_that_its_network_asks_for() {
        for network in [Network::Bitcoin, Network::Testnet, Network::Signet] {
            let mut header = genesis_block(network).header;
            assert_eq!(complaint(network, &header, 0), None);

            header.nonce += 1;
            let text = complaint(network, &header, 0).expect("no work");
            assert!(text.contains("without the work"), "{text}");
        }
        let regtest = genesis_block(Network::Regtest).header;
        let text = complaint(Network::Bitcoin, &regtest, 0).expect("too easy");
        assert!(text.contains("too little work"), "{text}");
    }

    #[test]
    fn a_block_of_the_main_network_that_anybody_could_mine_proves_nothing_today() {
        let easy = genesis_block(Network::Bitcoin).header;
        assert_eq!(complaint(Network::Bitcoin, &easy, FIRST_SEGWIT - 1), None);
        let text = complaint(Network::Bitcoin, &easy, FIRST_SEGWIT).expect("too easy");
        assert!(text.contains("too little work"), "{text}");

        let early = check_recent(Network::Bitcoin, &easy, FIRST_SEGWIT - 1);
        let text = early.expect_err("too early").to_string();
        assert!(text.contains("before Lightning"), "{text}");
        let signet = genesis_block(Network::Signet).header;
        assert_eq!(check_recent(Network::Signet, &signet, 1), Ok(()));
    }

    #[test]
    fn the_easiest_block_of_lightning_s_time_would_pass() {
        let first_segwit = CompactTarget::from_consensus(0x1801_3ce9);
        let in_2024 = CompactTarget::from_consensus(0x1703_4219);
        for bits in [first_segwit, in_2024] {
            assert!(Target::from_compact(bits) < easy_target());
        }
        let twice = CompactTarget::from_consensus(0x1802_79d3);
        assert!(Target::from_compact(twice) > easy_target());
    }
}
