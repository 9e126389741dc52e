//! Peers that keep the last backup of each wallet, and return it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use testkit::{wait_until, Outgoing, RawPeer, DEADLINE};

pub const COUNT: usize = 5;
const WHOLE: usize = 65_531;

pub struct Keepers(Vec<Keeper>);

struct Keeper {
    raw: RawPeer,
    /// How many backups of full size came.
    received: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Keepers {
    pub fn start() -> Keepers {
        Keepers((0..COUNT).map(Keeper::start).collect())
    }

    /// Node id and address of each.
    pub fn peers(&self) -> impl Iterator<Item = (PublicKey, std::net::SocketAddr)> + '_ {
        self.0
            .iter()
            .map(|keeper| (keeper.raw.id(), keeper.raw.addr()))
    }

    /// Waits until nobody is connected any more, nor was a moment ago.
    pub fn wait_idle(&self) {
        let connections = || -> Vec<usize> { self.counts(|keeper| &keeper.connections) };
        let mut since = (connections(), Instant::now());
        wait_until("no visits", DEADLINE, || {
            let now = connections();
            let open = self
                .counts(|keeper| &keeper.open)
                .into_iter()
                .any(|open| open > 0);
            if now != since.0 || open {
                since = (now, Instant::now());
            }
            since.1.elapsed() > Duration::from_millis(300)
        });
    }

    pub fn received(&self) -> Vec<usize> {
        self.counts(|keeper| &keeper.received)
    }

    /// Waits until each of them has got a backup of full size since then: what was sent, they read in their own time.
    pub fn wait_received(&self, before: &[usize], from: &str) {
        let what = format!("64 KiB at all peers from {from}");
        wait_until(&what, DEADLINE, || {
            let now = self.received();
            now.iter().zip(before).all(|(now, before)| now > before)
        });
    }

    fn counts(&self, of: impl Fn(&Keeper) -> &Arc<AtomicUsize>) -> Vec<usize> {
        let counts = self
            .0
            .iter()
            .map(|keeper| of(keeper).load(Ordering::SeqCst));
        counts.collect()
    }
}

impl Keeper {
    fn start(number: usize) -> Keeper {
        let raw = RawPeer::new(&format!("keeper {number}"));
        let kept: Arc<Mutex<HashMap<PublicKey, Vec<u8>>>> = Arc::default();
        let [received, connections, open] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
        let (give, count, begin) = (kept.clone(), connections.clone(), open.clone());
        raw.on_connect(move |to, _| {
            count.fetch_add(1, Ordering::SeqCst);
            begin.fetch_add(1, Ordering::SeqCst);
            let kept = give.lock().unwrap();
            // What does not open counts as read back, too.
            let blob = kept.get(&to).cloned().unwrap_or_else(|| vec![1; 300]);
            vec![Outgoing::retrieval(to, blob)]
        });
        let end = open.clone();
        raw.on_disconnect(move |_| {
            end.fetch_sub(1, Ordering::SeqCst);
        });
        let count = received.clone();
        raw.on_message(move |message| {
            if message.type_id == 7 {
                let blob = message.blob();
                if blob.len() == WHOLE {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                kept.lock().unwrap().insert(message.from, blob);
            }
            Vec::new()
        });
        Keeper {
            raw,
            received,
            connections,
            open,
        }
    }
}
