//! A session's handler beside that of the node, at a peer that is connected to both for a moment.

use std::sync::mpsc::channel as queue;
use std::thread::{self, ThreadId};

use super::*;
use crate::exchange::Exchange;
use crate::ldk::QuietHandler;

fn visit(bench: &Bench) -> PeerStorageHandler<Arc<QuietHandler>> {
    let quiet = Arc::new(QuietHandler::new(Network::Regtest));
    let visit = bench.storage.message_handler(quiet);
    visit.peer_connected(peer(), &init(), false).unwrap();
    visit
}

#[test]
fn the_end_of_a_visit_opens_no_gate_of_the_node() {
    let bench = Bench::new();
    let visit = visit(&bench);
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    visit.peer_disconnected(peer());
    bench.inner.say(shutdown(channel()));
    assert_eq!(bench.sent(), [""; 0]);
    bench.reestablish(channel(), 5, 4);
    assert_eq!(bench.inner.heard(), ["handle_channel_reestablish"]);
    assert_eq!(bench.sent(), ["ChannelReestablish", "Shutdown"]);
}

#[test]
fn what_a_visit_hears_late_is_not_of_the_nodes_connection() {
    let bench = Bench::new();
    let visit = visit(&bench);
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    let data = vec![1; 300];
    visit.handle_peer_storage_retrieval(peer(), PeerStorageRetrieval { data });
    visit.handle_channel_reestablish(peer(), &reestablish(channel(), 5, 4));
    assert!(awaits_retrieval(&bench));
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn a_visit_takes_no_message_that_is_for_a_peer_of_the_node() {
    let bench = Bench::new();
    let visit = visit(&bench);
    bench.connect(stranger());
    let data = vec![9; 300];
    let refused = PeerStorage { data };
    bench.handler.handle_peer_storage(stranger(), refused);
    bench.storage.engine().settle(Duration::from_secs(5));
    assert!(visit.get_and_clear_pending_msg_events().is_empty());
    assert_eq!(bench.sent(), ["HandleError"]);
}

#[test]
fn on_each_connection_a_peer_is_told_that_nothing_is_kept() {
    let bench = Bench::new();
    bench.storage.close(Duration::from_secs(5));
    bench.connect(peer());
    let message = || PeerStorage { data: vec![9; 100] };
    bench.handler.handle_peer_storage(peer(), message());
    assert_eq!(bench.sent(), ["HandleError"]);
    let visit = visit(&bench);
    visit.handle_peer_storage(peer(), message());
    let told = visit.get_and_clear_pending_msg_events();
    assert_eq!(told.iter().map(name).collect::<Vec<_>>(), ["HandleError"]);
}

/// The peer connects to the other handler while the wallet is asked about what it has said on the node's connection.
/// What it said was of that one: the new one is still to be read back, and its gate to be opened (safety rules 1
/// and 6).
mod while_the_wallet_is_asked {
    use super::*;

    #[test]
    fn a_backup_of_the_connection_before_is_not_that_of_the_new_one() {
        let bench = Bench::new();
        let wallet = Interrupted::attach(&bench);
        bench.connect(peer());
        bench.reestablish(channel(), 5, 4);
        bench.clock.0.fetch_add(120_000, Ordering::SeqCst);
        bench.storage.clock_moved();
        let data = pushed(&bench);
        bench.handler.peer_disconnected(peer());

        bench.connect(peer());
        assert!(bench.storage.flush(Duration::from_secs(5)));
        let visit = wallet.will_be_interrupted_by_a_visit(&bench);
        let message = PeerStorageRetrieval { data };
        bench.handler.handle_peer_storage_retrieval(peer(), message);
        assert!(visit.has_begun());
        assert!(awaits_retrieval(&bench), "the new one was not read back");
    }

    #[test]
    fn what_is_to_be_kept_is_not_said_on_the_new_connection() {
        let bench = Bench::new();
        let wallet = Interrupted::attach(&bench);
        bench.connect(peer());
        assert!(bench.storage.flush(Duration::from_secs(5)));
        let worker = BusyWorker::of(&bench);
        // The wallet has to be asked anew, and the worker does not.
        bench.storage.wallet_changed();
        let visit = wallet.will_be_interrupted_by_a_visit(&bench);
        let message = PeerStorage { data: vec![9; 100] };
        bench.handler.handle_peer_storage(peer(), message);
        assert!(visit.has_begun());
        drop(worker);
        assert!(bench.storage.flush(Duration::from_secs(5)));
        bench.connect(peer());
        assert_eq!(bench.sent(), [""; 0], "nothing is kept");
    }

    #[test]
    fn numbers_of_the_connection_before_are_not_those_of_the_new_one() {
        let bench = Bench::new();
        let wallet = Interrupted::attach(&bench);
        bench.inner.say_on_connect(send_reestablish(5, 4));
        bench.connect(peer());
        assert!(bench.storage.flush(Duration::from_secs(5)));
        let visit = wallet.will_be_interrupted_by_a_visit(&bench);
        // More than we know of: their secret says whether it is so.
        bench.reestablish(channel(), 7, 6);
        assert!(visit.has_begun());
        let unread = |exchange: &Exchange| exchange.progress(&peer()).map(|p| p.read_back);
        assert_eq!(bench.storage.engine().look(unread), Some(false));
        assert!(!bench.storage.is_holding(), "nobody has said it here");
        assert_eq!(bench.inner.heard(), [""; 0]);
    }
}

fn awaits_retrieval(bench: &Bench) -> bool {
    let awaits = |exchange: &Exchange| exchange.awaits_retrieval(&peer());
    bench.storage.engine().look(awaits)
}

/// A wallet that something happens to while this thread asks it.
struct Interrupted {
    asked_by: ThreadId,
    by: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// Of the peer, at a handler of its own.
type Visit = PeerStorageHandler<Arc<QuietHandler>>;

struct Interruption(Arc<Mutex<Option<Visit>>>);

impl Interruption {
    fn has_begun(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }
}

impl Interrupted {
    fn attach(bench: &Bench) -> Arc<Interrupted> {
        let wallet = Arc::new(Interrupted {
            asked_by: thread::current().id(),
            by: Mutex::default(),
        });
        bench.storage.attach(wallet.clone());
        wallet
    }

    /// Once, the next time.
    fn will_be_interrupted_by_a_visit(&self, bench: &Bench) -> Interruption {
        let quiet = Arc::new(QuietHandler::new(Network::Regtest));
        let handler = bench.storage.message_handler(quiet);
        let visit = Arc::<Mutex<Option<Visit>>>::default();
        let begun = visit.clone();
        *self.by.lock().unwrap() = Some(Box::new(move || {
            handler.peer_connected(peer(), &init(), false).unwrap();
            *begun.lock().unwrap() = Some(handler);
        }));
        Interruption(visit)
    }

    fn is_interrupted(&self) {
        // The worker may ask as well, at any moment.
        let is_meant = thread::current().id() == self.asked_by;
        let by = is_meant.then(|| self.by.lock().unwrap().take()).flatten();
        if let Some(by) = by {
            by();
        }
    }
}

impl WalletSource for Interrupted {
    fn wallet_state(&self) -> WalletState {
        self.is_interrupted();
        OneChannel.wallet_state()
    }

    fn holds_secret(&self, _: &ChannelId, _: u64, _: &[u8; 32]) -> Option<bool> {
        self.is_interrupted();
        Some(true)
    }
}

/// Until it is dropped, the worker waits for the host.
struct BusyWorker(Option<std::sync::mpsc::Sender<()>>);

impl BusyWorker {
    fn of(bench: &Bench) -> BusyWorker {
        let (release, released) = queue();
        let (says, is_busy) = queue();
        let (released, says) = (Mutex::new(released), Mutex::new(says));
        bench.storage.set_waker(move || {
            let _ = says.lock().unwrap().send(());
            // Until the other end is dropped.
            let _ = released.lock().unwrap().recv();
        });
        bench.storage.engine().wake_soon();
        is_busy.recv_timeout(Duration::from_secs(10)).unwrap();
        BusyWorker(Some(release))
    }
}

impl Drop for BusyWorker {
    fn drop(&mut self) {
        self.0.take();
    }
}
