//! The decorator around a handler that does what the test says.

mod two_handlers;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{Network, OutPoint, Transaction, TxIn, TxOut, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::ln::msgs::*;
use lightning::ln::types::ChannelId;
use lightning::sign::KeysManager;
use lightning::types::features::{InitFeatures, NodeFeatures};

use super::forward::for_each_channel_message;
use super::PeerStorageHandler;
use crate::backup::{ChannelIds, ChannelKind, ChannelPhase, ChannelRecord};
use crate::exchange::{Resolution, Time, WalletState};
use crate::service::{Clock, Config, PeerStorage as Storage, WalletSource};

/// Speaks as told, and remembers what it was told.
#[derive(Default)]
struct Scripted {
    refuses: std::sync::atomic::AtomicBool,
    says_on_connect: Mutex<Vec<MessageSendEvent>>,
    says: Mutex<VecDeque<MessageSendEvent>>,
    heard: Mutex<Vec<&'static str>>,
}

impl Scripted {
    fn say(&self, event: MessageSendEvent) {
        self.says.lock().unwrap().push_back(event);
    }

    fn heard(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl BaseMessageHandler for Scripted {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.says.lock().unwrap().drain(..).collect()
    }
    fn peer_disconnected(&self, _: PublicKey) {
        self.heard.lock().unwrap().push("peer_disconnected");
    }
    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }
    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
    fn peer_connected(&self, _: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(());
        }
        let said = std::mem::take(&mut *self.says_on_connect.lock().unwrap());
        said.into_iter().for_each(|event| self.say(event));
        Ok(())
    }
}

macro_rules! hear_channel_messages {
    ($([$kind:ident $name:ident $method:ident |$m:ident| $inbound:expr])*) => {
        impl ChannelMessageHandler for Scripted {
            $(hear_message!($kind $name $method);)*
            fn handle_commitment_signed_batch(
                &self, _: PublicKey, _: ChannelId, _: Vec<CommitmentSigned>,
            ) {
                self.heard.lock().unwrap().push("handle_commitment_signed_batch");
            }
            fn handle_peer_storage(&self, _: PublicKey, _: PeerStorage) {
                panic!("LDK must not see it");
            }
            fn handle_peer_storage_retrieval(&self, _: PublicKey, _: PeerStorageRetrieval) {
                panic!("LDK must not see it");
            }
            fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
                None
            }
            fn message_received(&self) {}
        }
    };
}

macro_rules! hear_message {
    (owned $name:ident $method:ident) => {
        fn $method(&self, _: PublicKey, _: $name) {
            self.heard.lock().unwrap().push(stringify!($method));
        }
    };
    ($kind:ident $name:ident $method:ident) => {
        fn $method(&self, _: PublicKey, _: &$name) {
            self.heard.lock().unwrap().push(stringify!($method));
        }
    };
}

for_each_channel_message!(hear_channel_messages);

#[derive(Default)]
struct TestClock(AtomicU64, AtomicBool);

impl Clock for TestClock {
    fn now(&self) -> Time {
        let on_worker = std::thread::current().name() == Some("peer-storage");
        assert!(!on_worker || !self.1.load(Ordering::SeqCst), "as told");
        Time(self.0.load(Ordering::SeqCst))
    }
}

/// One funded channel with [`peer`], of [`channel`].
struct OneChannel;

impl WalletSource for OneChannel {
    fn wallet_state(&self) -> WalletState {
        let record = ChannelRecord {
            counterparty: peer(),
            ids: ChannelIds {
                channel_id: Some(channel()),
                funding_outpoint: Some(funding()),
                short_channel_id: None,
            },
            update_id: 1,
            phase: ChannelPhase::Ready,
            restored: false,
            kind: ChannelKind::Anchors,
            channel_keys_id: None,
            value_sat: None,
        };
        WalletState {
            channels: vec![record],
            ..WalletState::default()
        }
    }
}

