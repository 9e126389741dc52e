//! A device: a data directory, and what is open on it.

use std::sync::Arc;

use bitcoin::hex::FromHex;
use peer_storage_ffi::errors::PeerStorageError;
use peer_storage_ffi::peer_storage::Hold;
use peer_storage_ffi::wallet::{ChannelKind, WalletChannel, WalletPeer, WalletReport};
use peer_storage_ffi::PeerStorage;
use serde_json::{json, Map, Value};

use crate::answer;
use crate::recovery::Recovering;

#[derive(Default)]
pub struct Device {
    storage: Option<Arc<PeerStorage>>,
    pub hold: Option<Arc<Hold>>,
    pub recovering: Recovering,
    /// The kinds of all events that were told in this scenario.
    pub events: Vec<String>,
    /// What was reported last.
    pub report: Value,
}

impl Device {
    #[track_caller]
    pub fn storage(&self) -> &Arc<PeerStorage> {
        self.storage.as_ref().expect("a storage that was opened")
    }

    pub fn opened(&mut self, storage: Arc<PeerStorage>) {
        self.storage = Some(storage);
    }

    /// Lets go of everything. Whether there was something.
    pub fn let_go(&mut self) -> Option<Arc<PeerStorage>> {
        self.hold = None;
        self.recovering = Recovering::default();
        self.storage.take()
    }
}

/// An answer, or an error in the words of a scenario.
pub type Outcome = Result<Value, Value>;

/// Waits for a call of the library. Its exports need no runtime: they have their own.
pub fn wait<T>(
    call: impl std::future::Future<Output = Result<T, PeerStorageError>>,
) -> Result<T, Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let done = runtime.unwrap().block_on(call);
    done.map_err(|error| answer::error(&error))
}

/// Of a call that does not wait.
pub fn done<T>(result: Result<T, PeerStorageError>) -> Result<T, Value> {
    result.map_err(|error| answer::error(&error))
}

/// Of a call that tells nothing.
pub fn nothing<T>(_: T) -> Value {
    json!({})
}

/// The arguments of a step. All have to be taken.
pub struct Args(pub Map<String, Value>);

impl Args {
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    #[track_caller]
    pub fn text(&mut self, name: &str) -> String {
        match self.take(name) {
            Some(Value::String(text)) => text,
            other => panic!("{name} is no text: {other:?}"),
        }
    }

    #[track_caller]
    pub fn flag(&mut self, name: &str, default: Option<bool>) -> bool {
        let given = self
            .take(name)
            .map(|value| value.as_bool().expect("a flag"));
        given
            .or(default)
            .unwrap_or_else(|| panic!("{name} is not given"))
    }

    pub fn budget(&mut self) -> u64 {
        let given = self.take("budget_ms");
        given.map_or(20_000, |value| value.as_u64().expect("milliseconds"))
    }

    #[track_caller]
    pub fn names(&mut self, name: &str) -> Vec<String> {
        let list = self
            .take(name)
            .unwrap_or_else(|| panic!("{name} is not given"));
        serde_json::from_value(list).expect("a list of names")
    }
}

/// What the world says of the wallet's node, as the library takes it.
pub fn wallet_report(report: &Value) -> WalletReport {
    let list = |name: &str| report[name].as_array().expect("a list").iter();
    WalletReport {
        channels: list("channels").map(channel).collect(),
        peers: list("peers").map(peer).collect(),
        keep_backups_at: serde_json::from_value(report["keep_backups_at"].clone()).unwrap(),
        spendable_outputs: list("spendable_outputs")
            .map(|hex| Vec::from_hex(hex.as_str().unwrap()).unwrap())
            .collect(),
        earliest_htlc_expiry: report["earliest_htlc_expiry"].as_u64().map(|n| n as u32),
    }
}

fn channel(channel: &Value) -> WalletChannel {
    let text = |name: &str| channel[name].as_str().map(str::to_owned);
    WalletChannel {
        channel_id: text("channel_id").unwrap(),
        counterparty_node_id: text("counterparty_node_id").unwrap(),
        funding_outpoint: text("funding_outpoint"),
        short_channel_id: channel["short_channel_id"].as_u64(),
        confirmations: channel["confirmations"].as_u64().map(|n| n as u32),
        is_ready: channel["is_ready"].as_bool().unwrap(),
        is_closed: channel["is_closed"].as_bool().unwrap(),
        value_sat: channel["value_sat"].as_u64().unwrap(),
        kind: Some(match channel["kind"].as_str().unwrap() {
            "anchors" => ChannelKind::Anchors,
            "static_remote_key" => ChannelKind::StaticRemoteKey,
            _ => ChannelKind::Other,
        }),
        state_stamp: channel["state_stamp"].as_u64().unwrap(),
        channel_keys_id: text("channel_keys_id"),
        monitor: None,
        has_pending_htlcs: false,
    }
}

pub fn peer(peer: &Value) -> WalletPeer {
    WalletPeer {
        node_id: peer["node_id"].as_str().unwrap().to_owned(),
        addresses: serde_json::from_value(peer["addresses"].clone()).unwrap(),
    }
}
