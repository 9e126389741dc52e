//! From what an app hands in to what the core takes: checked here, so that nothing behind it has to.

use std::str::FromStr;
use std::time::Duration;

use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::secp256k1::PublicKey;
use bitcoin::OutPoint;
use ldk_peer_storage::backup::PeerRecord;
use lightning::ln::msgs::SocketAddress;
use lightning::ln::types::ChannelId;

use crate::errors::PeerStorageError;
use crate::wallet::WalletPeer;

type Outcome<T> = Result<T, PeerStorageError>;

/// No list of channels or peers is longer.
pub(crate) const MOST_IN_A_LIST: usize = 10_000;
/// No peer has more addresses that are worth a try.
const MOST_ADDRESSES: usize = 32;
/// A host name has 255 bytes at most, and a port 5.
const LONGEST_ADDRESS: usize = 300;

/// A compressed public key in hex.
pub(crate) fn node_id(field: &str, text: &str) -> Outcome<PublicKey> {
    let bytes = hex::<33>(field, text)?;
    PublicKey::from_slice(&bytes).map_err(|_| PeerStorageError::invalid(field, "is no public key"))
}

/// So many bytes in hex.
pub(crate) fn hex<const N: usize>(field: &str, text: &str) -> Outcome<[u8; N]> {
    <[u8; N]>::from_hex(text)
        .map_err(|_| PeerStorageError::invalid(field, format!("is not {N} bytes in hex")))
}

pub(crate) fn channel_id(field: &str, text: &str) -> Outcome<ChannelId> {
    Ok(ChannelId(hex(field, text)?))
}

/// "txid:index".
pub(crate) fn outpoint(field: &str, text: &str) -> Outcome<OutPoint> {
    OutPoint::from_str(text).map_err(|_| {
        PeerStorageError::invalid(field, "is not a transaction id, a colon and an index")
    })
}

pub(crate) fn peers(field: &str, peers: Vec<WalletPeer>) -> Outcome<Vec<PeerRecord>> {
    limit(field, peers.len(), MOST_IN_A_LIST)?;
    peers.into_iter().map(|given| peer(field, given)).collect()
}

fn peer(field: &str, peer: WalletPeer) -> Outcome<PeerRecord> {
    limit(field, peer.addresses.len(), MOST_ADDRESSES)?;
    let addresses = peer.addresses.iter().map(|text| address(field, text));
    Ok(PeerRecord {
        node_id: node_id(field, &peer.node_id)?,
        addresses: addresses.collect::<Outcome<_>>()?,
    })
}

/// "host:port": a name, an IPv4 address, an IPv6 address in brackets, or an onion name.
fn address(field: &str, text: &str) -> Outcome<SocketAddress> {
    limit(field, text.len(), LONGEST_ADDRESS)?;
    SocketAddress::from_str(text)
        .map_err(|_| PeerStorageError::invalid(field, "an address is not of the form host:port"))
}

pub(crate) fn limit(field: &str, length: usize, most: usize) -> Outcome<()> {
    match length <= most {
        true => Ok(()),
        false => Err(PeerStorageError::invalid(
            field,
            format!("is longer than {most}"),
        )),
    }
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn hex_of(bytes: &[u8]) -> String {
    bytes.to_lower_hex_string()
}

/// Counts are small; one that does not fit is said as the largest that does.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