struct Bench {
    storage: Storage,
    inner: Arc<Scripted>,
    handler: PeerStorageHandler<Arc<Scripted>>,
    clock: Arc<TestClock>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicU64::new(1_000_000), AtomicBool::new(false)));
        let keys = KeysManager::new(&[7; 32], 0, 0, true);
        let config = Config {
            clock: Some(clock.clone()),
            ..Config::new(dir.path(), Network::Regtest)
        };
        let storage = Storage::open(config, &keys).unwrap();
        storage.declare_new().unwrap();
        storage.attach(Arc::new(OneChannel));
        let inner = Arc::<Scripted>::default();
        let handler = storage.message_handler(inner.clone());
        Bench {
            storage,
            inner,
            handler,
            clock,
            _dir: dir,
        }
    }

    fn connect(&self, peer: PublicKey) {
        self.handler.peer_connected(peer, &init(), true).unwrap();
    }

    /// What leaves now, by name.
    fn sent(&self) -> Vec<&'static str> {
        let events = self.handler.get_and_clear_pending_msg_events();
        events.iter().map(name).collect()
    }

    fn reestablish(&self, channel: ChannelId, next_local: u64, next_remote: u64) {
        let message = reestablish(channel, next_local, next_remote);
        self.handler.handle_channel_reestablish(peer(), &message);
    }
}

#[test]
fn the_blob_precedes_what_the_node_says() {
    let bench = Bench::new();
    bench.connect(peer());
    let data = vec![9; 100];
    bench
        .handler
        .handle_peer_storage(peer(), PeerStorage { data: data.clone() });
    bench.handler.peer_disconnected(peer());

    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    let events = bench.handler.get_and_clear_pending_msg_events();
    assert!(
        matches!(&events[..], [MessageSendEvent::SendPeerStorageRetrieval { node_id, msg }]
            if *node_id == peer() && msg.data == data),
        "the 136 waits for the peer's"
    );
    bench.reestablish(channel(), 5, 4);
    assert_eq!(
        bench.inner.heard(),
        ["peer_disconnected", "handle_channel_reestablish"]
    );
    assert_eq!(bench.sent(), ["ChannelReestablish"]);
}

#[test]
fn a_refused_connection_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.connect(peer());
    let message = PeerStorage { data: vec![9; 100] };
    bench.handler.handle_peer_storage(peer(), message);
    bench.handler.peer_disconnected(peer());

    bench.inner.refuses.store(true, Ordering::SeqCst);
    assert_eq!(bench.handler.peer_connected(peer(), &init(), true), Err(()));
    assert_eq!(bench.sent(), [""; 0]);
    bench.inner.refuses.store(false, Ordering::SeqCst);
    bench.connect(peer());
    assert_eq!(bench.sent(), ["PeerStorageRetrieval"]);
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn nothing_of_a_channel_overtakes_what_is_held() {
    let bench = Bench::new();
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    bench.inner.say(shutdown(channel()));
    bench.inner.say(warning(Some(channel())));
    bench.inner.say(broadcast());
    bench.inner.say(shutdown(ChannelId([2; 32])));
    assert_eq!(bench.sent(), ["Broadcast"]);
    bench.inner.say(shutdown(channel()));
    bench.reestablish(channel(), 5, 4);
    assert_eq!(
        bench.sent(),
        [
            "ChannelReestablish",
            "Shutdown",
            "HandleError",
            "Shutdown",
            "Shutdown"
        ]
    );
}

