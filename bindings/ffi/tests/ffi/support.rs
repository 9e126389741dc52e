//! What an app has: a thread, and nothing else.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::chain::{
    ChainOutput, ChainSource, ChainSourceError, ChainTip, ChainTransaction,
};
use peer_storage_ffi::config::{BitcoinNetwork, OpenConfig, StorageSettings};
use peer_storage_ffi::errors::PeerStorageError;
use peer_storage_ffi::opening::StorageOpening;
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::status::StorageStatus;
use peer_storage_ffi::subscriptions::StorageListener;
use peer_storage_ffi::wallet::{WalletChannel, WalletPeer, WalletReport};
use peer_storage_ffi::PeerStorage;

/// A budget that is not to be used up, in milliseconds.
pub const ENOUGH: u64 = 10_000;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an asynchronous call, on a thread without any runtime.
pub fn wait<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match call.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Begins an asynchronous call, and no longer waits for it after so long.
pub fn begin_and_drop<T>(call: impl Future<Output = T>, after: Duration) {
    let mut call = Box::pin(call);
    let waker = Waker::noop();
    let mut context = Context::from_waker(waker);
    if call.as_mut().poll(&mut context).is_pending() && !after.is_zero() {
        std::thread::sleep(after);
        let _ = call.as_mut().poll(&mut context);
    }
}

/// Numbers that look random and are the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

pub fn secret(byte: u8) -> Arc<WalletSecret> {
    WalletSecret::from_ldk_seed(vec![byte; 32]).unwrap()
}

/// A directory for an app that is visible and has no network.
pub fn config(dir: &Path) -> OpenConfig {
    OpenConfig {
        data_dir: dir.to_str().unwrap().to_owned(),
        network: BitcoinNetwork::Regtest,
        expected_node_id: None,
        in_foreground: true,
        network_available: false,
        host_node_runs: false,
        storage: settings(),
        tor_proxy: None,
        linger_ms: 0,
    }
}

pub fn settings() -> StorageSettings {
    StorageSettings {
        guests: None,
        guest_bytes: 65_531,
        guest_count: 100,
        guest_total_bytes: 6_553_100,
        pad_fully: false,
        monitors: true,
    }
}

pub fn open(dir: &Path) -> Arc<PeerStorage> {
    open_with(config(dir), secret(1)).unwrap()
}

/// As `PeerStorage.open` of the Kotlin and the Swift library.
pub fn open_with(
    config: OpenConfig,
    secret: Arc<WalletSecret>,
) -> Result<Arc<PeerStorage>, PeerStorageError> {
    let opening = StorageOpening::new(config, secret);
    wait(opening.open())?;
    opening.take()
}

/// The node id of somebody else.
pub fn peer(byte: u8) -> String {
    secret(byte).node_id()
}

pub fn channel(byte: u8) -> WalletChannel {
    WalletChannel {
        channel_id: format!("{byte:02x}").repeat(32),
        counterparty_node_id: peer(byte),
        funding_outpoint: Some(format!("{}:0", format!("{byte:02x}").repeat(32))),
        short_channel_id: None,
        confirmations: None,
        is_ready: true,
        is_closed: false,
        value_sat: 1_000_000,
        kind: None,
        state_stamp: 1,
        channel_keys_id: None,
        monitor: None,
        has_pending_htlcs: false,
    }
}

pub fn report(channels: Vec<WalletChannel>) -> WalletReport {
    let peer = |channel: &WalletChannel| WalletPeer {
        node_id: channel.counterparty_node_id.clone(),
        // Nobody listens there.
        addresses: vec!["127.0.0.1:1".to_owned()],
    };
    WalletReport {
        peers: channels.iter().map(peer).collect(),
        channels,
        keep_backups_at: Vec::new(),
        spendable_outputs: Vec::new(),
        earliest_htlc_expiry: None,
    }
}

/// Waits for a condition, and fails the test after a minute.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    testkit::wait_until(what, testkit::DEADLINE, condition);
}

pub fn is_suspended(storage: &PeerStorage) -> bool {
    matches!(wait(storage.next_event()), Err(PeerStorageError::Suspended))
}

/// Has a test run in a process of its own: what it takes is taken from others there, or counts theirs. True: this is
/// that process.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "PEER_STORAGE_FFI_ALONE";
    if std::env::var(ALONE).as_deref() == Ok(test) {
        return true;
    }
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    alone
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, test);
    assert!(alone.status().unwrap().success());
    false
}

/// A listener that does what a test says, and remembers what it was told.
pub struct Listener {
    pub told: Mutex<Vec<StorageStatus>>,
    pub does: Box<dyn Fn() -> Result<(), CallbackError> + Send + Sync>,
}

impl Listener {
    pub fn new(does: impl Fn() -> Result<(), CallbackError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Listener {
            told: Mutex::default(),
            does: Box::new(does),
        })
    }

    pub fn times(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

impl StorageListener for Listener {
    fn on_status(&self, status: StorageStatus) -> Result<(), CallbackError> {
        self.told.lock().unwrap().push(status);
        (self.does)()
    }

    fn on_events_waiting(&self) -> Result<(), CallbackError> {
        Ok(())
    }
}

/// A chain without blocks that does something when it is asked for its tip.
pub struct EmptyChain(pub Box<dyn Fn() + Send + Sync>);

impl ChainSource for EmptyChain {
    fn tip(&self) -> Result<ChainTip, ChainSourceError> {
        (self.0)();
        Ok(ChainTip {
            height: 0,
            block_hash: "00".repeat(32),
        })
    }
    fn header_at(&self, _height: u32) -> Result<Option<Vec<u8>>, ChainSourceError> {
        Ok(None)
    }
    fn transaction(&self, _txid: String) -> Result<Option<ChainTransaction>, ChainSourceError> {
        Ok(None)
    }
    fn txid_at(&self, _height: u32, _index: u32) -> Result<Option<String>, ChainSourceError> {
        Ok(None)
    }
    fn spend_of(&self, _outpoint: String) -> Result<Option<ChainTransaction>, ChainSourceError> {
        Ok(None)
    }
    fn outputs_to(&self, _script: Vec<u8>) -> Result<Vec<ChainOutput>, ChainSourceError> {
        Ok(Vec::new())
    }
    fn broadcast(&self, _transaction: Vec<u8>) -> Result<(), ChainSourceError> {
        Ok(())
    }
    fn fee_rate(&self, _blocks: u16) -> Result<Option<u64>, ChainSourceError> {
        Ok(None)
    }
}
