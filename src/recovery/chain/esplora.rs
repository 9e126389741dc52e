//! The chain as an Esplora server tells it (feature `esplora`).
//!
//! [`EsploraSource`] is a [`ChainSource`] over the [HTTP API of Esplora][api], which Blockstream,
//! mempool.space and many others serve. The server is not trusted further than it has to be:
//!
//! | what it says | is believed when |
//! |---|---|
//! | a transaction | its id is the one that was asked for (witnesses are not covered by it) |
//! | a spend | the transaction really has the input |
//! | an output of a script | it stands in a transaction with the right id |
//! | a confirmation | a merkle proof leads to a header with enough work, and the server names that block for that height |
//! | a header | it has the hash, and enough work |
//! | which network it is of | its genesis block is the right one; asked before anything else |
//!
//! So a server can still keep things back, make up transactions that are said to be unconfirmed, and
//! shift heights; on the main network it cannot make up a confirmation without mining a block: see
//! [`EsploraSource`] for how much work is enough. It learns which transactions and scripts the wallet is
//! interested in, and from where it asks: use a server, or a [proxy](EsploraConfig::proxy), that the
//! person would tell this.
//!
//! [api]: https://github.com/Blockstream/esplora/blob/master/API.md

mod answers;
mod call;
mod http;
mod work;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::{FeeRate, Network, OutPoint, Script, Transaction, Txid};

use super::{ChainError, ChainSource, FoundOutput, FoundTransaction, Tip};
use call::Call;
use http::Http;

/// Where the server is, and how much it is given: time, and room for what it says.
#[derive(Clone)]
pub struct EsploraConfig {
    /// The address of the API, such as `https://blockstream.info/api`: `http` or `https`, without a
    /// query. With `https` its certificate has to be signed by one of Mozilla's authorities, which are
    /// compiled in.
    pub url: String,
    /// The network that the server has to be of.
    pub network: Network,
    /// A proxy that looks up the names itself, as Tor does: `socks5h://HOST:PORT` or
    /// `http://HOST:PORT`. (`socks5` without the `h` is refused: it would have the server's name looked
    /// up here.) By default none, whatever the environment says.
    pub proxy: Option<String>,
    /// How long one request may take from start to end; by default 10 seconds.
    pub timeout: Duration,
    /// How long one call of [`ChainSource`] may take, which is several requests; by default 5
    /// minutes. Only [`outputs_to`](ChainSource::outputs_to) a script with a long history takes more
    /// than a few seconds.
    pub call_timeout: Duration,
    /// How many confirmed transactions the history of a script may have before
    /// [`outputs_to`](ChainSource::outputs_to) gives up with [`ChainError::TooMany`]; by default 500.
    pub max_history: u32,
}

impl EsploraConfig {
    /// The defaults, for this server.
    pub fn new(url: impl Into<String>, network: Network) -> EsploraConfig {
        EsploraConfig {
            url: url.into(),
            network,
            proxy: None,
            timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5 * 60),
            max_history: 500,
        }
    }
}

/// Addresses may hold passwords.
impl fmt::Debug for EsploraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EsploraConfig")
            .field("network", &self.network)
            .field("timeout", &self.timeout)
            .field("call_timeout", &self.call_timeout)
            .field("max_history", &self.max_history)
            .finish_non_exhaustive()
    }
}

/// The address of the server or of the proxy is none that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address of the {0} cannot be used")]
pub struct BadAddress(pub &'static str);

/// An Esplora server as a [`ChainSource`].
///
/// # How much work is enough
///
/// A header has to have the work that it claims, and to claim at least what the network asks of every
/// block. On the main network that is next to nothing today, so a block with a confirmation, and the
/// tip, have to have half of the least work that any block had since segregated witness began at
/// height 481824 (a block of this kind costs a modern mining machine about a hundred days). No Lightning
/// transaction is older, and a confirmation that is said to be is [`ChainError::Invalid`] too. The other
/// networks' money has no value and their blocks no work: there a confirmation is the server's word.
///
/// # What the answers lack
///
/// * Of unconfirmed transactions of a script a server lists 50 at most:
///   [`outputs_to`](ChainSource::outputs_to) does not see the others before they confirm.
/// * A server may give a transaction with other witnesses than the ones in the chain: check what is
///   taken from a witness, as a preimage against its hash.
/// * [`fee_rate`](ChainSource::fee_rate) for fewer blocks than the server has an opinion on is the one for
///   the fewest that it has.
///
/// Between requests nothing runs; at most one idle connection is kept for 5 seconds, to be used again.
pub struct EsploraSource {
    http: Http,
    config: EsploraConfig,
    /// Whether the server has shown the genesis block of the network.
    of_our_network: AtomicBool,
}

impl EsploraSource {
    /// Checks the addresses; asks nothing yet.
    pub fn new(config: EsploraConfig) -> Result<EsploraSource, BadAddress> {
        Ok(EsploraSource {
            http: Http::new(&config.url, config.proxy.as_deref())?,
            config,
            of_our_network: AtomicBool::new(false),
        })
    }
}

impl ChainSource for EsploraSource {
    fn tip(&self) -> Result<Tip, ChainError> {
        Call::begin(self)?.tip()
    }

    fn header_at(&self, height: u32) -> Result<Option<Header>, ChainError> {
        Call::begin(self)?.header_at(height)
    }

    fn transaction(&self, txid: &Txid) -> Result<Option<FoundTransaction>, ChainError> {
        Call::begin(self)?.transaction(txid)
    }

    fn txid_at(&self, height: u32, index: u32) -> Result<Option<Txid>, ChainError> {
        Call::begin(self)?.txid_at(height, index)
    }

    fn spend_of(&self, output: &OutPoint) -> Result<Option<FoundTransaction>, ChainError> {
        Call::begin(self)?.spend_of(output)
    }

    fn outputs_to(&self, script: &Script) -> Result<Vec<FoundOutput>, ChainError> {
        Call::begin(self)?.outputs_to(script)
    }

    fn broadcast(&self, tx: &Transaction) -> Result<(), ChainError> {
        Call::begin(self)?.broadcast(tx)
    }

    fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, ChainError> {
        Call::begin(self)?.fee_rate(blocks)
    }
}

impl fmt::Debug for EsploraSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EsploraSource")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