#[test]
fn two_waiting_nodes_do_not_wait_forever() {
    let bench = Bench::new();
    bench.inner.say_on_connect(send_reestablish(5, 4));
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = woken.clone();
    bench.storage.set_waker(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    bench.connect(peer());
    bench.inner.say(shutdown(channel()));
    assert_eq!(bench.sent(), [""; 0]);
    bench.storage.flush(Duration::from_secs(5));
    let before = woken.load(Ordering::SeqCst);
    bench.clock.0.fetch_add(2_000, Ordering::SeqCst);
    bench.storage.clock_moved();
    let started = std::time::Instant::now();
    while woken.load(Ordering::SeqCst) == before {
        assert!(started.elapsed() < Duration::from_secs(10), "not woken");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(bench.sent(), ["ChannelReestablish"]);
    bench.reestablish(channel(), 5, 4);
    assert_eq!(bench.sent(), ["Shutdown"]);
}

/// The worker may be late: what has become due must not be forgotten by an input in between.
#[test]
fn an_input_does_not_forget_what_is_due() {
    for _ in 0..20 {
        let bench = Bench::new();
        bench.inner.say_on_connect(send_reestablish(5, 4));
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = woken.clone();
        bench.storage.set_waker(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        bench.connect(peer());
        bench.storage.flush(Duration::from_secs(5));
        let before = woken.load(Ordering::SeqCst);
        bench.clock.0.fetch_add(2_000, Ordering::SeqCst);
        bench.handler.peer_disconnected(stranger());
        bench.storage.clock_moved();
        let started = std::time::Instant::now();
        while woken.load(Ordering::SeqCst) == before {
            assert!(started.elapsed() < Duration::from_secs(10), "not woken");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn what_ldk_had_kept_leaves_in_place_of_ours_once() {
    let bench = Bench::new();
    bench.inner.say_on_connect(ldks_retrieval(vec![3; 50]));
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    let events = bench.handler.get_and_clear_pending_msg_events();
    assert!(
        matches!(&events[..], [MessageSendEvent::SendPeerStorageRetrieval { msg, .. }]
            if msg.data == [3; 50])
    );
    let message = PeerStorage { data: vec![4; 60] };
    bench.handler.handle_peer_storage(peer(), message);
    bench.handler.peer_disconnected(peer());
    bench.inner.say_on_connect(ldks_retrieval(vec![3; 50]));
    bench.connect(peer());
    let events = bench.handler.get_and_clear_pending_msg_events();
    assert!(
        matches!(&events[..], [MessageSendEvent::SendPeerStorageRetrieval { msg, .. }]
            if msg.data == [4; 60])
    );
}

#[test]
fn an_error_is_heard_after_the_check() {
    let bench = Bench::new();
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    let error = ErrorMessage {
        channel_id: channel(),
        data: "x".repeat(5_000),
    };
    bench.handler.handle_error(peer(), &error);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.inner.heard(), [""; 0]);
    bench.reestablish(channel(), 5, 4);
    assert_eq!(bench.sent(), ["ChannelReestablish"]);
    assert_eq!(
        bench.inner.heard(),
        ["handle_error", "handle_channel_reestablish"]
    );
}

#[test]
fn an_unknown_channel_is_seen_and_not_heard() {
    let bench = Bench::new();
    bench.connect(peer());
    bench.reestablish(ChannelId([5; 32]), 1, 0);
    assert_eq!(bench.inner.heard(), [""; 0]);
    let seen = bench.handler.seen_reestablish();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].peer, seen[0].channel_id),
        (peer(), ChannelId([5; 32]))
    );
    assert_eq!(
        (seen[0].numbers.next_local, seen[0].numbers.next_remote),
        (1, 0)
    );
}

#[test]
fn a_stale_state_is_held_everywhere() {
    struct Counting(AtomicUsize);
    impl BroadcasterInterface for Counting {
        fn broadcast_transactions(&self, txs: &[&Transaction]) {
            self.0.fetch_add(txs.len(), Ordering::SeqCst);
        }
    }
    let bench = Bench::new();
    let published = Counting(AtomicUsize::new(0));
    let broadcaster = bench.storage.broadcaster(&published);
    let (commitment, child) = (spend(funding()), spend(OutPoint::new(txid(8), 0)));
    broadcaster.broadcast_transactions(&[&commitment]);
    assert_eq!(published.0.load(Ordering::SeqCst), 1);

    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    bench.reestablish(channel(), 7, 6);
    assert!(bench.storage.is_holding());
    bench.inner.say(warning(None));
    bench.inner.say(shutdown(channel()));
    let error = ErrorMessage {
        channel_id: channel(),
        data: String::new(),
    };
    bench.handler.handle_error(peer(), &error);
    bench.clock.0.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.inner.heard(), [""; 0]);
    broadcaster.broadcast_transactions(&[&child, &commitment]);
    broadcaster.broadcast_transactions(&[&child]);
    assert_eq!(published.0.load(Ordering::SeqCst), 2);
    assert_eq!(broadcaster.dropped(), 2);

    let woken = Arc::new(AtomicUsize::new(0));
    let counter = woken.clone();
    bench.storage.set_waker(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let alarm = bench.storage.alarms()[0].id;
    let decided = bench
        .storage
        .resolve_alarm(alarm, Resolution::ThisDeviceIsCurrent);
    decided.unwrap();
    assert!(woken.load(Ordering::SeqCst) > 0);
    // What was disputed stays off the chain until the next start; all else may leave.
    broadcaster.broadcast_transactions(&[&commitment]);
    assert_eq!(published.0.load(Ordering::SeqCst), 2);
    broadcaster.broadcast_transactions(&[&child]);
    assert_eq!(published.0.load(Ordering::SeqCst), 3);
    assert_eq!(broadcaster.dropped(), 3);
}

/// An alarm about one peer keeps the 136 of all others waiting, and then lets them through in order.
#[test]
fn what_an_alarm_kept_is_heard_when_it_is_over() {
    let bench = Bench::new();
    let reconnects = MessageSendEvent::SendChannelReestablish {
        node_id: stranger(),
        msg: reestablish(ChannelId([2; 32]), 5, 4),
    };
    bench.inner.say_on_connect(reconnects);
    bench.connect(stranger());
    let stale = reestablish(ChannelId([2; 32]), 9, 8);
    bench.handler.handle_channel_reestablish(stranger(), &stale);
    assert!(bench.storage.is_holding());

    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    bench.reestablish(channel(), 5, 4);
    bench.clock.0.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.inner.heard(), [""; 0]);

    let alarm = bench.storage.alarms()[0].id;
    let decided = bench
        .storage
        .resolve_alarm(alarm, Resolution::ThisDeviceIsCurrent);
    decided.unwrap();
    bench.handler.peer_disconnected(stranger());
    bench.inner.say(shutdown(channel()));
    assert_eq!(bench.sent(), ["ChannelReestablish", "Shutdown"]);
    assert_eq!(
        bench.inner.heard(),
        ["peer_disconnected", "handle_channel_reestablish"]
    );
}

/// LDK must not see a hole in what a peer has sent: it sees nothing more, and the peer has to go.
#[test]
fn a_peer_that_sends_too_much_too_early_is_disconnected() {
    let bench = Bench::new();
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    let early = Shutdown {
        channel_id: channel(),
        scriptpubkey: bitcoin::ScriptBuf::new(),
    };
    for _ in 0..256 {
        bench.handler.handle_shutdown(peer(), &early);
    }
    assert_eq!(bench.sent(), [""; 0]);
    bench.handler.handle_shutdown(peer(), &early);
    bench.handler.handle_shutdown(peer(), &early);
    let events = bench.handler.get_and_clear_pending_msg_events();
    assert!(matches!(
        &events[..],
        [MessageSendEvent::HandleError {
            node_id,
            action: ErrorAction::DisconnectPeer { msg: None },
        }] if *node_id == peer()
    ));
    bench.reestablish(channel(), 5, 4);
    bench.handler.handle_shutdown(peer(), &early);
    let left = bench.sent();
    assert!(!left.contains(&"HandleError"), "{left:?}: once is enough");
    assert_eq!(bench.inner.heard(), [""; 0]);

    bench.handler.peer_disconnected(peer());
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    bench.reestablish(channel(), 5, 4);
    assert_eq!(
        bench.inner.heard(),
        ["peer_disconnected", "handle_channel_reestablish"]
    );
}

#[test]
fn an_opening_goes_through() {
    let bench = Bench::new();
    bench.connect(stranger());
    let temporary = ChannelId([6; 32]);
    bench.inner.say(MessageSendEvent::SendFundingCreated {
        node_id: stranger(),
        msg: FundingCreated {
            temporary_channel_id: temporary,
            funding_txid: txid(3),
            funding_output_index: 1,
            signature: signature(),
        },
    });
    assert_eq!(bench.sent(), ["FundingCreated"]);
    let signed = FundingSigned {
        channel_id: ChannelId::v1_from_funding_txid(txid(3).as_ref(), 1),
        signature: signature(),
    };
    bench.handler.handle_funding_signed(stranger(), &signed);
    assert_eq!(bench.inner.heard(), ["handle_funding_signed"]);
}

#[test]
fn storage_is_offered() {
    let bench = Bench::new();
    assert!(bench
        .handler
        .provided_init_features(peer())
        .supports_provide_storage());
    assert!(bench
        .handler
        .provided_node_features()
        .supports_provide_storage());
}

#[test]
fn a_disconnected_peer_is_forgotten() {
    let bench = Bench::new();
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    bench.inner.say(shutdown(channel()));
    assert_eq!(bench.sent(), [""; 0]);
    bench.handler.peer_disconnected(peer());
    bench.connect(peer());
    bench.clock.0.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!(bench.sent(), [""; 0]);
}

/// A peer may send its 7 as soon as it has a channel, and the wallet's state takes its time to be read.
#[test]
fn a_channel_that_has_just_come_to_be_counts() {
    struct Slow(AtomicUsize);
    impl WalletSource for Slow {
        fn wallet_state(&self) -> WalletState {
            if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                return WalletState::default();
            }
            std::thread::sleep(Duration::from_millis(100));
            OneChannel.wallet_state()
        }
    }
    for wait in [0, 30] {
        let bench = Bench::new();
        bench.storage.attach(Arc::new(Slow(AtomicUsize::new(0))));
        bench.connect(peer());
        bench.storage.wallet_changed();
        std::thread::sleep(Duration::from_millis(wait));
        let message = PeerStorage { data: vec![9; 100] };
        bench.handler.handle_peer_storage(peer(), message);
        bench.handler.peer_disconnected(peer());
        bench.connect(peer());
        assert_eq!(bench.sent(), ["PeerStorageRetrieval"]);
    }
}

