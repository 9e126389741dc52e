//! What several commands have on their command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use clap::Args;
use ldk_peer_storage::backup::PeerRecord;
use lightning::ln::msgs::SocketAddress;

/// Whose node it is. With none of the files, the seed is asked for on the terminal, hidden.
#[derive(Args)]
pub struct IdentityArgs {
    /// A file with the seed of LDK's KeysManager: 32 bytes, or 64 hex digits.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mnemonic_file", "ldk_node_seed_file"])]
    pub seed_file: Option<PathBuf>,
    /// A file with the BIP39 words of an ldk-node wallet.
    #[arg(long, value_name = "FILE", conflicts_with = "ldk_node_seed_file")]
    pub mnemonic_file: Option<PathBuf>,
    /// The seed file of an ldk-node wallet without words, its `keys_seed`: 64 bytes, or 128 hex digits.
    #[arg(long, value_name = "FILE")]
    pub ldk_node_seed_file: Option<PathBuf>,
    /// A file with the BIP39 passphrase of the words, if they have one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed_file", "ldk_node_seed_file"])]
    pub passphrase_file: Option<PathBuf>,
    /// The node id that the seed has to give: checked before anyone is connected to.
    #[arg(long, value_name = "NODEID")]
    pub expect_node_id: Option<PublicKey>,
    /// bitcoin, testnet, testnet4, signet or regtest.
    #[arg(long, default_value = "bitcoin")]
    pub network: Network,
}

/// Where the node keeps what it knows, and how it reaches peers.
#[derive(Args)]
pub struct NodeArgs {
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// A directory for this purpose alone; made if missing. It is what a later run goes on from: keep it
    /// until all is done.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// A SOCKS5 proxy, as Tor has one, for peers with onion addresses and for the Esplora server. All
    /// other peers are dialled directly.
    #[arg(long, value_name = "HOST:PORT")]
    pub socks5: Option<SocketAddr>,
    /// How long all the peers together may take to answer.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub budget: Duration,
}

/// A peer, as `NODEID@HOST:PORT`.
#[derive(Clone)]
pub struct Peer(PeerRecord);

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let shape =
            "a peer is NODEID@HOST:PORT, as 02...@203.0.113.7:9735 or 02...@[2001:db8::7]:9735";
        let (node_id, address) = text.split_once('@').ok_or(shape)?;
        let node_id = PublicKey::from_str(node_id)
            .map_err(|_| format!("what stands before the @ is no node id; {shape}"))?;
        let address = address_from(address).ok_or(format!(
            "what stands behind the @ is no address with a port; {shape}"
        ))?;
        Ok(Peer(PeerRecord {
            node_id,
            addresses: vec![address],
        }))
    }
}

/// The peers, as the library takes them.
pub fn records(peers: &[Peer]) -> Vec<PeerRecord> {
    peers.iter().map(|peer| peer.0.clone()).collect()
}

/// A host and a port: IPv4, IPv6 in brackets, a name, or an onion address.
pub fn address_from(text: &str) -> Option<SocketAddress> {
    let address = SocketAddress::from_str(text).ok()?;
    let is_empty =
        matches!(&address, SocketAddress::Hostname { hostname, .. } if hostname.is_empty());
    (!is_empty).then_some(address)
}

/// A time in seconds, above 0.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of seconds above 0".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn a_peer_has_a_node_id_and_an_address_of_any_kind() {
        let onion = format!("{}.onion:9735", "a".repeat(55) + "d");
        for address in ["127.0.0.1:9735", "[::1]:9735", "node.example:9735", &onion] {
            let Peer(record) = Peer::from_str(&format!("{ID}@{address}")).unwrap();
            let written = record.addresses[0].to_string();
            assert_eq!(address_from(&written).as_ref(), Some(&record.addresses[0]));
        }
    }

    #[test]
    fn what_is_no_peer_is_refused_with_the_shape_of_one() {
        for bad in [
            ID.to_owned(),
            format!("{ID}@"),
            format!("{ID}@127.0.0.1"),
            format!("{ID}@:9735"),
            format!("{ID}@127.0.0.1:99999"),
            format!("{}@127.0.0.1:9735", &ID[2..]),
        ] {
            let refused = Peer::from_str(&bad).err().unwrap();
            assert!(refused.contains("NODEID@HOST:PORT"), "{bad}: {refused}");
        }
    }
}
