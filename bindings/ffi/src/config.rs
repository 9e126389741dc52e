//! How a storage is opened.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bitcoin::Network;
use ldk_peer_storage::backup::{Padding, MAX_BLOB};
use ldk_peer_storage::exchange::{Guests, StoragePolicy};

use crate::errors::PeerStorageError;
use crate::parse::{self, MOST_IN_A_LIST};

/// The Bitcoin network of a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum BitcoinNetwork {
    /// The main network.
    Bitcoin,
    /// The third test network.
    Testnet,
    /// The fourth test network.
    Testnet4,
    /// The public signet.
    Signet,
    /// A private chain for tests.
    Regtest,
}

/// How to open a storage.
#[derive(Clone, uniffi::Record)]
pub struct OpenConfig {
    /// A directory of its own, which nothing else writes to. Created if missing.
    ///
    /// Keep it out of what the system backs up: a directory put back from a backup is old, and old state is
    /// what this SDK protects from. On Android: a directory below `noBackupFilesDir`. On iOS: one below
    /// Application Support with `isExcludedFromBackup`, of the protection class
    /// `completeUntilFirstUserAuthentication`, and not in an App Group container.
    pub data_dir: String,
    /// The Bitcoin network of the wallet.
    pub network: BitcoinNetwork,
    /// The node id that the wallet has, in hex, where the app knows it: a wrong passphrase is then an error
    /// and not another wallet.
    #[uniffi(default = None)]
    pub expected_node_id: Option<String>,
    /// Whether the app is on the screen. If not, it opens all the same, so that what is wrong shows now, and then
    /// comes to rest at once, without `linger_ms`.
    #[uniffi(default = true)]
    pub in_foreground: bool,
    /// Whether the device has a network.
    #[uniffi(default = true)]
    pub network_available: bool,
    /// Whether the wallet's own node runs already (see `on_host_node_changed`).
    #[uniffi(default = false)]
    pub host_node_runs: bool,
    /// What is kept for peers, and how backups are made.
    #[uniffi(default)]
    pub storage: StorageSettings,
    /// A SOCKS5 proxy for onion addresses, as "127.0.0.1:9050", usually that of Tor. All other addresses are
    /// dialled directly. None: onion addresses are not tried.
    #[uniffi(default = None)]
    pub tor_proxy: Option<String>,
    /// A hop to background shorter than this, in milliseconds, tears nothing down. It counts from
    /// `on_background`, and only as long as its budget lasts.
    #[uniffi(default = 5000)]
    pub linger_ms: u64,
}

/// What is kept for peers, and how backups are made.
#[derive(Clone, Debug, uniffi::Record)]
pub struct StorageSettings {
    /// Whose backups are kept, beside those of peers with a channel, which are always kept. None: nobody's.
    #[uniffi(default = None)]
    pub guests: Option<GuestPolicy>,
    /// The largest backup of a guest, in bytes; 65531 at most.
    #[uniffi(default = 65531)]
    pub guest_bytes: u32,
    /// How many guests.
    #[uniffi(default = 100)]
    pub guest_count: u32,
    /// The backups of all guests together, in bytes.
    #[uniffi(default = 6553100)]
    pub guest_total_bytes: u64,
    /// Whether backups always have the largest size that a peer takes, so that their size tells nothing. If
    /// not, they have one of four sizes.
    #[uniffi(default = false)]
    pub pad_fully: bool,
    /// Whether backups carry the monitors of channels, where the app gives them and a peer keeps large
    /// backups. Without them a restore brings back our own balance of a channel that its peer closes, but no
    /// payments in flight and no penalty. Whoever has the seed learns less from a backup without.
    #[uniffi(default = true)]
    pub monitors: bool,
}

/// Whose backups are kept beside those of peers with a channel.
#[derive(Clone, uniffi::Enum)]
pub enum GuestPolicy {
    /// Those of these peers.
    Listed {
        /// Their node ids in hex.
        node_ids: Vec<String>,
    },
    /// Anyone's, within the limits.
    Anyone,
}

crate::private::says_nothing!(OpenConfig, GuestPolicy);

impl From<BitcoinNetwork> for Network {
    fn from(network: BitcoinNetwork) -> Self {
        match network {
            BitcoinNetwork::Bitcoin => Network::Bitcoin,
            BitcoinNetwork::Testnet => Network::Testnet,
            BitcoinNetwork::Testnet4 => Network::Testnet4,
            BitcoinNetwork::Signet => Network::Signet,
            BitcoinNetwork::Regtest => Network::Regtest,
        }
    }
}

impl OpenConfig {
    pub(crate) fn tor_proxy(&self) -> Result<Option<SocketAddr>, PeerStorageError> {
        let parsed = self.tor_proxy.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| {
            PeerStorageError::invalid("tor_proxy", "is not an IP address, a colon and a port")
        })
    }
}

impl StorageSettings {
    pub(crate) fn padding(&self) -> Padding {
        match self.pad_fully {
            true => Padding::Full,
            false => Padding::Buckets,
        }
    }

    pub(crate) fn policy(&self) -> Result<StoragePolicy, PeerStorageError> {
        parse::limit("guest_bytes", self.guest_bytes as usize, MAX_BLOB)?;
        let guests = match &self.guests {
            None => Guests::None,
            Some(GuestPolicy::Anyone) => Guests::Anyone,
            Some(GuestPolicy::Listed { node_ids }) => {
                parse::limit("guests", node_ids.len(), MOST_IN_A_LIST)?;
                let ids = node_ids.iter().map(|id| parse::node_id("guests", id));
                Guests::Listed(ids.collect::<Result<BTreeSet<_>, _>>()?)
            }
        };
        Ok(StoragePolicy {
            guests,
            guest_blob_bytes: self.guest_bytes as usize,
            guest_count: self.guest_count as usize,
            guest_total_bytes: usize::try_from(self.guest_total_bytes).unwrap_or(usize::MAX),
            ..StoragePolicy::default()
        })
    }
}