#[test]
fn panics_of_the_host_do_not_end_the_worker() {
    struct Failing(AtomicUsize);
    impl WalletSource for Failing {
        fn wallet_state(&self) -> WalletState {
            assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "as told");
            OneChannel.wallet_state()
        }
    }
    let bench = Bench::new();
    let source = Arc::new(Failing(AtomicUsize::new(0)));
    bench.storage.attach(source.clone());
    let woken = Arc::<AtomicUsize>::default();
    let counter = woken.clone();
    bench.storage.set_waker(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        panic!("as told");
    });
    bench.storage.wallet_changed();
    bench.storage.flush(Duration::from_secs(5));
    assert_eq!(source.0.load(Ordering::SeqCst), 2);
    bench.connect(stranger());
    // It is refused with a warning, for which LDK is woken.
    let message = || PeerStorage { data: vec![9; 100] };
    bench.handler.handle_peer_storage(stranger(), message());
    let started = std::time::Instant::now();
    while woken.load(Ordering::SeqCst) == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "not woken");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(bench.sent(), ["HandleError"]);
    bench.connect(peer());
    bench.handler.handle_peer_storage(peer(), message());
    assert!(bench.storage.flush(Duration::from_secs(5)));
    assert_eq!(bench.storage.status().storage_failure, None);
}

#[test]
fn without_its_worker_nothing_is_taken_from_peers() {
    let bench = Bench::new();
    bench.connect(peer());
    assert!(bench.storage.flush(Duration::from_secs(5)));
    bench.clock.1.store(true, Ordering::SeqCst);
    bench.storage.clock_moved();
    let started = std::time::Instant::now();
    while bench.storage.status().storage_failure.is_none() {
        assert!(started.elapsed() < Duration::from_secs(10), "no failure");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_refused_once_a_connection(&bench);
    let started = std::time::Instant::now();
    assert!(!bench.storage.close(Duration::from_secs(60)).complete);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn after_the_end_peers_are_told_that_nothing_is_kept() {
    let bench = Bench::new();
    bench.storage.close(Duration::from_secs(5));
    bench.connect(peer());
    assert_refused_once_a_connection(&bench);
}

/// The peer is connected.
fn assert_refused_once_a_connection(bench: &Bench) {
    let message = || PeerStorage { data: vec![9; 100] };
    for _ in 0..2 {
        bench.handler.handle_peer_storage(peer(), message());
        bench.handler.handle_peer_storage(peer(), message());
        assert_eq!(bench.sent(), ["HandleError"]);
        bench.handler.handle_peer_storage(peer(), message());
        assert_eq!(bench.sent(), [""; 0]);
        bench.handler.peer_disconnected(peer());
        bench.connect(peer());
    }
}

/// Any peer may send 9s, as many as it likes.
#[test]
fn the_live_state_is_read_for_the_first_backup_of_a_connection_alone() {
    struct Counting(Arc<AtomicUsize>);
    impl WalletSource for Counting {
        fn wallet_state(&self) -> WalletState {
            self.0.fetch_add(1, Ordering::SeqCst);
            OneChannel.wallet_state()
        }
    }
    let bench = Bench::new();
    let readings = Arc::<AtomicUsize>::default();
    bench.storage.attach(Arc::new(Counting(readings.clone())));
    let returns = |data: &[u8]| {
        let before = readings.load(Ordering::SeqCst);
        let data = data.to_vec();
        let message = PeerStorageRetrieval { data };
        bench.handler.handle_peer_storage_retrieval(peer(), message);
        readings.load(Ordering::SeqCst) - before
    };
    assert_eq!(returns(&[7; 1024]), 0, "it is not connected");
    bench.connect(peer());
    assert_eq!(returns(&[7; 1024]), 0, "it does not open");
    bench.handler.peer_disconnected(peer());
    bench.connect(peer());
    bench.reestablish(channel(), 5, 4);
    bench.clock.0.fetch_add(120_000, Ordering::SeqCst);
    bench.storage.clock_moved();
    let backup = pushed(&bench);
    bench.handler.peer_disconnected(peer());
    bench.connect(peer());
    assert_eq!(returns(&backup), 1);
    assert_eq!(returns(&backup), 0, "one a connection");
}

/// The next backup that leaves.
fn pushed(bench: &Bench) -> Vec<u8> {
    let started = std::time::Instant::now();
    loop {
        for event in bench.handler.get_and_clear_pending_msg_events() {
            if let MessageSendEvent::SendPeerStorage { msg, .. } = event {
                return msg.data;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no backup");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// ---- samples --------------------------------------------------------------------------------

impl Scripted {
    fn say_on_connect(&self, event: MessageSendEvent) {
        self.says_on_connect.lock().unwrap().push(event);
    }
}

fn key(byte: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[byte; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

fn peer() -> PublicKey {
    key(1)
}

fn stranger() -> PublicKey {
    key(2)
}

fn channel() -> ChannelId {
    ChannelId([1; 32])
}

fn txid(byte: u8) -> Txid {
    Txid::from_byte_array([byte; 32])
}

fn funding() -> OutPoint {
    OutPoint::new(txid(1), 0)
}

fn spend(outpoint: OutPoint) -> Transaction {
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            ..TxIn::default()
        }],
        output: vec![TxOut::NULL],
    }
}

fn signature() -> bitcoin::secp256k1::ecdsa::Signature {
    bitcoin::secp256k1::ecdsa::Signature::from_compact(&[1; 64]).unwrap()
}

fn init() -> Init {
    let mut features = InitFeatures::empty();
    features.set_provide_storage_optional();
    Init {
        features,
        networks: None,
        remote_network_address: None,
    }
}

fn reestablish(channel_id: ChannelId, next_local: u64, next_remote: u64) -> ChannelReestablish {
    ChannelReestablish {
        channel_id,
        next_local_commitment_number: next_local,
        next_remote_commitment_number: next_remote,
        your_last_per_commitment_secret: [0; 32],
        my_current_per_commitment_point: key(9),
        next_funding: None,
        my_current_funding_locked: None,
    }
}

fn send_reestablish(next_local: u64, next_remote: u64) -> MessageSendEvent {
    MessageSendEvent::SendChannelReestablish {
        node_id: peer(),
        msg: reestablish(channel(), next_local, next_remote),
    }
}

fn shutdown(channel_id: ChannelId) -> MessageSendEvent {
    MessageSendEvent::SendShutdown {
        node_id: peer(),
        msg: Shutdown {
            channel_id,
            scriptpubkey: bitcoin::ScriptBuf::new(),
        },
    }
}

fn warning(channel: Option<ChannelId>) -> MessageSendEvent {
    let msg = WarningMessage {
        channel_id: channel.unwrap_or(ChannelId::new_zero()),
        data: String::new(),
    };
    MessageSendEvent::HandleError {
        node_id: peer(),
        action: ErrorAction::DisconnectPeerWithWarning { msg },
    }
}

fn broadcast() -> MessageSendEvent {
    let contents = UnsignedChannelUpdate {
        chain_hash: ChainHash::REGTEST,
        short_channel_id: 1,
        timestamp: 0,
        message_flags: 1,
        channel_flags: 0,
        cltv_expiry_delta: 0,
        htlc_minimum_msat: 0,
        htlc_maximum_msat: 0,
        fee_base_msat: 0,
        fee_proportional_millionths: 0,
        excess_data: Vec::new(),
    };
    MessageSendEvent::BroadcastChannelUpdate {
        msg: ChannelUpdate {
            signature: signature(),
            contents,
        },
    }
}

fn ldks_retrieval(data: Vec<u8>) -> MessageSendEvent {
    MessageSendEvent::SendPeerStorageRetrieval {
        node_id: peer(),
        msg: PeerStorageRetrieval { data },
    }
}

fn name(event: &MessageSendEvent) -> &'static str {
    match event {
        MessageSendEvent::SendPeerStorageRetrieval { .. } => "PeerStorageRetrieval",
        MessageSendEvent::SendPeerStorage { .. } => "PeerStorage",
        MessageSendEvent::SendChannelReestablish { .. } => "ChannelReestablish",
        MessageSendEvent::SendShutdown { .. } => "Shutdown",
        MessageSendEvent::SendFundingCreated { .. } => "FundingCreated",
        MessageSendEvent::HandleError { .. } => "HandleError",
        MessageSendEvent::BroadcastChannelUpdate { .. } => "Broadcast",
        _ => "other",
    }
}
